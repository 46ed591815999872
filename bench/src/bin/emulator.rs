//! How many records the emulator moves per core, so that it is never the bottleneck of another measure.
//!
//! One thread, no socket, no SDK: requests and replies are JSON bodies as a client would send and get them. Rates are
//! per second of CPU time, so that other work on the machine does not count.
#![expect(clippy::print_stdout, reason = "a program whose product is a report")]

use std::error::Error;
use std::fs;
use std::time::{Duration, SystemTime};

use clap::Parser;
use kcl_emulator::kinesis::{Entry, Start};
use kcl_emulator::{Kinesis, Limits};
use serde_json::{Value, json};

/// Measures the emulator's PutRecords, GetRecords and bulk loader in process.
#[derive(Debug, Parser)]
struct Arguments {
    /// Records in the stream; each measure moves all of them at least once
    #[arg(long, default_value_t = 200_000)]
    records: usize,

    /// Bytes of data in a record
    #[arg(long, default_value_t = 1024)]
    size: usize,

    /// Shards of the stream
    #[arg(long, default_value_t = 4)]
    shards: u32,

    /// Times that the stream is read
    #[arg(long, default_value_t = 10)]
    reads: usize,

    /// Fail unless GetRecords moves at least this many records a second
    #[arg(long)]
    require: Option<f64>,
}

const STREAM: &str = "bench";
const ENTRIES: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let data = vec![0; arguments.size];
    let keys: Vec<String> = (0..997).map(|n| format!("key-{n}")).collect();
    let entry = |n: usize| Entry {
        data: &data,
        partition_key: &keys[n % keys.len()],
        explicit_hash_key: None,
    };

    let bodies: Vec<Vec<u8>> = (0..arguments.records)
        .step_by(ENTRIES)
        .map(|first| put_body(&arguments, &keys, first))
        .collect();
    let mut kinesis = with_stream(arguments.shards)?;
    let puts = measure(|| {
        for body in &bodies {
            call(&mut kinesis, "PutRecords", body)?;
        }
        Ok(arguments.records)
    })?;
    drop(bodies);

    let mut kinesis = with_stream(arguments.shards)?;
    let loads =
        measure(|| Ok(kinesis.load(now(), STREAM, (0..arguments.records).map(entry))? as usize))?;

    let (mut bytes, mut pages) = (0, 0);
    let gets = measure(|| {
        for shard in (0..arguments.reads).flat_map(|_| 0..arguments.shards) {
            let mut iterator =
                kinesis.shard_iterator(now(), STREAM, &shard.to_string(), &Start::TrimHorizon)?;
            loop {
                let body = call(
                    &mut kinesis,
                    "GetRecords",
                    &json!({ "ShardIterator": iterator }).to_string().into_bytes(),
                )?;
                bytes += body.len();
                pages += 1;
                let tail: Tail = tail(&body)?;
                if tail.millis_behind == 0 {
                    break;
                }
                iterator = tail.next;
            }
        }
        Ok(arguments.records * arguments.reads)
    })?;

    let latest = kinesis.shard_iterator(now(), STREAM, "0", &Start::Latest)?;
    let empty_body = json!({ "ShardIterator": latest }).to_string().into_bytes();
    let empties = measure(|| {
        for _ in 0..100_000 {
            call(&mut kinesis, "GetRecords", &empty_body)?;
        }
        Ok(100_000)
    })?;

    #[expect(clippy::cast_precision_loss, reason = "sizes for people")]
    let mib = |count: f64| count * arguments.size as f64 / f64::from(1 << 20);
    println!(
        "{} records of {} bytes, {} shards, one core",
        arguments.records, arguments.size, arguments.shards
    );
    println!("PutRecords   {puts:>12.0} records/s {:>8.0} MiB/s", mib(puts));
    println!("load         {loads:>12.0} records/s {:>8.0} MiB/s", mib(loads));
    println!(
        "GetRecords   {gets:>12.0} records/s {:>8.0} MiB/s  ({pages} pages, {} bytes of JSON each)",
        mib(gets),
        bytes / pages
    );
    println!("GetRecords   {empties:>12.0} empty calls/s");
    match arguments.require {
        Some(required) if gets < required => {
            Err(format!("GetRecords is below {required} records/s").into())
        }
        _ => Ok(()),
    }
}

/// What a reader needs of a page without parsing its records.
struct Tail {
    next: String,
    millis_behind: u64,
}

fn tail(body: &[u8]) -> Result<Tail, Box<dyn Error>> {
    let start = body.len().saturating_sub(600);
    let text = String::from_utf8_lossy(&body[start..]);
    let at = text.rfind("],\"NextShardIterator\"").ok_or("a page has a next iterator")?;
    let tail: Value = serde_json::from_str(&format!("{{{}", &text[at + 2..]))?;
    let next = tail["NextShardIterator"].as_str().ok_or("an iterator is text")?.to_owned();
    Ok(Tail { next, millis_behind: tail["MillisBehindLatest"].as_u64().ok_or("lag is a number")? })
}

fn with_stream(shards: u32) -> Result<Kinesis, Box<dyn Error>> {
    let mut kinesis = Kinesis::new("000000000000", "us-east-1", Limits::none(), 1);
    let create = json!({ "StreamName": STREAM, "ShardCount": shards }).to_string();
    call(&mut kinesis, "CreateStream", create.as_bytes())?;
    Ok(kinesis)
}

fn put_body(arguments: &Arguments, keys: &[String], first: usize) -> Vec<u8> {
    let data = base64_of_zeros(arguments.size);
    let last = (first + ENTRIES).min(arguments.records);
    let record = |n: usize| json!({ "Data": data, "PartitionKey": keys[n % keys.len()] });
    let records: Vec<Value> = (first..last).map(record).collect();
    json!({ "StreamName": STREAM, "Records": records }).to_string().into_bytes()
}

fn base64_of_zeros(bytes: usize) -> String {
    "AAAA".repeat(bytes / 3) + ["", "AA==", "AAA="][bytes % 3]
}

fn call(
    kinesis: &mut Kinesis,
    operation: &str,
    body: &[u8],
) -> Result<bytes::Bytes, Box<dyn Error>> {
    let reply = kinesis.call(now(), operation, body);
    match reply.error {
        None => Ok(reply.body),
        Some(error) => Err(format!("{operation}: {error}").into()),
    }
}

/// The emulator reads no clock, so a constant will do.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// What `work` counts, per second of this thread's CPU time.
fn measure(work: impl FnOnce() -> Result<usize, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let start = cpu_time()?;
    let count = work()?;
    let spent = cpu_time()? - start;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    Ok(count as f64 / spent.as_secs_f64())
}

/// CPU time of the main thread, from Linux.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = stat.split_whitespace().next().ok_or("schedstat starts with nanoseconds")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}
