//! The measured clients. Each runs in a process of its own and prints one line of JSON.
//!
//! CPU time is that of the whole process, from its start: each makes its SDK clients, and with them reads the root certificates.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_kinesis::types::ShardIteratorType;
use kcl_core::metrics::{self, Metric, Metrics};
use kcl_core::retrieval::{Polling, RecordSource};
use kcl_core::{
    Batch, RecordProcessor, ShardContext, ShardId, StartFrom, StreamId, Worker, WorkerEvent,
};
use kcl_fanout::FanOut;
use kcl_lease::DynamoLeases;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::serve::STREAM;
use crate::{Failure, fan_out, process};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    kind: Kind,
    /// Where the emulator listens
    #[arg(long)]
    endpoint: String,
    /// Records to read
    #[arg(long, default_value_t = 0)]
    records: u64,
    /// The application's name
    #[arg(long, default_value = "bench-app")]
    application: String,
    /// Shards to wait for
    #[arg(long, default_value_t = 0)]
    shards: u64,
    /// Records that the bare loop asks for at once
    #[arg(long, default_value_t = 10_000)]
    limit: i32,
    /// The bare fan-out loop hands its events to another task
    #[arg(long)]
    ahead: bool,
    /// Handling waits so many milliseconds for each batch or event; for 0, it yields
    #[arg(long)]
    awaits: Option<u64>,
    /// Seconds to run
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The byte budget
    #[arg(long, default_value_t = 256 * 1024 * 1024)]
    budget: usize,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    Bare,
    BareFanOut,
    Framework,
    FanOut,
    Base,
    Idle,
    Slow,
}

