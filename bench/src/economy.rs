//! What the lease table costs: requests and capacity units for each lease-hour, counted at the emulator in virtual time.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_core::retrieval::Polling;
use kcl_core::{
    Batch, Checkpoint, Clock, RecordProcessor, ShardContext, StartFrom, Worker, WorkerId,
};
use kcl_emulator::{Emulator, Limits};
use kcl_lease::DynamoLeases;
use tokio_util::sync::CancellationToken;

use crate::Failure;

const STREAM: &str = "orders";
const APPLICATION: &str = "orders-app";

/// A fleet that reads a busy stream: each shard gets a record a second.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Shards of the stream
    #[arg(long, default_value_t = 64)]
    shards: u16,
    /// Workers that share them
    #[arg(long, default_value_t = 5)]
    workers: u16,
    /// Virtual minutes that are counted, after two of warming up
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Checkpoint every so many records of a shard, beside the renewals
    #[arg(long)]
    every: Option<u64>,
}

/// Units of a lease-hour.
struct Cost {
    writes: f64,
    reads: f64,
}

pub(crate) fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build()?;
    let (cost, counts) = runtime.block_on(run(arguments))?;
    println!(
        "{} leases, {} workers, a record a second on each shard, {} virtual minutes:",
        arguments.shards, arguments.workers, arguments.minutes
    );
    for (operation, count) in counts {
        println!("  {operation:<24} {count}");
    }
    println!(
        "this library, 1,000 lease-hours: {:.0} k write units, {:.0} k read units",
        cost.writes, cost.reads
    );
    println!("the Java KCL 2.x, by its constants, and the ratio of the write units:");
    for (what, seconds) in [("never checkpoints", None), ("checkpoints every 10 s", Some(10.0))]
        .into_iter()
        .chain([("checkpoints every 5 s", Some(5.0)), ("checkpoints every 3.3 s", Some(3.3))])
        .chain([("checkpoints with each batch (1.5 s)", Some(1.5))])
    {
        let java = 3_600.0 / JAVA_RENEWAL + seconds.map_or(0.0, |seconds| 3_600.0 / seconds);
        println!("  {what:<36} {java:>5.0} k  {:.2}", cost.writes / java);
    }
    println!("ours are durable with every renewal, 4 s old at the most, whatever the row.");
    Ok(())
}

async fn run(arguments: &Arguments) -> Result<(Cost, Vec<(String, u64)>), Failure> {
    let emulator = Emulator::builder().seed(1).limits(Limits::aws()).build();
    let aws = emulator.sdk_config();
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    let create = kinesis.create_stream().stream_name(STREAM);
    create.shard_count(i32::from(arguments.shards)).send().await?;
    tokio::time::sleep(Duration::from_secs(10)).await;

    let stop = CancellationToken::new();
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..arguments.workers {
        let checkpoint = arguments.every.map_or_else(Checkpoint::with_renewals, Checkpoint::every);
        let worker = Worker::builder(APPLICATION)
            .stream(STREAM, StartFrom::TrimHorizon)
            .leases(DynamoLeases::new(&aws))
            .source(Polling::new(&aws))
            .processor(|_: &_| Nothing)
            .checkpoint(checkpoint)
            .worker_id(WorkerId::new(format!("w{number}"))?)
            .clock(Clock::starting_at(emulator.clock().now()))
            .seed(number.into())
            .build()?;
        workers.spawn(worker.run(stop.clone().cancelled_owned()));
    }

    put_for(&kinesis, arguments.shards, Duration::from_secs(120)).await?;
    let before = emulator.counts();
    put_for(&kinesis, arguments.shards, Duration::from_secs(arguments.minutes * 60)).await?;
    let counts: Vec<_> = emulator
        .counts()
        .into_iter()
        .filter(|(operation, _)| operation.starts_with("dynamodb:"))
        .map(|(operation, count)| {
            let earlier = before.get(&operation).copied().unwrap_or_default();
            (operation, count - earlier)
        })
        .collect();
    let (bytes, largest) = table(&aws_sdk_dynamodb::Client::new(&aws)).await?;
    stop.cancel();
    while let Some(report) = workers.join_next().await {
        report??;
    }

    let of = |operation: &str| {
        let name = format!("dynamodb:{operation}");
        counts.iter().find(|(counted, _)| *counted == name).map_or(0.0, |(_, count)| *count as f64)
    };
    let writes = of("UpdateItem") + of("PutItem") + of("DeleteItem");
    let blocks = |bytes: usize, size: usize| bytes.div_ceil(size) as f64;
    let lease_hours = f64::from(arguments.shards) * arguments.minutes as f64 / 60.0;
    let cost = Cost {
        writes: writes * blocks(largest, 1024) / lease_hours,
        // Scans are eventually consistent, for the greatest part.
        reads: (of("Scan") * blocks(bytes, 4096) / 2.0 + of("GetItem")) / lease_hours,
    };
    Ok((cost, counts))
}

/// A record a second on each shard.
async fn put_for(
    kinesis: &aws_sdk_kinesis::Client,
    shards: u16,
    span: Duration,
) -> Result<(), Failure> {
    for _ in 0..span.as_secs() {
        let entry = |shard: u16| {
            let hash = u128::MAX / u128::from(shards) * u128::from(shard) + 1;
            let entry = PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new("x"));
            entry.explicit_hash_key(hash.to_string()).build()
        };
        let entries: Vec<_> = (0..shards).map(entry).collect::<Result<_, _>>()?;
        for some in entries.chunks(500) {
            let put = kinesis.put_records().stream_name(STREAM);
            put.set_records(Some(some.to_vec())).send().await?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// The bytes of the lease table, and of its largest item, by DynamoDB's rules.
async fn table(client: &aws_sdk_dynamodb::Client) -> Result<(usize, usize), Failure> {
    let scan = client.scan().table_name(APPLICATION).send().await?;
    let sizes: Vec<usize> = scan.items().iter().map(size).collect();
    Ok((sizes.iter().sum(), sizes.iter().copied().max().unwrap_or_default()))
}

#[expect(clippy::disallowed_methods, reason = "a sum has no order")]
fn size(item: &HashMap<String, AttributeValue>) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len() / 2 + 2,
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        _ => 1,
    };
    item.iter().map(|(name, v)| name.len() + value(v)).sum()
}

/// Seconds from one renewal to the next at the default failover time: a third of it, less 25 ms. A lease that was
/// checkpointed is renewed all the same (`DynamoDBLeaseRenewer`).
const JAVA_RENEWAL: f64 = 3.308;

struct Nothing;

impl RecordProcessor for Nothing {
    type Error = std::convert::Infallible;

    async fn process_records(&mut self, _: Batch, _: &mut ShardContext) -> Result<(), Self::Error> {
        Ok(())
    }
}
