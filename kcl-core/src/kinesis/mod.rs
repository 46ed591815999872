//! The calls to Kinesis that reading needs, as a port, and its adapter over the AWS SDK.
//!
//! No method paces or caches, and reads are not retried: those are decisions of the callers.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::{ChildShard, RawRecord, Shard, ShardId, StartingPosition, Stream, StreamAddress};

mod error;
mod sdk;

pub use error::{ApiError, ApiErrorKind};
pub use sdk::SdkKinesis;
#[doc(hidden)]
pub use sdk::seam;

/// Kinesis, as far as a consumer calls it.
#[async_trait]
pub trait KinesisApi: Send + Sync + fmt::Debug + 'static {
    /// DescribeStreamSummary: who the stream is. The returned address is the one that was asked for.
    ///
    /// # Errors
    /// See [`ApiErrorKind`].
    async fn describe_stream(&self, address: &StreamAddress) -> Result<Stream, ApiError>;

    /// ListShards, all pages, in the order of shard ids.
    ///
    /// # Errors
    /// See [`ApiErrorKind`]; an error on any page is an error of the whole.
    async fn list_shards(
        &self,
        stream: &Stream,
        filter: ShardFilter,
    ) -> Result<Vec<Shard>, ApiError>;

    /// GetShardIterator. The iterator serves one [`get_records`](Self::get_records) within five minutes.
    ///
    /// # Errors
    /// See [`ApiErrorKind`].
    async fn shard_iterator(
        &self,
        stream: &Stream,
        shard: &ShardId,
        from: &StartingPosition,
    ) -> Result<ShardIterator, ApiError>;

    /// GetRecords with at most `limit` records (1 to 10,000), at most 10 MiB.
    ///
    /// # Errors
    /// See [`ApiErrorKind`].
    async fn get_records(
        &self,
        stream: &Stream,
        iterator: &ShardIterator,
        limit: u32,
    ) -> Result<RecordsPage, ApiError>;
}

/// Which shards ListShards answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardFilter {
    /// All within the retention period, open and closed.
    All,
    /// Those that were open at the oldest record that the stream still holds.
    AtTrimHorizon,
    /// Those that are open now.
    AtLatest,
    /// Those that were open at this time.
    AtTimestamp(SystemTime),
}

/// An opaque place in a shard, good for five minutes.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardIterator(pub String);

impl fmt::Debug for ShardIterator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardIterator({} bytes)", self.0.len())
    }
}

/// A reply of GetRecords.
#[derive(Debug, Clone)]
pub struct RecordsPage {
    /// In the order of the shard.
    pub records: Vec<RawRecord>,
    /// Where to go on; `None` at the end of a closed shard.
    pub next: Option<ShardIterator>,
    /// How far the reply is behind the newest record; to the millisecond.
    pub behind: Duration,
    /// The shards that follow; only at the end of a closed shard.
    pub children: Vec<ChildShard>,
}
