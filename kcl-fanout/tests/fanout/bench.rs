//! An emulator with one stream, and readers of it by fan-out.

#![expect(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ConsumerStatus, PutRecordsRequestEntry};
use kcl_core::kinesis::{KinesisApi, SdkKinesis, ShardFilter};
use kcl_core::metrics::{Metric, Metrics, ShardMetrics};
use kcl_core::retrieval::{
    ByteBudget, Fetched, HealthReport, MAX_REPLY_BYTES, OpenShard, ReadError, RecordSource,
    ShardReader,
};
use kcl_core::{ChildShard, Clock, ShardId, StartingPosition, Stream, StreamId, Tasks};
use kcl_emulator::{Emulator, Fault, Limits, Rule};
use kcl_fanout::{FanOut, FanOutSource};

pub(crate) const STREAM: &str = "orders";
pub(crate) const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
pub(crate) const CONSUMER: &str = "orders-app";
pub(crate) const SUBSCRIBE: &str = "SubscribeToShard";

/// Sums of all figures.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<BTreeMap<Metric, f64>>);

impl Metrics for Figures {
    fn record(&self, metric: Metric, _: Option<(&StreamId, &ShardId)>, value: f64) {
        *self.0.lock().unwrap().entry(metric).or_default() += value;
    }
}

/// When SubscribeToShard was called, by shard.
#[derive(Debug, Clone)]
pub(crate) struct CallLog {
    clock: Clock,
    calls: Arc<Mutex<BTreeMap<String, Vec<Instant>>>>,
}

impl Intercept for CallLog {
    fn name(&self) -> &'static str {
        "CallLog"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        if target.ends_with(SUBSCRIBE) {
            let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default());
            let shard = body.split("shardId-").nth(1).unwrap_or_default();
            let shard = shard.chars().take(12).collect();
            self.calls.lock().unwrap().entry(shard).or_default().push(self.clock.now());
        }
        Ok(())
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
    pub(crate) source: FanOutSource,
    calls: CallLog,
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
        let calls = CallLog { clock: clock.clone(), calls: Arc::default() };
        let config = client.config().to_builder().interceptor(calls.clone()).build();
        let source = FanOut::from_client(Client::from_conf(config)).consumer(CONSUMER);
        Self {
            emulator,
            client,
            clock,
            stream,
            budget: ByteBudget::new(4 * MAX_REPLY_BYTES),
            figures: Arc::default(),
            source,
            calls,
        }
    }

    pub(crate) fn api(&self) -> SdkKinesis {
        SdkKinesis::new(&self.emulator.sdk_config())
    }

    /// Another process: what it knows of consumers is its own.
    pub(crate) fn other_process(&self) -> FanOutSource {
        FanOut::new(&self.emulator.sdk_config()).consumer(CONSUMER)
    }

    pub(crate) fn open(&self, shard: usize, from: StartingPosition) -> Box<dyn ShardReader> {
        self.open_by(&self.source, &shard_id(shard), from)
    }

    pub(crate) fn open_by(
        &self,
        source: &FanOutSource,
        shard: &ShardId,
        from: StartingPosition,
    ) -> Box<dyn ShardReader> {
        source.open(self.shard_by_id(shard, from))
    }

    /// What a reader gets.
    pub(crate) fn shard(&self, shard: usize, from: StartingPosition) -> OpenShard {
        self.shard_by_id(&shard_id(shard), from)
    }

    fn shard_by_id(&self, shard: &ShardId, from: StartingPosition) -> OpenShard {
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

    pub(crate) fn fault(&self, rule: Rule) {
        self.emulator.faults().add(rule);
    }

    pub(crate) fn sum(&self, metric: Metric) -> f64 {
        self.figures.0.lock().unwrap().get(&metric).copied().unwrap_or_default()
    }

    pub(crate) fn requests(&self, operation: &str) -> u64 {
        let counts = self.emulator.counts();
        counts.get(&format!("kinesis:{operation}")).copied().unwrap_or_default()
    }

    /// S17: no two calls for a shard within a second. How many there were.
    pub(crate) fn subscribe_calls(&self) -> usize {
        let calls = self.calls.calls.lock().unwrap();
        for (shard, calls) in &*calls {
            for two in calls.windows(2) {
                let apart = two[1] - two[0];
                assert!(apart > Duration::from_secs(1), "shard {shard}: {apart:?} apart");
            }
        }
        calls.values().map(Vec::len).sum()
    }

    /// How many subscriptions Kinesis has.
    pub(crate) fn live_subscriptions(&self) -> usize {
        self.emulator.with_kinesis(|kinesis, _| kinesis.subscriptions())
    }

    /// When SubscribeToShard was called, since the first call.
    pub(crate) fn call_times(&self) -> Vec<Duration> {
        let calls = self.calls.calls.lock().unwrap();
        calls.values().flat_map(|calls| calls.iter().map(|call| *call - calls[0])).collect()
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }
}

