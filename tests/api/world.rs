//! A stream, a lease table and workers, in one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_core::leasing::Leases;
use kcl_core::retrieval::{Polling, RecordSource};
use kcl_core::{
    Batch, Clock, Position, RecordProcessor, RunError, ShardContext, ShardId, ShutdownReport,
    StartFrom, Worker, WorkerBuilder, WorkerEvent, WorkerId, builder,
};
use kcl_emulator::{Emulator, Limits};
use kcl_fanout::FanOut;
use kcl_lease::DynamoLeases;
use std::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::oracle::Oracle;

pub(crate) const STREAM: &str = "orders";

pub(crate) struct World {
    pub(crate) emulator: Emulator,
    pub(crate) kinesis: Client,
    pub(crate) oracle: Oracle,
    seed: AtomicU64,
    reading: Reading,
}

/// How the workers of a world read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Polling,
    FanOut,
    /// Every other worker by fan-out.
    Mixed,
}

/// A builder to which every part was given, streams in one form or the other.
pub(crate) type Prepared<S> =
    WorkerBuilder<S, Arc<dyn Leases>, Arc<dyn RecordSource>, builder::Processor>;

/// One for single streams.
pub(crate) type Ready = Prepared<builder::Streams>;

/// A worker that runs as a task.
pub(crate) struct Running {
    pub(crate) id: WorkerId,
    events: Arc<Mutex<Vec<WorkerEvent>>>,
    stop: CancellationToken,
    task: JoinHandle<Result<ShutdownReport, RunError>>,
}

impl World {
    pub(crate) async fn new(shards: i32) -> Self {
        Self::seeded(1, shards).await
    }

    pub(crate) async fn seeded(seed: u64, shards: i32) -> Self {
        let emulator = Emulator::builder().seed(seed).limits(Limits::aws()).build();
        let kinesis = Client::new(&emulator.sdk_config());
        kinesis.create_stream().stream_name(STREAM).shard_count(shards).send().await.unwrap();
        Self {
            emulator,
            kinesis,
            oracle: Oracle::default(),
            seed: AtomicU64::new(seed),
            reading: Reading::Polling,
        }
    }

    pub(crate) fn by(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }

    pub(crate) fn reading(&self) -> Reading {
        self.reading
    }

    /// Puts `count` records under each of `keys` keys, in order.
    pub(crate) async fn put(&self, keys: u32, count: u32) {
        for _ in 0..count {
            for key in 0..keys {
                let key = format!("key-{key}");
                let data = Blob::new(self.oracle.next(&key));
                let put = self.kinesis.put_record().stream_name(STREAM);
                put.partition_key(key).data(data).send().await.unwrap();
            }
        }
    }

    /// Puts `count` records under each of `keys` keys, 500 at a time.
    pub(crate) async fn put_many(&self, keys: u32, count: u32) {
        let mut entries = Vec::new();
        for _ in 0..count {
            for key in 0..keys {
                let key = format!("key-{key}");
                let data = Blob::new(self.oracle.next(&key));
                let entry = PutRecordsRequestEntry::builder().partition_key(key).data(data);
                entries.push(entry.build().unwrap());
            }
        }
        for chunk in entries.chunks(500) {
            let put = self.kinesis.put_records().stream_name(STREAM);
            let reply = put.set_records(Some(chunk.to_vec())).send().await.unwrap();
            assert_eq!(reply.failed_record_count(), Some(0));
            tokio::time::sleep(Duration::from_millis(600)).await; // within 1,000 records a second
        }
    }

    /// Puts records that are to expire before anybody reads: the oracle does not know of them.
    pub(crate) async fn put_expiring(&self, keys: u32, count: u32) {
        for n in 0..keys * count {
            let put = self.kinesis.put_record().stream_name(STREAM);
            let put = put.partition_key(format!("key-{}", n % keys)).data(Blob::new("expired:0"));
            put.send().await.unwrap();
        }
    }

    pub(crate) async fn split(&self, shard: &str) {
        let shards = self.kinesis.list_shards().stream_name(STREAM).send().await.unwrap();
        let shard = shards.shards().iter().find(|s| s.shard_id() == shard).unwrap();
        let range = shard.hash_key_range().unwrap();
        let start: u128 = range.starting_hash_key().parse().unwrap();
        let end: u128 = range.ending_hash_key().parse().unwrap();
        let middle = (start + (end - start) / 2 + 1).to_string();
        let split = self.kinesis.split_shard().stream_name(STREAM);
        split.shard_to_split(shard.shard_id()).new_starting_hash_key(middle).send().await.unwrap();
    }

    pub(crate) async fn merge(&self, shard: &str, adjacent: &str) {
        let merge = self.kinesis.merge_shards().stream_name(STREAM);
        merge.shard_to_merge(shard).adjacent_shard_to_merge(adjacent).send().await.unwrap();
    }

    /// A worker that records what is delivered.
    pub(crate) fn start(&self, id: &str) -> Running {
        let (oracle, worker) = (self.oracle.clone(), WorkerId::new(id).unwrap());
        self.start_with(id, StartFrom::TrimHorizon, move |_| Recorder {
            oracle: oracle.clone(),
            worker: worker.clone(),
        })
    }

