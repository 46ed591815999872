//! An emulator with one stream, and what tests do with it.

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
    ByteBudget, Fetched, HealthReport, MAX_REPLY_BYTES, OpenShard, Polling, ReadError,
    RecordSource, ShardReader,
};
use kcl_core::{ChildShard, Clock, ShardId, StartingPosition, Stream, StreamId, Tasks};
use kcl_emulator::{Emulator, Fault, Limits, Rule};

pub(crate) const STREAM: &str = "orders";

/// Sums of all figures.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<BTreeMap<Metric, f64>>);

impl Metrics for Figures {
    fn record(&self, metric: Metric, _: Option<(&StreamId, &ShardId)>, value: f64) {
        *self.0.lock().unwrap().entry(metric).or_default() += value;
    }
}

/// An emulator with one stream, and what reads it.
pub(crate) struct Bench {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) stream: Stream,
    pub(crate) budget: ByteBudget,
    pub(crate) figures: Arc<Figures>,
}

impl Bench {
    /// A stream of so many shards.
    pub(crate) async fn new(shards: i32) -> Self {
        Self::with(shards, Limits::aws()).await
    }

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

    pub(crate) fn polling(&self) -> Polling {
        Polling::new(&self.emulator.sdk_config())
    }

    pub(crate) fn open(&self, shard: usize, from: StartingPosition) -> Box<dyn ShardReader> {
        self.open_by(&self.polling(), &shard_id(shard), from)
    }

    pub(crate) fn open_by(
        &self,
        polling: &Polling,
        shard: &ShardId,
        from: StartingPosition,
    ) -> Box<dyn ShardReader> {
        polling.open(OpenShard {
            stream: self.stream.clone(),
            shard: shard.clone(),
            from,
            budget: self.budget.clone(),
            clock: self.clock.clone(),
            rng: fastrand::Rng::with_seed(5),
            tasks: Tasks::new(),
            metrics: ShardMetrics::new(self.figures.clone(), self.stream.id.clone(), shard.clone()),
            health: HealthReport::default(),
        })
    }

    /// Puts records whose payloads are these numbers, followed by `padding` zeros.
    pub(crate) async fn put(&self, numbers: Range<usize>, padding: usize) {
        for number in numbers {
            let mut data = format!("{number}:").into_bytes();
            data.resize(data.len() + padding, b'0');
            let entry = PutRecordsRequestEntry::builder()
                .partition_key(number.to_string())
                .data(Blob::new(data))
                .build()
                .unwrap();
            let put = self.client.put_records().stream_name(STREAM).records(entry);
            assert_eq!(put.send().await.unwrap().failed_record_count(), Some(0));
        }
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

    /// Reads a shard and all that follow from it; each payload's number, shard by shard.
    pub(crate) async fn read_lineage(&self, first: &[usize]) -> Vec<usize> {
        let mut numbers = Vec::new();
        let mut shards: Vec<ShardId> = first.iter().copied().map(shard_id).collect();
        let mut at = 0;
        while at < shards.len() {
            let mut reader =
                self.open_by(&self.polling(), &shards[at], StartingPosition::TrimHorizon);
            let (read, children) = read_to_end(&mut reader).await;
            numbers.extend(read);
            for child in children {
                if !shards.contains(&child.id) {
                    shards.push(child.id);
                }
            }
            at += 1;
        }
        numbers.sort_unstable();
        numbers
    }
}

pub(crate) async fn create(client: &Client, shards: i32) {
    let create = client.create_stream().stream_name(STREAM).shard_count(shards);
    create.send().await.unwrap();
}

pub(crate) fn shard_id(number: usize) -> ShardId {
    ShardId::new(format!("shardId-{number:012}")).unwrap()
}

pub(crate) fn fault(operation: &str, fault: Fault) -> Rule {
    Rule::new(fault).operation(operation)
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

/// Also an open shard counts as ended when it is silent for a minute, without children.
pub(crate) async fn read_to_end(
    reader: &mut Box<dyn ShardReader>,
) -> (Vec<usize>, Vec<ChildShard>) {
    let mut read = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(60), reader.next()).await {
            Ok(Ok(Fetched::ShardEnd { children })) => return (read, children),
            Ok(fetched) => read.extend(numbers(fetched.unwrap())),
            Err(_) => return (read, Vec::new()),
        }
    }
}

/// AWS's limits on reads and iterators, none on writes, so that a test can put much at once.
pub(crate) fn reads_only() -> Limits {
    let mut limits = Limits::aws();
    limits.writes = false;
    limits
}

pub(crate) async fn split(bench: &Bench, shard: usize) {
    let shards = bench.api().list_shards(&bench.stream, ShardFilter::AtLatest).await.unwrap();
    let range = shards.iter().find(|listed| listed.id == shard_id(shard)).unwrap().hash_range;
    let middle = range.start() + (range.end() - range.start()) / 2;
    let split = bench.client.split_shard().stream_name(STREAM);
    let split = split.shard_to_split(shard_id(shard).as_str());
    split.new_starting_hash_key(middle.to_string()).send().await.unwrap();
}
