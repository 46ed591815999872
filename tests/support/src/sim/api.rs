//! Kinesis as one process reaches it: the emulator's state machine without a wire, and calls that go wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use kcl_core::kinesis::{
    ApiError, ApiErrorKind, KinesisApi, RecordsPage, ShardFilter, ShardIterator,
};
use kcl_core::{
    ChildShard, HashRange, RawRecord, SequenceNumber, Shard, ShardId, StartingPosition, Stream,
    StreamAddress,
};
use kcl_emulator::kinesis::{self, Code, Start};
use serde_json::{Value, json};

use super::World;
use super::gauges::Gauges;
use super::history::{FORGOTTEN, Life, What};
use super::lies::Lies;
use super::weather::Fate;

/// Kinesis as one process reaches it.
pub(crate) struct SimKinesis {
    world: Arc<World>,
    life: Life,
    gauges: Arc<Gauges>,
    /// The shards of the iterators in use.
    iterators: Mutex<BTreeMap<String, ShardId>>,
    lies: Lies,
}

impl SimKinesis {
    pub(crate) fn new(world: Arc<World>, life: Life, gauges: Arc<Gauges>) -> Self {
        Self { world, life, gauges, iterators: Mutex::default(), lies: Lies::default() }
    }

    fn iterators(&self) -> MutexGuard<'_, BTreeMap<String, ShardId>> {
        self.iterators.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way there: latency and faults. What takes effect late or twice does not matter for reads.
    async fn reach(
        &self,
        operation: &'static str,
        shard: Option<&ShardId>,
    ) -> Result<(), ApiError> {
        let World { log, weather, .. } = &*self.world;
        self.gauges.called(operation, shard);
        let fate = weather.fate(self.life, operation, log.elapsed());
        tokio::time::sleep(weather.millis(2, 40)).await;
        let (kind, word) = match fate {
            Fate::Clear => return Ok(()),
            Fate::Throttled => (ApiErrorKind::Throttled, "Kinesis throttles"),
            Fate::Before | Fate::Refused => (ApiErrorKind::Unavailable, "Kinesis fails"),
            Fate::After => (ApiErrorKind::AccessDenied, "Kinesis denies access"),
            Fate::Expired => (ApiErrorKind::AccessDenied, "Kinesis refuses the credentials"),
            Fate::HangBefore | Fate::HangAfter => {
                log.note(What::Fault(self.life, "Kinesis hangs"));
                tokio::time::sleep(Duration::from_secs(30)).await; // the adapter's own time limit
                return Err(ApiError::new(operation, ApiErrorKind::Unavailable, "simulated"));
            }
            Fate::Late(delay) => {
                log.note(What::Fault(self.life, "Kinesis is slow"));
                tokio::time::sleep(delay).await;
                return Ok(());
            }
        };
        log.note(What::Fault(self.life, word));
        Err(ApiError::new(operation, kind, "simulated"))
    }

    fn odd(&self, word: &'static str) -> bool {
        let odd = self.world.weather.odd();
        if odd {
            self.world.log.note(What::Fault(self.life, word));
        }
        odd
    }
}

#[async_trait]
impl KinesisApi for SimKinesis {
    async fn describe_stream(&self, _: &StreamAddress) -> Result<Stream, ApiError> {
        self.reach("DescribeStreamSummary", None).await?;
        Ok(self.world.stream.clone())
    }

    async fn list_shards(&self, _: &Stream, filter: ShardFilter) -> Result<Vec<Shard>, ApiError> {
        self.reach("ListShards", None).await?;
        self.world.shards(filter)
    }

