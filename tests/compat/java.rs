//! A worker of the Java KCL: built with Maven, started as a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::loopback::process;

/// The built program: what follows `java` on the command line.
pub(crate) struct Java {
    classpath: String,
}

impl Java {
    /// `None`, and why on standard output, where there is no Java 17 or no Maven, or no repository to fetch from.
    pub(crate) async fn build() -> Option<Self> {
        let major = tool("java", "-version").await.and_then(|text| major(&text));
        if major.is_none_or(|major| major < 17) {
            println!("skipped: no java 17 here, found {major:?}");
            return None;
        }
        if tool("mvn", "-version").await.is_none() {
            println!("skipped: no mvn here");
            return None;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (source, build) = (root.join("tests/compat/java"), root.join("target/compat"));
        copy(&source, &build);
        let mut mvn = Command::new("mvn");
        mvn.args(["-q", "-B", "compile", "dependency:build-classpath"]);
        let built = mvn.arg("-Dmdep.outputFile=classpath").current_dir(&build).output().await;
        let built = built.unwrap();
        let said = String::from_utf8_lossy(&built.stdout);
        if !built.status.success() && is_unreachable(&said) {
            println!("skipped: Maven cannot fetch the Java KCL here\n{said}");
            return None;
        }
        assert!(built.status.success(), "mvn: {said}");
        let libraries = fs::read_to_string(build.join("classpath")).unwrap();
        let classes = build.join("target/classes");
        Some(Self { classpath: format!("{}:{}", classes.display(), libraries.trim()) })
    }

    /// A worker that writes lines like those of `consume --json`, and some of its own.
    pub(crate) fn worker(&self, place: [&str; 3], failover: Duration, id: &str) -> Command {
        let mut command = Command::new("java");
        // Of the virtual machine only what a test needs: it starts in half the time.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]);
        command.args(["-cp", &self.classpath, "Consumer"]).args(place);
        let way = if process::by_fan_out() { "fan-out" } else { "polling" };
        command.args([&failover.as_millis().to_string(), id, way]);
        command
    }
}

/// What a tool says of itself, on either output.
async fn tool(name: &str, version: &str) -> Option<String> {
    let output = Command::new(name).arg(version).output().await.ok()?;
    let text = [output.stdout, output.stderr].concat();
    output.status.success().then(|| String::from_utf8_lossy(&text).into_owned())
}

/// `17` of `openjdk version "17.0.15" 2025-04-15`.
fn major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("version \"")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whether Maven failed for want of a repository.
fn is_unreachable(said: &str) -> bool {
    ["Could not transfer artifact", "Unknown host", "Connection refused"]
        .iter()
        .any(|sign| said.contains(sign))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from: PathBuf = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
fn a_missing_repository_is_told_from_a_program_that_does_not_compile() {
    assert!(is_unreachable(
        "[ERROR] ... Could not transfer artifact a:b:jar:1 from/to central: ..."
    ));
    assert!(!is_unreachable("[ERROR] COMPILATION ERROR : Consumer.java:[3,1] cannot find symbol"));
}

#[test]
fn the_major_version_is_read() {
    assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15"), Some(17));
    assert_eq!(major("java version \"1.8.0_402\""), Some(1));
    assert_eq!(major("command not found"), None);
}
