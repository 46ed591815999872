//! The only spawner of tasks: what a worker started can be counted, stalled and ended as one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// The tasks of one worker. Clones share them.
///
/// [`stop`](Self::stop) drops every task at its next await point, as a crash would. [`stall`](Self::stall) freezes them
/// and [`resume`](Self::resume) lets them go on, as a stopped and continued process would: a simulation's zombie.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopped: CancellationToken,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    closed: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Tasks {
    /// A group without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task on the current runtime. It ends by itself, or when the group is stopped.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let gated = Gated {
            task: Box::pin(task),
            stopped: Box::pin(self.stopped.clone().cancelled_owned()),
            gate: self.gate.clone(),
        };
        drop(tokio::spawn(self.tracker.track_future(gated)));
    }

    /// How many tasks live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// True when no task lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Drops every task, now and in future, without letting it run again.
    pub fn stop(&self) {
        self.stopped.cancel();
        self.resume();
    }

    /// Freezes every task until [`resume`](Self::resume). Time goes on without them.
    pub fn stall(&self) {
        self.gate.closed.store(true, Ordering::SeqCst);
    }

    /// Lets stalled tasks go on.
    pub fn resume(&self) {
        self.gate.closed.store(false, Ordering::SeqCst);
        let waiting =
            std::mem::take(&mut *self.gate.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in waiting {
            waker.wake();
        }
    }

    /// Waits until no task lives.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// A guard that stops the group when it is dropped, so that a dropped `run` future leaves nothing behind.
    #[must_use]
    pub fn stop_on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// See [`Tasks::stop_on_drop`].
#[derive(Debug)]
pub struct StopOnDrop(Tasks);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Gated {
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    gate: Arc<Gate>,
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.gate.closed.load(Ordering::SeqCst) {
            let mut waiting = self.gate.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // Read again under the lock: `resume` takes the wakers after it has opened the gate.
            if self.gate.closed.load(Ordering::SeqCst) {
                waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.task.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    fn ticking(tasks: &Tasks) -> Arc<AtomicU32> {
        let ticks = Arc::new(AtomicU32::new(0));
        let counter = ticks.clone();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        ticks
    }

    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_millis(seconds * 1000 + 500)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_group_stands_still_and_goes_on() {
        let tasks = Tasks::new();
        let ticks = ticking(&tasks);
        pass(3).await;
        assert_eq!(ticks.load(Ordering::SeqCst), 3);
        tasks.stall();
        pass(60).await;
        assert_eq!(ticks.load(Ordering::SeqCst), 3);
        tasks.resume();
        pass(2).await;
        assert!(ticks.load(Ordering::SeqCst) >= 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_guard_ends_every_task_also_a_stalled_one() {
        let tasks = Tasks::new();
        let guard = tasks.stop_on_drop();
        let ticks = ticking(&tasks);
        tasks.stall();
        drop(guard);
        tasks.wait().await;
        assert!(tasks.is_empty());
        pass(5).await;
        assert_eq!(ticks.load(Ordering::SeqCst), 0);
    }
}
