//! Listens to every call of a processor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::{Batch, Position, RecordProcessor, ShardContext};
use tokio::sync::Notify;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the processor was called with, and what it answered. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// What the worker told its observer, in words.
    pub(super) stops: u64,
    /// Everything up to here was returned `Ok`.
    pub(super) done: Option<Position>,
    /// User records that were returned `Ok`, counted again when they came again.
    pub(super) processed: usize,
    pub(super) failures: Vec<String>,
    pub(super) halted: bool,
}

impl Watch {
    pub(super) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }

    /// Waits until `ready` holds.
    pub(super) async fn until(&self, ready: impl Fn(&Seen) -> bool) {
        loop {
            let changed = self.changed.notified();
            if ready(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<E: Into<BoxError>>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<(), E>>,
    ) -> Result<(), BoxError> {
        let panicked = Panicked { watch: self, operation, armed: true };
        let result = call.await.map_err(Into::into);
        panicked.disarm();
        if let Err(error) = &result {
            self.note(|seen| seen.failures.push(format!("{operation}: {error}")));
        }
        result
    }
}

/// Notes a call that neither returned nor went on.
struct Panicked<'a> {
    watch: &'a Watch,
    operation: &'static str,
    armed: bool,
}

impl Panicked<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Panicked<'_> {
    fn drop(&mut self) {
        if self.armed {
            let how = if std::thread::panicking() { "panicked" } else { "was dropped" };
            self.watch.note(|seen| seen.failures.push(format!("{}: {how}", self.operation)));
        }
    }
}

/// The user's processor, listened to.
pub(super) struct Watched<P> {
    pub(super) processor: P,
    pub(super) watch: Watch,
}

impl<P: RecordProcessor> RecordProcessor for Watched<P> {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &mut ShardContext) -> Result<(), BoxError> {
        self.watch.call("initialize", self.processor.initialize(shard)).await
    }

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), BoxError> {
        let (end, count) = (batch.records().last().map(kcl_core::Record::position), batch.len());
        self.watch.call("process_records", self.processor.process_records(batch, shard)).await?;
        self.watch.note(|seen| {
            seen.done = end.max(seen.done.take());
            seen.processed += count;
        });
        Ok(())
    }

    async fn shard_ended(&mut self, shard: &mut ShardContext) -> Result<(), BoxError> {
        self.watch.call("shard_ended", self.processor.shard_ended(shard)).await
    }

    async fn shutdown_requested(&mut self, shard: &mut ShardContext) -> Result<(), BoxError> {
        self.watch.call("shutdown_requested", self.processor.shutdown_requested(shard)).await
    }

    async fn lease_lost(&mut self) {
        self.processor.lease_lost().await;
    }
}
