//! The processor's handle on the checkpoint of its shard.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Tracker;
use crate::leasing::{CheckpointError, HeldLease, PendingCheckpoint};
use crate::{Position, Record, SequenceNumber};

/// Writes checkpoints of one shard. Clones share the shard, and may be moved into tasks that finish work later.
///
/// A checkpoint says: this record *and everything before it* is done. After the lease is lost, every call returns
/// [`CheckpointError::LeaseLost`], also when this worker has taken the shard again since: that is another consumer.
#[derive(Debug, Clone)]
pub struct Checkpointer {
    tracker: Arc<Mutex<Tracker>>,
    lease: Arc<dyn HeldLease>,
}

impl Checkpointer {
    pub(crate) fn new(position: Position, lease: Arc<dyn HeldLease>) -> Self {
        Self { tracker: Arc::new(Mutex::new(Tracker::new(position))), lease }
    }

    /// Checkpoints everything that was delivered so far, and waits until it is durable.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn checkpoint(&self) -> Result<(), CheckpointError> {
        let delivered = self.tracker().delivered().clone();
        self.write(delivered).await
    }

    /// Checkpoints at a record, and waits until it is durable.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn checkpoint_at(&self, record: &Record) -> Result<(), CheckpointError> {
        self.write(record.position()).await
    }

    /// Checkpoints at a sequence number and, inside a KPL aggregate, a sub-sequence number; waits until it is durable.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn checkpoint_at_sequence(
        &self,
        number: SequenceNumber,
        sub: u64,
    ) -> Result<(), CheckpointError> {
        self.write(Position::at(number, sub)).await
    }

    /// Announces a checkpoint of everything delivered so far, with a note of the application: the first of two phases.
    /// If the worker dies between the phases, the next owner finds announcement and note in
    /// [`ShardContext::pending_checkpoint`](crate::ShardContext::pending_checkpoint).
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn prepare(
        &self,
        state: Option<Bytes>,
    ) -> Result<PreparedCheckpoint, CheckpointError> {
        let delivered = self.tracker().delivered().clone();
        self.announce(delivered, state).await
    }

    /// Like [`prepare`](Self::prepare), at a record.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn prepare_at(
        &self,
        record: &Record,
        state: Option<Bytes>,
    ) -> Result<PreparedCheckpoint, CheckpointError> {
        self.announce(record.position(), state).await
    }

    /// Everything up to `position` was handed to the processor; returns what was before.
    pub(crate) fn deliver(&self, position: Position) -> Position {
        let mut tracker = self.tracker();
        let before = tracker.delivered().clone();
        tracker.deliver(position);
        before
    }

    /// The batch that began after `position` failed.
    pub(crate) fn retract(&self, position: Position) {
        self.tracker().retract(position);
    }

    /// Everything delivered is done; durable with the next renewal.
    pub(crate) fn advance(&self) -> Position {
        let mut tracker = self.tracker();
        let delivered = tracker.delivered().clone();
        tracker.commit(delivered.clone());
        self.lease.advance(delivered.clone());
        delivered
    }

    async fn write(&self, position: Position) -> Result<(), CheckpointError> {
        self.admit(&position)?;
        if !position.has_progressed() {
            return Ok(()); // nothing was delivered yet
        }
        self.lease.checkpoint(position.clone()).await?;
        self.tracker().commit(position);
        Ok(())
    }

    async fn announce(
        &self,
        position: Position,
        state: Option<Bytes>,
    ) -> Result<PreparedCheckpoint, CheckpointError> {
        self.admit(&position)?;
        self.lease.prepare(PendingCheckpoint { position: position.clone(), state }).await?;
        Ok(PreparedCheckpoint { position, checkpointer: self.clone() })
    }

    fn admit(&self, position: &Position) -> Result<(), CheckpointError> {
        if self.lease.lost().is_cancelled() {
            return Err(CheckpointError::LeaseLost);
        }
        self.tracker().admit(position)
    }

    fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An announced checkpoint: the second phase is [`commit`](Self::commit).
#[derive(Debug)]
#[must_use = "an announced checkpoint does nothing until it is committed"]
pub struct PreparedCheckpoint {
    position: Position,
    checkpointer: Checkpointer,
}

impl PreparedCheckpoint {
    /// The announced position.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Makes it the checkpoint, and waits until it is durable.
    ///
    /// # Errors
    /// See [`CheckpointError`]; [`CheckpointError::Backward`] when a later checkpoint was made since.
    pub async fn commit(self) -> Result<(), CheckpointError> {
        self.checkpointer.write(self.position).await
    }
}
