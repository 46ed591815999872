//! What a processor knows about its shard.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::leasing::{HeldLease, PendingCheckpoint};
use crate::{Checkpointer, Position, ShardId, Stream, StreamId, WorkerId};

/// The shard that a processor works on, and the handle on its checkpoint.
#[derive(Debug)]
pub struct ShardContext {
    pub(crate) stream: Stream,
    pub(crate) shard: ShardId,
    pub(crate) worker: WorkerId,
    pub(crate) resumed_after: Position,
    pub(crate) pending: Option<PendingCheckpoint>,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) lease: Arc<dyn HeldLease>,
}

impl ShardContext {
    /// The stream.
    #[must_use]
    pub fn stream_id(&self) -> &StreamId {
        &self.stream.id
    }

    /// The shard.
    #[must_use]
    pub fn shard_id(&self) -> &ShardId {
        &self.shard
    }

    /// The worker that holds the lease: this one.
    #[must_use]
    pub fn worker_id(&self) -> &WorkerId {
        &self.worker
    }

    /// The checkpoint that this consumer resumed after.
    #[must_use]
    pub fn resumed_after(&self) -> &Position {
        &self.resumed_after
    }

    /// A checkpoint that an earlier owner announced but did not commit.
    #[must_use]
    pub fn pending_checkpoint(&self) -> Option<&PendingCheckpoint> {
        self.pending.as_ref()
    }

    /// The handle on the shard's checkpoint; clone it to move it into a task.
    #[must_use]
    pub fn checkpointer(&self) -> &Checkpointer {
        &self.checkpointer
    }

    /// Fires when the lease is lost, also in the middle of a call: stop early, since nothing that follows counts.
    #[must_use]
    pub fn lease_lost(&self) -> &CancellationToken {
        self.lease.lost()
    }

    /// Grows with every change of owner. Store it beside the results, and refuse writes with a lower one, to fence off an
    /// owner that was stopped for long and does not know yet.
    #[must_use]
    pub fn fencing_token(&self) -> u64 {
        self.lease.fencing_token()
    }
}
