//! An emulator with one stream, and what tests of its readers do with it. Those of kcl-fanout include this file.

#![expect(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_core::kinesis::{KinesisApi, SdkKinesis, ShardFilter};
use kcl_core::metrics::{Metric, Metrics, ShardMetrics};
use kcl_core::retrieval::{
    ByteBudget, Fetched, HealthReport, MAX_REPLY_BYTES, OpenShard, ReadError, ShardReader,
};
use kcl_core::{Clock, ShardId, StartingPosition, Stream, StreamId, Tasks};
use kcl_emulator::{Emulator, Fault, Limits};

pub(crate) const STREAM: &str = "orders";

/// Sums of all figures.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<BTreeMap<Metric, f64>>);

impl Metrics for Figures {
    fn record(&self, metric: Metric, _: Option<(&StreamId, &ShardId)>, value: f64) {
        *self.0.lock().unwrap().entry(metric).or_default() += value;
    }
}

/// An emulator with one stream, and what its readers share.
pub(crate) struct OneStream {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) stream: Stream,
    pub(crate) budget: ByteBudget,
    pub(crate) figures: Arc<Figures>,
}

impl OneStream {
    /// A stream of so many shards.
    pub(crate) async fn with(shards: i32, limits: Limits) -> Self {
        let emulator = Emulator::builder().limits(limits).build();
        let client = Client::new(&emulator.sdk_config());
        create(&client, shards).await;
        let clock = Clock::starting_at(emulator.clock().now());
        let api = SdkKinesis::new(&emulator.sdk_config());
        let stream = api.describe_stream(&STREAM.parse().unwrap()).await.unwrap();
        Self {
            emulator,
            client,
            clock,
            stream,
            budget: ByteBudget::new(4 * MAX_REPLY_BYTES),
            figures: Arc::default(),
        }
    }

    pub(crate) fn api(&self) -> SdkKinesis {
        SdkKinesis::new(&self.emulator.sdk_config())
    }

    /// What a reader gets.
    pub(crate) fn open_shard(&self, shard: &ShardId, from: StartingPosition) -> OpenShard {
        OpenShard {
            stream: self.stream.clone(),
            shard: shard.clone(),
            from,
            budget: self.budget.clone(),
            clock: self.clock.clone(),
            rng: fastrand::Rng::with_seed(5),
            tasks: Tasks::new(),
            metrics: ShardMetrics::new(self.figures.clone(), self.stream.id.clone(), shard.clone()),
            health: HealthReport::default(),
        }
    }

    /// Puts records whose payloads are these numbers, followed by `padding` zeros.
    pub(crate) async fn put(&self, numbers: Range<usize>, padding: usize) {
        for number in numbers {
            let mut data = format!("{number}:").into_bytes();
            data.resize(data.len() + padding, b'0');
            self.put_data(number.to_string(), data).await;
        }
    }

    pub(crate) async fn put_data(&self, key: String, data: Vec<u8>) {
        let entry =
            PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build();
        let put = self.client.put_records().stream_name(STREAM).records(entry.unwrap());
        assert_eq!(put.send().await.unwrap().failed_record_count(), Some(0));
    }

    pub(crate) fn sum(&self, metric: Metric) -> f64 {
        self.figures.0.lock().unwrap().get(&metric).copied().unwrap_or_default()
    }

    pub(crate) fn requests(&self, operation: &str) -> u64 {
        let counts = self.emulator.counts();
        counts.get(&format!("kinesis:{operation}")).copied().unwrap_or_default()
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) async fn split(&self, shard: usize) {
        let shards = self.api().list_shards(&self.stream, ShardFilter::AtLatest).await.unwrap();
        let range = shards.iter().find(|listed| listed.id == shard_id(shard)).unwrap().hash_range;
        let middle = range.start() + (range.end() - range.start()) / 2;
        let split = self.client.split_shard().stream_name(STREAM);
        let split = split.shard_to_split(shard_id(shard).as_str());
        split.new_starting_hash_key(middle.to_string()).send().await.unwrap();
    }
}

pub(crate) async fn create(client: &Client, shards: i32) {
    let create = client.create_stream().stream_name(STREAM).shard_count(shards);
    create.send().await.unwrap();
}

pub(crate) fn shard_id(number: usize) -> ShardId {
    ShardId::new(format!("shardId-{number:012}")).unwrap()
}

pub(crate) fn custom(error: &str) -> Fault {
    Fault::Custom { status: 400, error: error.to_owned(), message: "asked for".to_owned() }
}

pub(crate) async fn next(reader: &mut Box<dyn ShardReader>) -> Result<Fetched, ReadError> {
    let hour = Duration::from_secs(3600);
    tokio::time::timeout(hour, reader.next()).await.expect("an answer within an hour")
}

pub(crate) fn numbers(fetched: Fetched) -> Vec<usize> {
    let Fetched::Records { records, .. } = fetched else {
        panic!("not records: {fetched:?}");
    };
    let number =
        |data: &[u8]| std::str::from_utf8(data).unwrap().split(':').next().unwrap().parse();
    records.iter().map(|record| number(&record.data).unwrap()).collect()
}

pub(crate) async fn read(reader: &mut Box<dyn ShardReader>, count: usize) -> Vec<usize> {
    let mut read = Vec::new();
    while read.len() < count {
        read.extend(numbers(next(reader).await.unwrap()));
    }
    read
}

/// AWS's limits, but none on writes, so that a test can put much at once.
pub(crate) fn reads_only() -> Limits {
    let mut limits = Limits::aws();
    limits.writes = false;
    limits
}