    async fn shard_iterator(
        &self,
        stream: &Stream,
        shard: &ShardId,
        from: &StartingPosition,
    ) -> Result<ShardIterator, ApiError> {
        const OPERATION: &str = "GetShardIterator";
        self.world.log.on(shard, What::Reads(self.life));
        self.reach(OPERATION, Some(shard)).await?;
        if self.odd("Kinesis does not find the shard") {
            return Err(ApiError::new(OPERATION, ApiErrorKind::NotFound, "simulated"));
        }
        let number = |number: &SequenceNumber| {
            if self.world.is_forgotten(shard, number) {
                self.world.log.note(What::Fault(self.life, FORGOTTEN));
                let kind = ApiErrorKind::InvalidArgument;
                return Err(ApiError::new(OPERATION, kind, "older than the retention"));
            }
            kinesis::SequenceNumber::parse(number.as_str()).ok_or_else(|| {
                ApiError::new(OPERATION, ApiErrorKind::InvalidArgument, "not a sequence number")
            })
        };
        let start = match from {
            StartingPosition::TrimHorizon => Start::TrimHorizon,
            StartingPosition::Latest => Start::Latest,
            StartingPosition::AtTimestamp(time) => Start::AtTimestamp(*time),
            StartingPosition::AtSequenceNumber(at) => Start::AtSequenceNumber(number(at)?),
            StartingPosition::AfterSequenceNumber(at) => Start::AfterSequenceNumber(number(at)?),
        };
        let name = stream.id.name().as_str();
        let iterator = self
            .world
            .emulator
            .with_kinesis(|kinesis, now| kinesis.shard_iterator(now, name, shard.as_str(), &start));
        let iterator = iterator.map_err(|error| failed(OPERATION, &error))?;
        self.iterators().insert(iterator.clone(), shard.clone());
        Ok(ShardIterator(iterator))
    }

    async fn get_records(
        &self,
        _: &Stream,
        iterator: &ShardIterator,
        limit: u32,
    ) -> Result<RecordsPage, ApiError> {
        const OPERATION: &str = "GetRecords";
        let shard = self.iterators().get(&iterator.0).cloned();
        self.reach(OPERATION, shard.as_ref()).await?;
        let expires = || self.odd("Kinesis says the iterator has expired");
        if self.lies.expired(&iterator.0, expires) {
            return Err(ApiError::new(OPERATION, ApiErrorKind::ExpiredIterator, "simulated"));
        }
        let page = self.world.emulator.with_kinesis(|kinesis, now| {
            let page = kinesis.get_records(now, &iterator.0, limit as usize);
            page.map_err(|error| failed(OPERATION, &error)).and_then(|page| convert(&page))
        });
        let mut page = page?;
        if let (Some(shard), Some(next)) = (shard.clone(), &page.next) {
            let mut iterators = self.iterators();
            iterators.remove(&iterator.0);
            iterators.insert(next.0.clone(), shard);
        }
        // The body comes when it comes.
        tokio::time::sleep(self.world.weather.millis(1, 20)).await;
        // Also where records are left: a reply that lies about the end.
        let lie = || self.odd("Kinesis leaves out the iterator or children");
        if self.lies.false_end(shard.as_ref(), lie, || self.world.weather.coin()) {
            page.next = None;
            page.children.truncate(usize::from(page.children.len() > 1));
        }
        Ok(page)
    }
}

impl fmt::Debug for SimKinesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimKinesis({})", self.life)
    }
}

impl World {
    /// ListShards, past faults.
    pub(crate) fn shards(&self, filter: ShardFilter) -> Result<Vec<Shard>, ApiError> {
        let mut body = json!({ "StreamName": self.stream.id.name().as_str() });
        match filter {
            ShardFilter::All => {}
            ShardFilter::AtTrimHorizon => {
                body["ShardFilter"] = json!({ "Type": "AT_TRIM_HORIZON" });
            }
            ShardFilter::AtLatest => body["ShardFilter"] = json!({ "Type": "AT_LATEST" }),
            ShardFilter::AtTimestamp(time) => {
                let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                body["ShardFilter"] = json!({ "Type": "AT_TIMESTAMP", "Timestamp": seconds });
            }
        }
        let reply = self.call("ListShards", &body)?;
        let shards = reply["Shards"].as_array().map(Vec::as_slice).unwrap_or_default();
        shards.iter().map(|shard| read_shard(shard).ok_or_else(|| broken("ListShards"))).collect()
    }

