//! What the kernel says of a process, and children that are measured.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::Failure;

/// CPU time of this process, user and system, in seconds; to the nanosecond where the kernel counts so.
pub(crate) fn cpu_seconds() -> Result<f64, Failure> {
    let mut nanoseconds = 0_u64;
    for task in fs::read_dir("/proc/self/task")? {
        let statistics = fs::read_to_string(task?.path().join("schedstat"))?;
        let running = statistics.split_whitespace().next().ok_or("empty schedstat")?;
        nanoseconds += running.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// Resident memory of this process in bytes: now, and at its peak.
pub(crate) fn memory() -> Result<(u64, u64), Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Result<u64, Failure> {
        let line = status.lines().find(|line| line.starts_with(name)).ok_or("no such field")?;
        let kib = line.split_whitespace().nth(1).ok_or("no figure")?.parse::<u64>()?;
        Ok(kib * 1024)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// A child of this program that serves until it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) endpoint: String,
}

impl Server {
    /// Starts `serve` with `arguments`, and waits until it listens.
    pub(crate) fn start(arguments: &[String]) -> Result<Self, Failure> {
        let mut child = myself("serve", arguments)?.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let endpoint = line.trim().to_owned();
        if endpoint.is_empty() {
            return Err("the emulator did not start".into());
        }
        Ok(Self { child, endpoint })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client to its end, and returns the JSON line that it prints.
pub(crate) fn client(arguments: &[String]) -> Result<serde_json::Value, Failure> {
    let output = myself("client", arguments)?.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("client failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn myself(command: &str, arguments: &[String]) -> Result<Command, Failure> {
    let mut process = Command::new(std::env::current_exe()?);
    process.arg(command).args(arguments);
    Ok(process)
}

/// The middle of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