    pub(crate) fn start_with<P: RecordProcessor>(
        &self,
        id: &str,
        start: StartFrom,
        processor: impl Fn(&ShardId) -> P + Send + Sync + 'static,
    ) -> Running {
        self.start_set(id, start, processor, |worker| worker)
    }

    /// A worker with settings of its own.
    pub(crate) fn start_set<P: RecordProcessor>(
        &self,
        id: &str,
        start: StartFrom,
        processor: impl Fn(&ShardId) -> P + Send + Sync + 'static,
        set: impl FnOnce(Ready) -> Ready,
    ) -> Running {
        let worker = Worker::builder("orders-app").stream(STREAM, start);
        self.launch(id, set(self.prepared(id, worker, processor)))
    }

    /// Gives every part but the streams. The worker's requests are signed with its id, for rules by caller.
    pub(crate) fn prepared<S, P: RecordProcessor>(
        &self,
        id: &str,
        streams: WorkerBuilder<S, builder::Missing, builder::Missing, builder::Missing>,
        processor: impl Fn(&ShardId) -> P + Send + Sync + 'static,
    ) -> Prepared<S> {
        let aws = self.emulator.sdk_config_for(id);
        let seed = self.seed.fetch_add(1, Ordering::SeqCst);
        let by_fan_out = match self.reading {
            Reading::Polling => false,
            Reading::FanOut => true,
            Reading::Mixed => seed.is_multiple_of(2),
        };
        let source: Arc<dyn RecordSource> = match by_fan_out {
            true => Arc::new(FanOut::new(&aws).consumer("orders-app")),
            false => Arc::new(Polling::new(&aws)),
        };
        streams
            .leases(DynamoLeases::new(&aws))
            .source(source)
            .processor(processor)
            .worker_id(WorkerId::new(id).unwrap())
            .clock(Clock::starting_at(self.emulator.clock().now()))
            .seed(seed)
            .on_failure(kcl_core::FailurePolicy::attempts(4))
    }

    /// Runs a worker as a task.
    pub(crate) fn launch<S: builder::HasStreams>(&self, id: &str, worker: Prepared<S>) -> Running {
        let events: Arc<Mutex<Vec<WorkerEvent>>> = Arc::default();
        let seen = events.clone();
        let worker = worker.observer(move |event| seen.lock().unwrap().push(event.clone()));
        let worker = worker.build().unwrap();
        let stop = CancellationToken::new();
        #[expect(
            clippy::disallowed_methods,
            reason = "a worker of a test is a task that the test owns"
        )]
        let task = tokio::spawn(worker.run(stop.clone().cancelled_owned()));
        Running { id: WorkerId::new(id).unwrap(), events, stop, task }
    }
}

impl Running {
    /// Stops in order.
    pub(crate) async fn stop(self) -> ShutdownReport {
        self.stop.cancel();
        self.task.await.unwrap().unwrap()
    }

    /// Whether it has ended by itself: it gives up when it cannot join for half a minute.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Asks to stop, and does not wait.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Dies at the next await point, and leaves its leases behind.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) fn events(&self) -> Vec<WorkerEvent> {
        self.events.lock().unwrap().clone()
    }

    /// Waits until an event satisfies `matches`, for at most a minute.
    pub(crate) async fn wait_for(&self, matches: impl Fn(&WorkerEvent) -> bool) {
        for _ in 0..1200 {
            if self.events().iter().any(&matches) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("worker {}: not within a minute; events: {:?}", self.id, self.events());
    }
}

pub(crate) struct Recorder {
    pub(crate) oracle: Oracle,
    pub(crate) worker: WorkerId,
}

impl RecordProcessor for Recorder {
    type Error = std::convert::Infallible;

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), Self::Error> {
        self.oracle.deliver(&self.worker, shard.shard_id(), &batch);
        Ok(())
    }
}

/// A lease as the table shows it.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) shard: ShardId,
    pub(crate) owner: Option<String>,
    pub(crate) position: Position,
}

impl World {
    /// The lease table, read past every rule for workers.
    pub(crate) async fn leases(&self) -> Vec<Lease> {
        let dynamo = aws_sdk_dynamodb::Client::new(&self.emulator.sdk_config());
        let Ok(scan) = dynamo.scan().table_name("orders-app").consistent_read(true).send().await
        else {
            return Vec::new(); // not created yet
        };
        let text = |value: &AttributeValue| value.as_s().unwrap().clone();
        let lease = |item: &std::collections::HashMap<String, AttributeValue>| {
            let checkpoint = text(&item["checkpoint"]);
            let sub = item.get("checkpointSubSequenceNumber").map(|sub| sub.as_n().unwrap());
            let position = match &*checkpoint {
                "TRIM_HORIZON" => Position::TrimHorizon,
                "LATEST" => Position::Latest,
                "SHARD_END" => Position::ShardEnd,
                number => {
                    let sub = sub.map_or(0, |sub| sub.parse().unwrap());
                    Position::at(number.parse().unwrap(), sub)
                }
            };
            let shard = ShardId::new(text(&item["leaseKey"])).unwrap();
            Lease { shard, owner: item.get("leaseOwner").map(text), position }
        };
        scan.items().iter().map(lease).collect()
    }
}
