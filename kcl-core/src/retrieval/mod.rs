//! How records come in: the ports that a way of reading implements, and polling.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::kinesis::{ApiError, ApiErrorKind, KinesisApi};
use crate::metrics::ShardMetrics;
use crate::{ChildShard, Clock, RawRecord, ShardId, StartingPosition, Stream, Tasks};

mod budget;
mod health;
mod lineage;
mod lookups;
mod polling;

pub use budget::{BudgetPermit, ByteBudget, MAX_REPLY_BYTES};
pub use health::{Health, HealthReport};
pub use lineage::{Doubt, Finding, Verdict, is_complete};
pub use lookups::Lookups;
pub use polling::Polling;

/// A way of reading shards: polling, or enhanced fan-out.
pub trait RecordSource: Send + Sync + fmt::Debug + 'static {
    /// The calls to Kinesis that serve everything but the records: describing streams, listing shards.
    fn api(&self) -> Arc<dyn KinesisApi>;

    /// A reader of one shard. Opening makes no call; the first [`ShardReader::next`] does.
    fn open(&self, shard: OpenShard) -> Box<dyn ShardReader>;
}

/// For a choice at run time.
impl<S: RecordSource + ?Sized> RecordSource for Arc<S> {
    fn api(&self) -> Arc<dyn KinesisApi> {
        (**self).api()
    }

    fn open(&self, shard: OpenShard) -> Box<dyn ShardReader> {
        (**self).open(shard)
    }
}

/// What a reader gets.
#[derive(Debug)]
pub struct OpenShard {
    /// The stream.
    pub stream: Stream,
    /// The shard.
    pub shard: ShardId,
    /// Where to begin.
    pub from: StartingPosition,
    /// The process-wide byte budget; a permit is taken from it before each fetch.
    pub budget: ByteBudget,
    /// Time.
    pub clock: Clock,
    /// Chance, seeded for this shard.
    pub rng: fastrand::Rng,
    /// Where a reader's own tasks run, if it needs any. They end with the reader, or when the worker does.
    pub tasks: Tasks,
    /// Where this shard's figures go.
    pub metrics: ShardMetrics,
    /// Where the reader says how it fares.
    pub health: HealthReport,
}

/// Reads one shard, in order, without a gap or a repeat, for as long as it is asked.
#[async_trait]
pub trait ShardReader: Send {
    /// The next records, or the shard's end. Waits as long as there are none; survives every error that may heal
    /// (throttles, timeouts, expired iterators and credentials) by itself.
    ///
    /// Dropping the future is safe: what it had not returned comes again.
    ///
    /// # Errors
    /// Only what does not heal by asking again; the caller decides about the shard.
    async fn next(&mut self) -> Result<Fetched, ReadError>;
}

/// What a reader brought.
#[derive(Debug)]
pub enum Fetched {
    /// Records, never empty.
    Records {
        /// In the order of the shard.
        records: Vec<RawRecord>,
        /// The bytes of `records` that count against the budget, given back when dropped.
        permit: BudgetPermit,
        /// How far the last record is behind the newest one of the shard.
        behind: Duration,
    },
    /// The shard is closed and everything was returned. Asking again returns it again.
    ShardEnd {
        /// The shards that follow; never empty.
        children: Vec<ChildShard>,
    },
}

/// Why a shard cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream or the shard is gone, and no children of it are known. Never the same as its end: the lease keeps its
    /// checkpoint.
    #[error("shard cannot be read: stream or shard not found")]
    NotFound(#[source] ApiError),
    /// The source was not told of a registered consumer of this stream, or of one with a name that cannot be: a mistake in
    /// the program.
    #[error("shard cannot be read: the stream has no usable consumer")]
    NoConsumer(#[source] ApiError),
}

impl ReadError {
    /// What a reader returns for [`Verdict::Gone`]; `error` if a call said so.
    #[must_use]
    pub fn gone(error: Option<ApiError>) -> Self {
        Self::NotFound(error.unwrap_or_else(|| {
            let reason = "the shard is not listed, or the stream is another one of the same name";
            ApiError::new("ListShards", ApiErrorKind::NotFound, reason)
        }))
    }
}
