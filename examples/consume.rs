//! Reads a stream to standard output, together with every other process that runs under the same `--app`.
//!
//! ```text
//! consume --stream orders --app orders-app            a line per batch, for people
//! consume --stream orders --app orders-app --json     a line per record, for programs
//! consume --stream orders --app orders-app --fan-out  by enhanced fan-out, as the consumer `orders-app`
//! consume --stream orders --app orders-app --auto     polls, and turns to fan-out for the shards that need it
//! ```
//!
//! Logs go to standard error; `RUST_LOG` sets how much. ctrl-c and SIGTERM stop in order: what was written is checkpointed,
//! the leases are free, and the next process goes on with the next record. So does a reader that closes the pipe.
//!
//! Exit code: 0 all was drained; 1 not all, some records will be written again; 2 it could not start or could not go on.
#![expect(clippy::print_stderr, reason = "a program says on standard error why it cannot work")]
#![expect(clippy::disallowed_methods, reason = "a program owns its threads and its tasks")]

#[path = "support/aws.rs"]
mod aws;
#[path = "support/lines.rs"]
mod lines;
#[path = "support/stop.rs"]
mod stop;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use kcl_core::retrieval::{Polling, RecordSource};
use kcl_core::{
    ApplicationName, Batch, RecordProcessor, ShardContext, ShardId, ShutdownReport, StartFrom,
    StreamAddress, Worker, WorkerId,
};
use kcl_fanout::{Auto, FanOut};
use kcl_lease::DynamoLeases;
use lines::Lines;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Read a Kinesis stream to standard output, sharing its shards with every process of the same --app.
///
/// Region and credentials come from the environment, the profile or the host, as in every AWS program. Exit code: 0 all
/// was drained, 1 some records will be written again, 2 it could not start or go on.
#[derive(Debug, Parser)]
#[command(name = "consume", version)]
struct Arguments {
    /// The stream, by name or ARN
    #[arg(long, value_name = "NAME|ARN")]
    stream: StreamAddress,

    /// The application: processes of one name share the stream. Also the name of its DynamoDB table, created if missing
    #[arg(long, value_name = "NAME")]
    app: ApplicationName,

    /// The name by which this process owns leases. One that stays lets a restarted process take up its shards at once; two
    /// live processes must never share one [default: host name, process id and a random number]
    #[arg(long, value_name = "ID")]
    worker_id: Option<WorkerId>,

    /// Where a new application begins: trim-horizon is the oldest record, latest is after the newest, or a time such as
    /// 2026-11-21T08:00:00Z. An application that has checkpoints goes on from there
    #[arg(long, value_name = "trim-horizon|latest|RFC3339", default_value = "trim-horizon")]
    start: Start,

    /// Call Kinesis and DynamoDB at this address, such as http://127.0.0.1:4567 [default: AWS]
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,

    /// How long a silent process keeps its leases before others take them, 1s to 1h; the same in all processes
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = failover)]
    failover: Duration,

    /// Write a line of JSON for each record: stream, shard, sequence_number, sub_sequence_number, partition_key, data_base64,
    /// arrival_ms and delivered_ms (Unix time), worker. A batch counts as done when all its lines have been written
    #[arg(long)]
    json: bool,

    /// Read by enhanced fan-out: as the registered consumer of this name or ARN, or as the one named like --app. By name it is
    /// registered if missing, and stays so: AWS bills it by the hour
    #[arg(long, value_name = "NAME|ARN", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    fan_out: Option<String>,

    /// Poll, and read by enhanced fan-out the shards that fall behind or that other consumers poll too
    #[arg(long)]
    auto: bool,
}

/// `--start`.
#[derive(Debug, Clone, Copy)]
struct Start(StartFrom);

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "trim-horizon" => Ok(Self(StartFrom::TrimHorizon)),
            "latest" => Ok(Self(StartFrom::Latest)),
            time => match time.parse::<Timestamp>() {
                Ok(time) => Ok(Self(StartFrom::Timestamp(time.into()))),
                Err(error) => {
                    Err(format!("expected trim-horizon, latest or a time with its offset: {error}"))
                }
            },
        }
    }
}

/// `--failover`: `10s`, `1500ms`, `1m30s`.
fn failover(text: &str) -> Result<Duration, String> {
    let span: SignedDuration =
        text.parse().map_err(|_| "expected a duration such as 10s or 1500ms")?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3600);
    let span = Duration::try_from(span).ok().filter(|span| allowed.contains(span));
    span.ok_or_else(|| "expected 1s to 1h".into())
}