impl Arguments {
    fn wait(&self) -> fan_out::Wait {
        fan_out::Wait { millis: self.awaits }
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = config(&arguments.endpoint).await;
    let report = match arguments.kind {
        Kind::Bare => bare(&config, &arguments).await?,
        Kind::BareFanOut => bare_fan_out(&config, &arguments).await?,
        Kind::Framework => framework(&config, &arguments, Polling::new(&config).unpaced()).await?,
        Kind::FanOut => {
            let source = FanOut::new(&config).consumer(&arguments.application);
            let report = framework(&config, &arguments, source.clone()).await?;
            source.deregister(STREAM).await?;
            report
        }
        Kind::Base => base(&config).await?,
        Kind::Idle => idle(&config, &arguments).await?,
        Kind::Slow => slow(&config, &arguments).await?,
    };
    println!("{report}");
    Ok(())
}

/// What reaches an emulator.
pub(crate) async fn config(endpoint: &str) -> SdkConfig {
    let credentials = aws_credential_types::Credentials::from_keys("bench", "bench", None);
    aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(credentials)
        .load()
        .await
}

/// The same by subscriptions.
async fn bare_fan_out(
    config: &SdkConfig,
    arguments: &Arguments,
) -> Result<serde_json::Value, Failure> {
    let client = aws_sdk_kinesis::Client::new(config);
    let name = format!("bare-{}", arguments.application);
    let consumer = fan_out::register(&client, STREAM, &name).await?;
    let (read, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (stop, records) = (CancellationToken::new(), arguments.records);
    let (count, sum, done) = (read.clone(), bytes.clone(), stop.clone());
    let take: fan_out::Take = Arc::new(move |page| {
        for record in page {
            sum.fetch_add(record.data().as_ref().len() as u64, Ordering::Relaxed);
        }
        let total = count.fetch_add(page.len() as u64, Ordering::Relaxed) + page.len() as u64;
        if total >= records {
            done.cancel();
        }
    });
    let from = ShardIteratorType::TrimHorizon;
    let handling = fan_out::Handling { ahead: arguments.ahead, wait: arguments.wait() };
    fan_out::read(&client, STREAM, &consumer, from, take, handling, stop).await?;
    let cpu_seconds = process::cpu_seconds()?;
    assert_eq!(read.load(Ordering::Relaxed), records, "the bare loop missed records");
    // A stream has room for 20 consumers, and there may be more rounds.
    client.deregister_stream_consumer().consumer_arn(consumer).send().await?;
    Ok(json!({ "cpu_seconds": cpu_seconds, "bytes": bytes.load(Ordering::Relaxed) }))
}

/// A GetRecords loop as one would write it by hand: a task for each shard, nothing else.
async fn bare(config: &SdkConfig, arguments: &Arguments) -> Result<serde_json::Value, Failure> {
    let (records, limit) = (arguments.records, arguments.limit);
    let client = aws_sdk_kinesis::Client::new(config);
    let shards = client.list_shards().stream_name(STREAM).send().await?;
    let read = Arc::new(AtomicU64::new(0));
    let bytes = Arc::new(AtomicU64::new(0));
    let mut loops = tokio::task::JoinSet::new();
    for shard in shards.shards() {
        let (client, read, bytes) = (client.clone(), read.clone(), bytes.clone());
        let shard = shard.shard_id().to_owned();
        loops.spawn(async move {
            let open = client.get_shard_iterator().stream_name(STREAM).shard_id(shard);
            let open = open.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
            let mut iterator = open.shard_iterator;
            while let Some(token) = iterator.take() {
                let page = client.get_records().shard_iterator(token).limit(limit).send().await?;
                for record in page.records() {
                    bytes.fetch_add(record.data().as_ref().len() as u64, Ordering::Relaxed);
                }
                let total = read.fetch_add(page.records().len() as u64, Ordering::Relaxed);
                if total + page.records().len() as u64 >= records || page.records().is_empty() {
                    break;
                }
                iterator = page.next_shard_iterator;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    assert_eq!(read.load(Ordering::Relaxed), records, "the bare loop missed records");
    Ok(json!({
        "cpu_seconds": process::cpu_seconds()?,
        "bytes": bytes.load(Ordering::Relaxed),
    }))
}

/// Counts, and stops the worker when everything is there.
#[derive(Clone)]
struct Counter {
    read: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    records: u64,
    wait: fan_out::Wait,
    stop: CancellationToken,
}

impl RecordProcessor for Counter {
    type Error = std::convert::Infallible;

    async fn process_records(
        &mut self,
        batch: Batch,
        _: &mut ShardContext,
    ) -> Result<(), Self::Error> {
        self.wait.over().await;
        for record in &batch {
            self.bytes.fetch_add(record.data().len() as u64, Ordering::Relaxed);
        }
        let total = self.read.fetch_add(batch.len() as u64, Ordering::Relaxed) + batch.len() as u64;
        if total >= self.records {
            self.stop.cancel();
        }
        Ok(())
    }
}

/// The same records through the whole framework: lease table, reads, checkpoints, graceful stop.
async fn framework(
    config: &SdkConfig,
    arguments: &Arguments,
    source: impl RecordSource,
) -> Result<serde_json::Value, Failure> {
    let counter = Counter {
        read: Arc::default(),
        bytes: Arc::default(),
        records: arguments.records,
        wait: arguments.wait(),
        stop: CancellationToken::new(),
    };
    let processor = counter.clone();
    let report = Worker::builder(&arguments.application)
        .stream(STREAM, StartFrom::TrimHorizon)
        .leases(DynamoLeases::new(config))
        .source(source)
        .processor(move |_: &ShardId| processor.clone())
        .build()?
        .run(counter.stop.clone().cancelled_owned())
        .await?;
    assert!(report.is_clean(), "the worker did not stop cleanly: {report:?}");
    assert_eq!(
        counter.read.load(Ordering::Relaxed),
        arguments.records,
        "the framework missed records"
    );
    Ok(json!({
        "cpu_seconds": process::cpu_seconds()?,
        "bytes": counter.bytes.load(Ordering::Relaxed),
    }))
}

/// A process that has made its clients and one call with each.
async fn base(config: &SdkConfig) -> Result<serde_json::Value, Failure> {
    aws_sdk_kinesis::Client::new(config).list_streams().send().await?;
    aws_sdk_dynamodb::Client::new(config).list_tables().send().await?;
    Ok(json!({ "rss_bytes": process::memory()?.0 }))
}

async fn idle(config: &SdkConfig, arguments: &Arguments) -> Result<serde_json::Value, Failure> {
    let (granted, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
    let count = granted.clone();
    let worker = Worker::builder(&arguments.application)
        .stream(STREAM, StartFrom::TrimHorizon)
        .leases(DynamoLeases::new(config))
        .source(Polling::new(config))
        .processor(|_: &ShardId| Idle)
        .observer(move |event| {
            if matches!(event, WorkerEvent::Granted { .. }) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build()?;
    let watch = async {
        while granted.load(Ordering::Relaxed) < arguments.shards {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (started, before) = (now(), process::cpu_seconds()?);
        tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
        let cpu = (process::cpu_seconds()? - before) / started.elapsed().as_secs_f64();
        let rss = process::memory()?.0;
        stop.cancel();
        Ok::<_, Failure>(json!({ "rss_bytes": rss, "cpu_percent": cpu * 100.0 }))
    };
    let (report, watched) = tokio::join!(worker.run(stop.clone().cancelled_owned()), watch);
    report?;
    watched
}

struct Idle;

impl RecordProcessor for Idle {
    type Error = std::convert::Infallible;

    async fn process_records(&mut self, _: Batch, _: &mut ShardContext) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Holds every batch for two seconds.
struct Slow;

impl RecordProcessor for Slow {
    type Error = std::convert::Infallible;

    async fn process_records(
        &mut self,
        batch: Batch,
        _: &mut ShardContext,
    ) -> Result<(), Self::Error> {
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(batch);
        Ok(())
    }
}

/// Keeps the largest figure of each metric.
#[derive(Debug, Clone, Default)]
struct Peaks(Arc<Mutex<BTreeMap<&'static str, f64>>>);

impl Metrics for Peaks {
    fn record(&self, metric: Metric, _: Option<(&StreamId, &ShardId)>, value: f64) {
        if let Ok(mut peaks) = self.0.lock() {
            let peak = peaks.entry(metric.name).or_default();
            *peak = peak.max(value);
        }
    }
}

async fn slow(config: &SdkConfig, arguments: &Arguments) -> Result<serde_json::Value, Failure> {
    let peaks = Peaks::default();
    Worker::builder(&arguments.application)
        .stream(STREAM, StartFrom::TrimHorizon)
        .leases(DynamoLeases::new(config))
        .source(Polling::new(config).unpaced())
        .processor(|_: &ShardId| Slow)
        .memory_budget(arguments.budget)
        .metrics(peaks.clone())
        .build()?
        .run(tokio::time::sleep(Duration::from_secs(arguments.seconds)))
        .await?;
    let held =
        peaks.0.lock().map_err(|_| "poisoned")?.get(metrics::BUDGET_BYTES_USED.name).copied();
    let peak = process::memory()?.1;
    Ok(json!({ "peak_bytes": peak, "held_bytes": held.ok_or("no budget figure")? as u64 }))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}
