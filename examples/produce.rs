//! Puts records into a stream: generated ones, or the lines of standard input.
//!
//! ```text
//! produce --stream orders                          100 generated records a second, until ctrl-c
//! produce --stream orders --count 10000 --rate 0   10,000 records as fast as the stream takes them
//! produce --stream orders < lines.txt              a record for each line
//! ```
//!
//! A generated payload is `KEY:NUMBER:xxx…`, numbered from 0 for each key, so that a consumer can prove that nothing is lost
//! and that each key is in order. No record of a key is sent before the one ahead of it is in the stream.
//!
//! Exit code: 0 everything was put, 1 not everything, 2 it could not start.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for people prints what it does"
)]
#![expect(clippy::disallowed_methods, reason = "a program owns its clock and its tasks")]

#[path = "support/aws.rs"]
mod aws;
#[path = "support/ordered_puts.rs"]
mod ordered_puts;
#[path = "support/payloads.rs"]
mod payloads;
#[path = "support/progress.rs"]
mod progress;
#[path = "support/stop.rs"]
mod stop;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use clap::Parser;
use kcl_core::{Backoff, StreamAddress};
use ordered_puts::OrderedPuts;
use payloads::{Next, Payloads};
use progress::Progress;
use tokio_util::sync::CancellationToken;

/// Put records into a Kinesis stream: generated ones, or the lines of standard input.
///
/// Records of one key stay in order, and refused ones are put again. Region and credentials come from the environment, the
/// profile or the host, as in every AWS program. Exit code: 0 everything was put, 1 not everything, 2 it could not start.
#[derive(Debug, Parser)]
#[command(name = "produce", version)]
struct Arguments {
    /// The stream, by name or ARN
    #[arg(long, value_name = "NAME|ARN")]
    stream: StreamAddress,

    /// Call Kinesis at this address, such as http://127.0.0.1:4567 [default: AWS]
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,

    /// Records a second; 0 is as many as the stream takes [default: 100 generated ones, all lines]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,

    /// Size of a generated payload in bytes; at least as long as KEY:NUMBER:
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    size: usize,

    /// Generate this many records, then end [default: until ctrl-c, or the end of standard input]
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Partition keys, used in turn. Also the most entries of one request, since a key has one at a time
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,

    /// Pack this many records of a key into one Kinesis record, as the Kinesis Producer Library does; fewer if 1 MiB is full
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    aggregate: u32,
}

/// After this many failed requests in a row it gives up.
const MAX_FAILURES: u32 = 10;

/// How often it looks for records that are due.
const TICK: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> ExitCode {
    match produce(Arguments::parse()).await {
        Ok(all) => ExitCode::from(u8::from(!all)),
        Err(message) => {
            eprintln!("produce: {message}");
            ExitCode::from(2)
        }
    }
}

/// Says whether everything was put.
async fn produce(arguments: Arguments) -> Result<bool, String> {
    let aws = aws::configuration(arguments.endpoint_url.as_deref()).await?;
    let client = Client::new(&aws);
    check(&client, &arguments.stream)
        .await
        .map_err(|reason| format!("{reason}\n({})", aws::place(&aws)))?;

    let from_stdin = arguments.count.is_none() && !io::stdin().is_terminal();
    let (keys, aggregate) = (arguments.keys, arguments.aggregate);
    let payloads = if from_stdin {
        Payloads::lines(keys, aggregate)
    } else {
        let count = arguments.count.unwrap_or(u64::MAX);
        Payloads::generated(count, arguments.size, keys, aggregate)
    };
    let rate = arguments.rate.unwrap_or(if from_stdin { 0 } else { 100 });
    let mut run = Run {
        payloads,
        rate,
        begin: Instant::now(),
        taken: 0,
        puts: OrderedPuts::new(client, arguments.stream),
        progress: Progress::new(arguments.count),
        stop: stop::on_signal(),
    };
    let outcome = run.run().await;
    run.progress.finish();
    if let Err(reason) = &outcome {
        eprintln!("produce: gave up: {reason}");
    }
    println!("{}", run.progress.account());
    Ok(outcome.is_ok())
}

/// A stream that cannot be found is a mistake to be told before anything is read.
async fn check(client: &Client, stream: &StreamAddress) -> Result<(), String> {
    let describe = client.describe_stream_summary();
    let describe = match stream {
        StreamAddress::Name(name) => describe.stream_name(name.as_str()),
        StreamAddress::Arn(arn) => describe.stream_arn(&**arn),
    };
    match describe.send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot describe stream {stream}: {}", aws::chain(&error))),
    }
}

struct Run {
    payloads: Payloads,
    /// Records a second; 0 is no limit.
    rate: u32,
    begin: Instant,
    /// Records that were taken from `payloads`.
    taken: u64,
    puts: OrderedPuts,
    progress: Progress,
    stop: CancellationToken,
}

impl Run {
    /// Until everything is in the stream. Once it is told to stop, it takes no more, and puts what it has.
    async fn run(&mut self) -> Result<(), String> {
        let mut rng = fastrand::Rng::new();
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let mut failures = 0;
        loop {
            let ended = self.take().map_err(|error| format!("standard input: {error}"))?;
            if self.puts.is_empty() {
                if ended {
                    return Ok(());
                }
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => {}
                    () = tokio::time::sleep(TICK) => {}
                }
                continue;
            }
            match self.puts.send().await {
                Ok(sent) => {
                    self.progress.add(sent);
                    failures = 0;
                    if sent.refused == 0 {
                        continue;
                    }
                }
                Err(error) => {
                    failures += 1;
                    let reason = aws::chain(&error);
                    if failures == MAX_FAILURES {
                        return Err(reason);
                    }
                    self.progress.say(&format!("trying again: {reason}"));
                }
            }
            tokio::time::sleep(backoff.delay(failures, &mut rng)).await;
        }
    }

    /// Takes what is due and fits into a request; says whether that was all.
    fn take(&mut self) -> io::Result<bool> {
        let due = match self.rate {
            0 => u64::MAX,
            rate => (self.begin.elapsed().as_secs_f64() * f64::from(rate)) as u64,
        };
        while !self.stop.is_cancelled() {
            if self.taken >= due || self.puts.is_full() {
                return Ok(false);
            }
            match self.payloads.next()? {
                Next::Some(put) => {
                    self.taken += put.user_records;
                    self.puts.push(put);
                }
                Next::NotYet => return Ok(false),
                Next::End => return Ok(true),
            }
        }
        Ok(true)
    }
}
