//! How a run ended, shard by shard.

use std::fmt;
use std::time::Duration;

use crate::{ShardId, StreamId};

/// A shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardRef {
    /// The stream.
    pub stream: StreamId,
    /// The shard.
    pub shard: ShardId,
}

impl fmt::Display for ShardRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream.name(), self.shard)
    }
}

/// A shard whose processor failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaltedShard {
    /// The shard.
    pub shard: ShardRef,
    /// The last failure.
    pub failure: String,
}

/// What a stopped worker leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Shards whose progress is durable and whose leases are free: peers go on with the next record.
    pub drained: Vec<ShardRef>,
    /// Shards with a call that did not end within the drain limit. Their leases are free, and peers repeat what was not
    /// durable.
    pub abandoned: Vec<ShardRef>,
    /// Shards whose lease was lost while the worker stopped: their progress may not be durable, and peers repeat what was
    /// not.
    pub lost: Vec<ShardRef>,
    /// Shards that were halted at any time of the run.
    pub halted: Vec<HaltedShard>,
    /// Leases that could not be freed: peers wait until they expire.
    pub unreleased: usize,
    /// From the request to stop until now.
    pub took: Duration,
}

impl ShutdownReport {
    /// True when every shard was drained and every lease freed: nothing will be repeated.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let undrained = self.abandoned.len() + self.lost.len() + self.halted.len();
        undrained + self.unreleased == 0
    }

    /// Writes the report to the log: INFO when it is clean, else WARN.
    pub fn log(&self) {
        let (drained, abandoned) = (self.drained.len(), self.abandoned.len());
        let (lost, halted, unreleased) = (self.lost.len(), self.halted.len(), self.unreleased);
        let took_ms = self.took.as_millis() as u64;
        if self.is_clean() {
            tracing::info!(drained, took_ms, "worker stopped, all shards drained");
            return;
        }
        tracing::warn!(
            drained,
            abandoned,
            lost,
            halted,
            unreleased,
            took_ms,
            "worker stopped, not all drained"
        );
        for shard in &self.abandoned {
            tracing::warn!(%shard, "abandoned: its processor did not return in time");
        }
        for HaltedShard { shard, failure } in &self.halted {
            tracing::warn!(%shard, %failure, "halted: its processor failed for good");
        }
    }
}
