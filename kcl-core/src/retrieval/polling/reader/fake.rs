//! A working Kinesis with one shard, and faults that a test asks for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::kinesis::{ApiError, ApiErrorKind, KinesisApi, RecordsPage, ShardFilter, ShardIterator};
use crate::{
    ChildShard, Clock, HashRange, RawRecord, SequenceNumber, Shard, ShardId, StartingPosition,
    Stream, StreamAddress,
};

const ITERATOR_LIFE: Duration = Duration::from_secs(300);

/// Every call takes [`LATENCY`]; its effect lies in the middle.
pub(super) const LATENCY: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Fake {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) stream: Stream,
    /// Whether ListShards names the shard.
    pub(super) listed: bool,
    pub(super) closed: bool,
    /// Whether the reply at the end names the children.
    pub(super) names_children: bool,
    /// Sequence numbers below this have expired.
    pub(super) trimmed: u64,
    /// The outcomes of the next GetShardIterator and GetRecords calls; after them, all goes well.
    pub(super) reads: VecDeque<Fault>,
    /// When GetRecords was called.
    pub(super) calls: Vec<Instant>,
    records: Vec<RawRecord>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Fail(ApiErrorKind),
    /// A page without records and without a next iterator, though the shard goes on.
    FalseEnd,
}

impl Fake {
    pub(super) fn new(clock: Clock) -> Self {
        let state = State {
            stream: stream(1),
            listed: true,
            closed: false,
            names_children: true,
            trimmed: 0,
            reads: VecDeque::new(),
            calls: Vec::new(),
            records: Vec::new(),
        };
        Self { clock, state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Appends records of `size` bytes with the next sequence numbers, which begin at 1.
    pub(super) fn put(&self, count: usize, size: usize) {
        let mut state = self.state();
        for _ in 0..count {
            let record = RawRecord {
                sequence_number: number(state.records.len() as u64 + 1),
                partition_key: "key".into(),
                data: Bytes::from(vec![0; size]),
                approximate_arrival: self.clock.wall(),
            };
            state.records.push(record);
        }
    }

    async fn fault(&self) -> Option<Fault> {
        self.clock.sleep(LATENCY / 2).await;
        self.state().reads.pop_front()
    }
}

#[async_trait]
impl KinesisApi for Fake {
    async fn describe_stream(&self, _: &StreamAddress) -> Result<Stream, ApiError> {
        self.clock.sleep(LATENCY).await;
        Ok(self.state().stream.clone())
    }

    async fn list_shards(&self, _: &Stream, _: ShardFilter) -> Result<Vec<Shard>, ApiError> {
        self.clock.sleep(LATENCY).await;
        let state = self.state();
        let parent = Shard {
            id: shard(0),
            parents: Vec::new(),
            hash_range: HashRange::WHOLE,
            starting_sequence_number: number(0),
            ending_sequence_number: state.closed.then(|| number(u64::MAX)),
        };
        let children = children().into_iter().map(|child| Shard {
            id: child.id,
            parents: child.parents,
            hash_range: child.hash_range,
            starting_sequence_number: number(u64::MAX),
            ending_sequence_number: None,
        });
        let mut shards: Vec<Shard> = state.listed.then_some(parent).into_iter().collect();
        shards.extend(children.filter(|_| state.closed));
        Ok(shards)
    }

    async fn shard_iterator(
        &self,
        _: &Stream,
        _: &ShardId,
        from: &StartingPosition,
    ) -> Result<ShardIterator, ApiError> {
        let fault = self.fault().await;
        let next = {
            let state = self.state();
            let first = |wanted: &dyn Fn(&RawRecord) -> bool| {
                let found = state.records.iter().position(wanted);
                found.unwrap_or(state.records.len()) as u64 + 1
            };
            match from {
                StartingPosition::TrimHorizon => state.trimmed.max(1),
                StartingPosition::Latest => state.records.len() as u64 + 1,
                StartingPosition::AtTimestamp(time) => {
                    first(&|record| record.approximate_arrival >= *time)
                }
                StartingPosition::AtSequenceNumber(number) => {
                    first(&|record| record.sequence_number >= *number)
                }
                StartingPosition::AfterSequenceNumber(number) => {
                    first(&|record| record.sequence_number > *number)
                }
            }
        };
        let is_sequence = matches!(
            from,
            StartingPosition::AtSequenceNumber(_) | StartingPosition::AfterSequenceNumber(_)
        );
        let refused = is_sequence && next < self.state().trimmed;
        let iterator = self.iterator(next);
        self.clock.sleep(LATENCY / 2).await;
        match fault {
            Some(Fault::Fail(kind)) => Err(error(kind)),
            Some(Fault::FalseEnd) | None if refused => Err(error(ApiErrorKind::InvalidArgument)),
            Some(Fault::FalseEnd) | None => Ok(iterator),
        }
    }

    async fn get_records(
        &self,
        _: &Stream,
        iterator: &ShardIterator,
        limit: u32,
    ) -> Result<RecordsPage, ApiError> {
        self.state().calls.push(self.clock.now());
        let fault = self.fault().await;
        let (next, issued) = iterator.0.split_once('@').unwrap();
        let issued = SystemTime::UNIX_EPOCH + Duration::from_millis(issued.parse().unwrap());
        let age = self.clock.wall().duration_since(issued).unwrap();
        let begin = next.parse::<usize>().unwrap() - 1;
        let page = {
            let state = self.state();
            let end = state.records.len().min(begin + limit as usize);
            let ends = state.closed && end == state.records.len();
            RecordsPage {
                records: state.records[begin..end].to_vec(),
                next: (!ends).then(|| self.iterator(end as u64 + 1)),
                behind: Duration::from_millis((state.records.len() - end) as u64),
                children: if ends && state.names_children { children() } else { Vec::new() },
            }
        };
        self.clock.sleep(LATENCY / 2).await;
        match fault {
            Some(Fault::Fail(kind)) => Err(error(kind)),
            Some(Fault::FalseEnd) => Ok(RecordsPage { records: Vec::new(), next: None, ..page }),
            None if age > ITERATOR_LIFE => Err(error(ApiErrorKind::ExpiredIterator)),
            None => Ok(page),
        }
    }
}

impl Fake {
    fn iterator(&self, next: u64) -> ShardIterator {
        let now = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH);
        ShardIterator(format!("{next}@{}", now.unwrap().as_millis()))
    }
}

pub(super) fn number(value: u64) -> SequenceNumber {
    value.to_string().parse().unwrap()
}

pub(super) fn shard(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}")).unwrap()
}

/// A stream called `orders`; another `created` is another stream.
pub(super) fn stream(created: u64) -> Stream {
    Stream {
        id: format!("123456789012:orders:{created}").parse().unwrap(),
        address: "orders".parse().unwrap(),
    }
}

pub(super) fn children() -> Vec<ChildShard> {
    let middle = u128::MAX / 2;
    [(1, 0, middle), (2, middle + 1, u128::MAX)]
        .map(|(id, start, end)| ChildShard {
            id: shard(id),
            parents: vec![shard(0)],
            hash_range: HashRange::new(start, end).unwrap(),
        })
        .into()
}

fn error(kind: ApiErrorKind) -> ApiError {
    ApiError::new("Fake", kind, "asked for")
}
