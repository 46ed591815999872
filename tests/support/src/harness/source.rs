//! One shard as a list of records: a source that can be fed and ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::kinesis::{
    ApiError, ApiErrorKind, KinesisApi, RecordsPage, ShardFilter, ShardIterator,
};
use kcl_core::retrieval::{Fetched, OpenShard, ReadError, RecordSource, ShardReader};
use kcl_core::{ChildShard, RawRecord, Shard, ShardId, StartingPosition, Stream, StreamAddress};
use tokio::sync::Notify;

/// The shard that a harness feeds. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct FedShard {
    stream: Stream,
    shard: Arc<Mutex<Fed>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Fed {
    records: Vec<RawRecord>,
    children: Option<Vec<ChildShard>>,
}

impl FedShard {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, shard: Arc::default(), changed: Arc::default() }
    }

    pub(super) fn push(&self, record: RawRecord) {
        self.lock().records.push(record);
        self.changed.notify_waiters();
    }

    pub(super) fn end(&self, children: Vec<ChildShard>) {
        self.lock().children = Some(children);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Fed> {
        self.shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordSource for FedShard {
    fn api(&self) -> Arc<dyn KinesisApi> {
        Arc::new(self.clone())
    }

    fn open(&self, shard: OpenShard) -> Box<dyn ShardReader> {
        let fed = self.lock();
        let begin = fed.records.iter().position(|record| match &shard.from {
            StartingPosition::TrimHorizon => true,
            StartingPosition::Latest => false,
            StartingPosition::AtTimestamp(time) => record.approximate_arrival >= *time,
            StartingPosition::AtSequenceNumber(number) => record.sequence_number >= *number,
            StartingPosition::AfterSequenceNumber(number) => record.sequence_number > *number,
        });
        let next = begin.unwrap_or(fed.records.len());
        drop(fed);
        Box::new(Reader { fed: self.clone(), next, open: shard })
    }
}

struct Reader {
    fed: FedShard,
    next: usize,
    open: OpenShard,
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> Result<Fetched, ReadError> {
        loop {
            let changed = self.fed.changed.notified();
            let (records, children) = {
                let fed = self.fed.lock();
                (fed.records[self.next..].to_vec(), fed.children.clone())
            };
            if !records.is_empty() {
                let bytes = records.iter().map(|record| record.data.len()).sum();
                let permit = self.open.budget.take(bytes).await;
                self.next += records.len();
                return Ok(Fetched::Records { records, permit, behind: Duration::ZERO });
            }
            if let Some(children) = children {
                return Ok(Fetched::ShardEnd { children });
            }
            changed.await;
        }
    }
}

#[async_trait]
impl KinesisApi for FedShard {
    async fn describe_stream(&self, _: &StreamAddress) -> Result<Stream, ApiError> {
        Ok(self.stream.clone())
    }

    async fn list_shards(&self, _: &Stream, _: ShardFilter) -> Result<Vec<Shard>, ApiError> {
        Err(absent("ListShards"))
    }

    async fn shard_iterator(
        &self,
        _: &Stream,
        _: &ShardId,
        _: &StartingPosition,
    ) -> Result<ShardIterator, ApiError> {
        Err(absent("GetShardIterator"))
    }

    async fn get_records(
        &self,
        _: &Stream,
        _: &ShardIterator,
        _: u32,
    ) -> Result<RecordsPage, ApiError> {
        Err(absent("GetRecords"))
    }
}

/// A worker over fake leases and a fake source calls none of these.
fn absent(operation: &'static str) -> ApiError {
    ApiError::new(operation, ApiErrorKind::NotFound, "a harness has no Kinesis")
}