    /// Any operation by its JSON, past faults.
    pub(crate) fn call(&self, operation: &'static str, body: &Value) -> Result<Value, ApiError> {
        let body = body.to_string();
        let reply = self
            .emulator
            .with_kinesis(|kinesis, now| kinesis.call(now, operation, body.as_bytes()));
        if reply.status != 200 {
            let error = reply.error.unwrap_or_default();
            return Err(ApiError::new(operation, ApiErrorKind::InvalidArgument, error));
        }
        if reply.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&reply.body).map_err(|_| broken(operation))
    }
}

fn read_shard(shard: &Value) -> Option<Shard> {
    let id = |value: &Value| value.as_str().and_then(|id| ShardId::new(id).ok());
    let number = |value: &Value| value.as_str().and_then(|number| number.parse().ok());
    let (range, numbers) = (&shard["HashKeyRange"], &shard["SequenceNumberRange"]);
    let parents = ["ParentShardId", "AdjacentParentShardId"];
    Some(Shard {
        id: id(&shard["ShardId"])?,
        parents: parents.iter().filter_map(|name| id(&shard[*name])).collect(),
        hash_range: HashRange::parse(
            range["StartingHashKey"].as_str()?,
            range["EndingHashKey"].as_str()?,
        )
        .ok()?,
        starting_sequence_number: number(&numbers["StartingSequenceNumber"])?,
        ending_sequence_number: number(&numbers["EndingSequenceNumber"]),
    })
}

fn convert(page: &kinesis::Page<'_>) -> Result<RecordsPage, ApiError> {
    let record = |record: &kinesis::Record| {
        Some(RawRecord {
            sequence_number: record.sequence_number().to_string().parse().ok()?,
            partition_key: record.partition_key().to_owned().into(),
            data: record.data().into(),
            approximate_arrival: arrival(record.arrival_millis()),
        })
    };
    let child = |child: &kinesis::ChildShard| {
        // The typed form keeps the hash keys to itself; its JSON is AWS's.
        let range = serde_json::to_value(child).ok()?["HashKeyRange"].take();
        Some(ChildShard {
            id: ShardId::new(child.shard_id()).ok()?,
            parents: child.parent_shards().iter().filter_map(|id| ShardId::new(id).ok()).collect(),
            hash_range: HashRange::parse(
                range["StartingHashKey"].as_str()?,
                range["EndingHashKey"].as_str()?,
            )
            .ok()?,
        })
    };
    let records: Option<Vec<_>> = page.records().map(record).collect();
    let children: Option<Vec<_>> = page.child_shards().iter().map(child).collect();
    Ok(RecordsPage {
        records: records.ok_or_else(|| broken("GetRecords"))?,
        next: page.next_shard_iterator().map(|next| ShardIterator(next.to_owned())),
        behind: Duration::from_millis(page.millis_behind_latest()),
        children: children.ok_or_else(|| broken("GetRecords"))?,
    })
}

fn arrival(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

fn broken(operation: &'static str) -> ApiError {
    ApiError::new(operation, ApiErrorKind::Malformed, "unreadable")
}

fn failed(operation: &'static str, error: &kinesis::Error) -> ApiError {
    let kind = match error.code() {
        Code::ExpiredIterator => ApiErrorKind::ExpiredIterator,
        Code::ExpiredNextToken => ApiErrorKind::ExpiredToken,
        Code::InvalidArgument | Code::Validation => ApiErrorKind::InvalidArgument,
        Code::LimitExceeded | Code::ProvisionedThroughputExceeded => ApiErrorKind::Throttled,
        Code::ResourceInUse => ApiErrorKind::ResourceInUse,
        Code::ResourceNotFound => ApiErrorKind::NotFound,
        _ => ApiErrorKind::Malformed,
    };
    ApiError::new(operation, kind, error.to_string())
}
