//! A process of the `consume` example.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// Killed when dropped, so that a failed test leaves nothing behind.
pub(crate) struct Consumer {
    pub(crate) id: String,
    child: Child,
    started: Instant,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// How long a stop in order may take.
const STOP_LIMIT: Duration = Duration::from_secs(10);

impl Consumer {
    /// Starts a process that writes its records to `stdout` and its log beside it.
    pub(crate) fn start(stdout: &Path, arguments: &[&str], id: &str) -> Self {
        let stderr = stdout.with_extension("log");
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .args(["--json", "--worker-id", id])
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1")
            .env_remove("AWS_PROFILE")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(File::create(stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .kill_on_drop(true);
        let started = Instant::now();
        let child = command.spawn().unwrap();
        Self { id: id.to_owned(), child, started, stdout: stdout.to_owned(), stderr }
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub(crate) async fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        let kill = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(kill.unwrap().success());
    }

    /// Waits for the end of a process that was told to stop, and checks that it was in order.
    pub(crate) async fn has_drained(mut self) {
        let begin = Instant::now();
        let ended = tokio::time::timeout(STOP_LIMIT, self.child.wait()).await;
        let status = match ended {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("{} has not stopped within {STOP_LIMIT:?}: {}", self.id, self.log()),
        };
        assert_eq!(status.code(), Some(0), "{}: {}", self.id, self.log());
        println!("{} stopped in {:?}", self.id, begin.elapsed());
    }

    /// From the start of the process until a record is in its output.
    pub(crate) async fn first_line(&self) -> Duration {
        while fs::metadata(&self.stdout).unwrap().len() == 0 {
            assert!(self.started.elapsed() < Duration::from_secs(30), "no record: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.started.elapsed()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }
}

/// `target/<profile>/examples/consume`, beside this test's `target/<profile>/deps/kill-…`.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let binary = profile.join("examples/consume");
    assert!(binary.exists(), "not built, run `cargo build --example consume`: {binary:?}");
    binary
}
