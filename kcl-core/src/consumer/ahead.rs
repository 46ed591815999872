//! Who drives the reader: its consumer, for as long as the processor is quick, and then a task of its own.
//!
//! ```text
//! Beside ──────a call of the processor takes longer than QUICK──────> Apart
//!   │ polled while the consumer waits for records,       │ a task, one reply ahead
//!   │ never while user code runs                         │
//!   └───────────────────> Over <──no more is fetched─────┘
//! ```
//!
//! ADR 0022 says why.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::intake::Sent;
use crate::metrics::{self, ShardMetrics};
use crate::retrieval::{ByteBudget, Fetched, ShardReader};
use crate::{Clock, Tasks};

/// In so long a call something worth while can be fetched.
const QUICK: Duration = Duration::from_millis(10);

/// A reader that fetches ahead of its consumer.
pub(super) enum Ahead {
    /// Polled while the consumer waits for records.
    Beside(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// A task, until this is dropped.
    Apart { _reading: DropGuard },
    /// Nothing more is fetched.
    Over,
}

impl Ahead {
    /// A reader of which nothing is asked yet.
    pub(super) fn new(
        reader: Box<dyn ShardReader>,
        replies: mpsc::Sender<Sent>,
        budget: ByteBudget,
        metrics: ShardMetrics,
    ) -> Self {
        let reading = AssertUnwindSafe(read_ahead(reader, replies, budget, metrics));
        // A reader that panics has stopped, wherever it runs.
        Self::Beside(Box::pin(reading.catch_unwind().map(drop)))
    }

    /// Waits for `work`, which is to take what is read.
    pub(super) async fn beside<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            let Self::Beside(reading) = self else { return Poll::Pending };
            if reading.as_mut().poll(context).is_ready() {
                *self = Self::Over;
            }
            work.as_mut().poll(context)
        })
        .await
    }

    /// Waits for a call of the processor. In the first one that is not quick the reader begins to go on by itself.
    pub(super) async fn during<T>(
        &mut self,
        mut call: Pin<&mut impl Future<Output = T>>,
        clock: &Clock,
        tasks: &Tasks,
    ) -> T {
        let (begun, mut patience) = (clock.now(), pin!(clock.sleep(QUICK)));
        poll_fn(|context| {
            let polled = call.as_mut().poll(context);
            if matches!(self, Self::Beside(_)) {
                let slow = match polled {
                    Poll::Ready(_) => clock.now() - begun > QUICK,
                    Poll::Pending => patience.as_mut().poll(context).is_ready(),
                };
                if slow {
                    self.part(tasks);
                }
            }
            polled
        })
        .await
    }

    /// Nothing more is fetched.
    pub(super) fn stop(&mut self) {
        *self = Self::Over;
    }

    fn part(&mut self, tasks: &Tasks) {
        if !matches!(self, Self::Beside(_)) {
            return;
        }
        let over = CancellationToken::new();
        let apart = Self::Apart { _reading: over.clone().drop_guard() };
        if let Self::Beside(reading) = std::mem::replace(self, apart) {
            tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = over.cancelled() => {}
                    () = reading => {}
                }
            });
        }
    }
}

/// Keeps one reply ready ahead of the processor, until the shard ends.
async fn read_ahead(
    mut reader: Box<dyn ShardReader>,
    replies: mpsc::Sender<Sent>,
    budget: ByteBudget,
    metrics: ShardMetrics,
) {
    // The slot is taken first: while the processor is slow, nothing is fetched.
    while let Ok(slot) = replies.reserve().await {
        let reply = reader.next().await;
        metrics.record_worker(metrics::BUDGET_BYTES_USED, budget.used() as f64);
        let last = !matches!(reply, Ok(Fetched::Records { .. }));
        slot.send(Box::new(reply));
        if last {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