pub(crate) async fn create(client: &Client, shards: i32) {
    let create = client.create_stream().stream_name(STREAM).shard_count(shards);
    create.send().await.unwrap();
}

pub(crate) fn shard_id(number: usize) -> ShardId {
    ShardId::new(format!("shardId-{number:012}")).unwrap()
}

/// A fault of SubscribeToShard or of its stream.
pub(crate) fn fault(fault: Fault) -> Rule {
    Rule::new(fault).operation(SUBSCRIBE)
}

pub(crate) fn custom(error: &str) -> Fault {
    Fault::Custom { status: 400, error: error.to_owned(), message: "asked for".to_owned() }
}

/// An exception after so many events.
pub(crate) fn exception(events: usize, error: &str) -> Fault {
    Fault::StreamError { events, error: error.to_owned(), message: "asked for".to_owned() }
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

/// Reads until so many records came; their numbers.
pub(crate) async fn read(reader: &mut Box<dyn ShardReader>, count: usize) -> Vec<usize> {
    let mut read = Vec::new();
    while read.len() < count {
        read.extend(numbers(next(reader).await.unwrap()));
    }
    read
}

/// Nothing more comes.
pub(crate) async fn is_silent(reader: &mut Box<dyn ShardReader>, seconds: u64) -> bool {
    tokio::time::timeout(Duration::from_secs(seconds), reader.next()).await.is_err()
}

pub(crate) async fn read_to_end(
    reader: &mut Box<dyn ShardReader>,
) -> (Vec<usize>, Vec<ChildShard>) {
    let mut read = Vec::new();
    loop {
        match next(reader).await.unwrap() {
            Fetched::ShardEnd { children } => return (read, children),
            fetched => read.extend(numbers(fetched)),
        }
    }
}

/// AWS's limits on subscriptions, none on writes, so that a test can put much at once.
pub(crate) fn subscriptions_only() -> Limits {
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

pub(crate) async fn register(bench: &Bench, name: &str) -> String {
    let register = bench.client.register_stream_consumer().stream_arn(ARN).consumer_name(name);
    let arn = register.send().await.unwrap().consumer.unwrap().consumer_arn;
    bench.pass(60).await;
    arn
}

pub(crate) async fn consumers(bench: &Bench) -> Vec<ConsumerStatus> {
    let list = bench.client.list_stream_consumers().stream_arn(ARN).send().await.unwrap();
    list.consumers().iter().map(|consumer| consumer.consumer_status.clone()).collect()
}

/// What comes until `end`.
pub(crate) async fn collect_until(
    bench: &Bench,
    reader: &mut Box<dyn ShardReader>,
    end: Instant,
) -> Vec<usize> {
    let mut read = Vec::new();
    loop {
        tokio::select! {
            biased;
            fetched = reader.next() => read.extend(numbers(fetched.unwrap())),
            () = bench.clock.sleep_until(end) => return read,
        }
    }
}
