//! A worker's process: its output is its records, one a line, and its log lies beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// Killed when dropped, so that a failed test leaves nothing behind.
pub(crate) struct Process {
    pub(crate) id: String,
    child: Child,
    started: Instant,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// What a process can be sent, beside SIGKILL.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    Terminate,
    /// It stands still until it is sent `Continue`.
    Stop,
    Continue,
}

/// How long a stop in order may take.
const STOP_LIMIT: Duration = Duration::from_secs(10);

impl Process {
    /// Starts `command`, which writes its records to standard output, here the file `stdout`.
    pub(crate) fn start(id: &str, mut command: Command, stdout: &Path) -> Self {
        let stderr = stdout.with_extension("log");
        command
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
        self.signal(Signal::Terminate).await;
    }

    /// Sends a signal to the process.
    pub(crate) async fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "-TERM",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        let pid = self.child.id().unwrap().to_string();
        let kill = Command::new("kill").args([name, &pid]).status().await;
        assert!(kill.unwrap().success());
    }

    /// Waits for the end of a process that was told to stop, and checks that it was in order.
    pub(crate) async fn has_drained(self) {
        let (id, log) = (self.id.clone(), self.stderr.clone());
        let begin = Instant::now();
        let status = self.has_ended(STOP_LIMIT).await;
        assert_eq!(status.code(), Some(0), "{id}: {}", fs::read_to_string(log).unwrap());
        println!("{id} stopped in {:?}", begin.elapsed());
    }

    /// Waits for the end of a process that was told to stop.
    pub(crate) async fn has_ended(mut self, limit: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        match ended {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("{} has not stopped within {limit:?}: {}", self.id, self.log()),
        }
    }

    /// From the start of the process until a record is in its output.
    pub(crate) async fn first_line(&self) -> Duration {
        while fs::metadata(&self.stdout).unwrap().len() == 0 {
            assert!(self.started.elapsed() < Duration::from_secs(30), "no record: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.started.elapsed()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Where its log lies, also when it has ended.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.stderr.clone()
    }
}

/// Whether the environment asks for workers that read by enhanced fan-out: `KCL_FAN_OUT`.
pub(crate) fn by_fan_out() -> bool {
    std::env::var_os("KCL_FAN_OUT").is_some()
}

/// The example `consume`: `target/<profile>/examples/consume`, beside this test's `target/<profile>/deps/…`.
pub(crate) fn consume() -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let binary = profile.join("examples/consume");
    assert!(binary.exists(), "not built, run `cargo build --example consume`: {binary:?}");
    Command::new(binary)
}