/// Writes the records of one shard.
struct Printer {
    lines: Lines,
    json: bool,
    closed: CancellationToken,
}

impl RecordProcessor for Printer {
    type Error = io::Error;

    async fn process_records(&mut self, batch: Batch, shard: &mut ShardContext) -> io::Result<()> {
        let text = if self.json { json(&batch, shard)? } else { summary(&batch, shard) };
        let written = self.lines.write(text).await;
        if written.is_err() {
            self.closed.cancel(); // nothing can be written any more, so there is nothing left to do
        }
        written
    }
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    stream: &'a str,
    shard: &'a str,
    sequence_number: &'a str,
    sub_sequence_number: u64,
    partition_key: &'a str,
    data_base64: String,
    arrival_ms: u128,
    delivered_ms: i64,
    worker: &'a str,
}

fn json(batch: &Batch, shard: &ShardContext) -> io::Result<Vec<u8>> {
    let delivered_ms = Timestamp::now().as_millisecond();
    let mut text = Vec::with_capacity(batch.payload_bytes() * 4 / 3 + batch.len() * 320);
    for record in batch {
        let line = Line {
            stream: shard.stream_id().name().as_str(),
            shard: shard.shard_id().as_str(),
            sequence_number: record.sequence_number().as_str(),
            sub_sequence_number: record.sub_sequence_number(),
            partition_key: record.partition_key(),
            data_base64: STANDARD.encode(record.data()),
            arrival_ms: since_epoch(record.approximate_arrival()).as_millis(),
            delivered_ms,
            worker: shard.worker_id().as_str(),
        };
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    Ok(text)
}

fn summary(batch: &Batch, shard: &ShardContext) -> Vec<u8> {
    let now = Timestamp::now().strftime("%H:%M:%S%.3fZ");
    let (stream, shard) = (shard.stream_id().name(), shard.shard_id());
    let (records, bytes) = (batch.len(), batch.payload_bytes());
    let behind = batch.behind_latest().as_millis();
    let line =
        format!("{now} {stream}/{shard} {records:6} records {bytes:9} bytes, {behind} ms behind\n");
    line.into_bytes()
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| {
            "warn,aws_config=error,consume=info,kcl_core=info,kcl_fanout=info,kcl_lease=info".into()
        }))
        .init();
    match consume(arguments).await {
        Ok(report) => {
            report.log();
            ExitCode::from(u8::from(!report.is_clean()))
        }
        Err(message) => {
            eprintln!("consume: {message}");
            ExitCode::from(2)
        }
    }
}

fn source(arguments: &Arguments, aws: &SdkConfig) -> Arc<dyn RecordSource> {
    let consumer = arguments.fan_out.as_deref();
    let fan_out = match consumer {
        None | Some("") => FanOut::new(aws).consumer(arguments.app.as_str()),
        Some(arn) if arn.starts_with("arn:") => FanOut::new(aws).consumer_arn(arn),
        Some(name) => FanOut::new(aws).consumer(name),
    };
    if arguments.auto {
        Arc::new(Auto::new(Polling::new(aws), fan_out))
    } else if consumer.is_some() {
        Arc::new(fan_out)
    } else {
        Arc::new(Polling::new(aws))
    }
}

async fn consume(arguments: Arguments) -> Result<ShutdownReport, String> {
    let aws = aws::configuration(arguments.endpoint_url.as_deref()).await?;
    let place = aws::place(&aws);
    let (signal, closed) = (stop::on_signal(), CancellationToken::new());
    let (lines, json, stop) = (Lines::to_stdout(), arguments.json, closed.clone());
    let mut builder = Worker::builder(arguments.app.as_str())
        .stream(arguments.stream.to_string(), arguments.start.0)
        .leases(DynamoLeases::new(&aws))
        .source(source(&arguments, &aws))
        .processor(move |_shard: &ShardId| Printer {
            lines: lines.clone(),
            json,
            closed: stop.clone(),
        })
        .lease_duration(arguments.failover);
    if let Some(id) = arguments.worker_id {
        builder = builder.worker_id(id);
    }
    let worker = builder.build().map_err(|error| aws::chain(&error))?;
    let stopped = async {
        tokio::select! {
            biased;
            () = signal.cancelled() => {}
            () = closed.cancelled() => tracing::info!("standard output is closed"),
        }
    };
    let run = worker.run(stopped).await;
    run.map_err(|error| {
        let (stream, table) = (&arguments.stream, &arguments.app);
        format!("{}\n(stream {stream}, lease table {table}, {place})", aws::chain(&error))
    })
}
