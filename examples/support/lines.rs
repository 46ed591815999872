//! Standard output for many shards at once: whole batches, in order, and never on a thread that the runtime needs.

use std::io::{self, Write};
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// How many batches may wait. More would only take memory: the pipe is what is slow.
const WAITING: usize = 16;

/// Writes lines to standard output. Clones share it.
///
/// A pipe that nobody reads blocks the thread that writes, and with it every shard that has lines to write, but nothing
/// else: leases are renewed, and shards without records keep being read. Lines that were handed over are written as a whole,
/// also if the batch's call is dropped meanwhile.
#[derive(Clone)]
pub(crate) struct Lines(mpsc::Sender<Job>);

struct Job {
    lines: Vec<u8>,
    written: oneshot::Sender<io::Result<()>>,
}

impl Lines {
    /// Starts the writing thread, which ends with the process: joining it could mean waiting for a pipe for ever.
    pub(crate) fn to_stdout() -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        thread::spawn(move || write_all(waiting));
        Self(jobs)
    }

    /// Returns when the lines have left this process.
    ///
    /// # Errors
    /// When they cannot be written: `BrokenPipe` once nobody can read them any more.
    pub(crate) async fn write(&self, lines: Vec<u8>) -> io::Result<()> {
        let (written, outcome) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.send(Job { lines, written }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

fn write_all(mut waiting: mpsc::Receiver<Job>) {
    let mut stdout = io::stdout().lock();
    while let Some(Job { lines, written }) = waiting.blocking_recv() {
        let outcome = stdout.write_all(&lines).and_then(|()| stdout.flush());
        let _caller_is_gone = written.send(outcome);
    }
}
