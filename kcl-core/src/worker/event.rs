//! What happens in a worker, as one stream of facts.

use super::ShardRef;
use crate::{Position, StreamId};

/// Something that happened to this worker, or to a shard of it. For logs, displays, health checks and tests.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// The worker has joined the application and can be granted leases: nothing that is put from now on is skipped.
    Ready,
    /// The first leases of a stream exist that was [added](crate::StreamSet::add) while the worker ran: nothing that is put
    /// on it from now on is skipped.
    StreamReady(StreamId),
    /// A lease was granted; its consumer starts.
    Granted {
        /// The shard.
        shard: ShardRef,
        /// It resumes after this checkpoint.
        position: Position,
    },
    /// The shard was read to its end, and that is durable.
    Ended(ShardRef),
    /// The worker stopped, or its stream was removed; the shard's progress is durable and its lease is free.
    Drained(ShardRef),
    /// Another worker asked for the shard: its progress is durable, and its lease is that worker's, or free.
    HandedOver(ShardRef),
    /// The lease went to another worker, or expired.
    Lost(ShardRef),
    /// The processor failed for good; the lease is free, its checkpoint has not moved.
    Halted {
        /// The shard.
        shard: ShardRef,
        /// The last failure.
        failure: String,
    },
    /// A call to the processor did not end within the drain limit, and was dropped.
    Abandoned(ShardRef),
}

impl WorkerEvent {
    /// The event in one word, for the log.
    pub(super) fn how(&self) -> &'static str {
        match self {
            Self::Ready | Self::StreamReady(_) => "ready",
            Self::Granted { .. } => "granted",
            Self::Ended(_) => "ended",
            Self::Drained(_) => "drained",
            Self::HandedOver(_) => "handed over",
            Self::Lost(_) => "lost",
            Self::Halted { .. } => "halted",
            Self::Abandoned(_) => "abandoned",
        }
    }
}
