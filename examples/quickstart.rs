//! The whole library in one process: no AWS, no Docker, no network, and over in half a minute.
//!
//! An emulator holds a stream of four shards, a producer puts records, and three workers share the shards. Meanwhile a shard
//! is split, two are merged, one worker dies without warning and another stops in order. At the end stands an account of
//! every record; the exit code is 1 if one was lost or came out of order.
//!
//! `-- --fan-out` reads by enhanced fan-out instead of polling: a registered consumer, and events that are pushed.
//!
//! What to copy is here: [`Orders`] and [`worker`]. Given a configuration of `aws_config`, they run on AWS as they are.
#![expect(clippy::print_stdout, reason = "a program for people prints what happens")]
#![expect(clippy::disallowed_methods, reason = "a program owns its clock and its tasks")]

#[path = "support/ledger.rs"]
mod ledger;
#[path = "support/ordered_puts.rs"]
mod ordered_puts;
#[path = "support/screen.rs"]
mod screen;
#[path = "support/stage.rs"]
mod stage;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use kcl_core::retrieval::{Polling, RecordSource};
use kcl_core::{Batch, RecordProcessor, ShardContext, ShardId, StartFrom, Worker, WorkerId};
use kcl_fanout::FanOut;
use kcl_lease::DynamoLeases;

use ledger::Ledger;
use screen::Screen;
use stage::{BoxError, Crew, Stage};

/// Processes the records of one shard. Here that means: it writes them into the ledger.
struct Orders {
    ledger: Ledger,
}

impl RecordProcessor for Orders {
    type Error = std::io::Error;

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), Self::Error> {
        for record in &batch {
            self.ledger.deliver(shard.worker_id(), shard.shard_id(), record);
        }
        Ok(()) // everything in this batch is done
    }
}

/// A worker that shares the stream with all others of the application.
fn worker(
    id: &str,
    aws: &SdkConfig,
    reading: Reading,
    ledger: &Ledger,
) -> Result<Worker, BoxError> {
    let id = WorkerId::new(id)?;
    let (name, observed, delivered) = (id.clone(), ledger.clone(), ledger.clone());
    let source: Arc<dyn RecordSource> = match reading {
        Reading::Polling => Arc::new(Polling::new(aws)),
        Reading::FanOut => Arc::new(FanOut::new(aws).consumer("quickstart")),
    };
    let worker = Worker::builder("quickstart") // also the name of the lease table
        .stream("orders", StartFrom::TrimHorizon)
        .leases(DynamoLeases::new(aws))
        .source(source)
        .processor(move |_shard: &ShardId| Orders { ledger: delivered.clone() })
        .worker_id(id)
        .lease_duration(LEASE) // 10 s by default; short, so that the takeover is soon
        .observer(move |event| observed.note(&name, event))
        .build()?;
    Ok(worker)
}

/// How records come in.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// GetRecords, shared by all applications that read the stream.
    Polling,
    /// SubscribeToShard, for this application alone.
    FanOut,
}

const LEASE: Duration = Duration::from_secs(3);
const SHARDS: u32 = 4;
const KEYS: usize = 40;
const RECORDS_PER_SECOND: u32 = 400;

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    // Silent unless asked: RUST_LOG=kcl_core=info,kcl_fanout=info,kcl_lease=info shows what the library itself says.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "error".into()),
        )
        .init();
    println!(
        "A stream of {SHARDS} shards, {RECORDS_PER_SECOND} records/s of {KEYS} customers, and 3 workers that share it.\n\
         All in this process: no AWS, no network. Shards go by their numbers; leases last {} s.\n\
         lag is the age of the oldest record that no worker has processed yet.\n",
        LEASE.as_secs()
    );
    let reading = match std::env::args().nth(1).as_deref() {
        None => Reading::Polling,
        Some("--fan-out") => Reading::FanOut,
        Some(other) => return Err(format!("expected --fan-out or nothing: {other}").into()),
    };
    let ledger = Ledger::new();
    let mut screen = Screen::new(ledger.clone());
    tokio::select! {
        biased;
        played = play(&ledger, reading) => played?,
        () = screen.run() => {}
    }
    screen.refresh();
    let account = ledger.account();
    println!("\n{account}");
    Ok(if account.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What happens, and when.
async fn play(ledger: &Ledger, reading: Reading) -> Result<(), BoxError> {
    let stage = Stage::new(SHARDS, ledger.clone()).await?;
    let producer = stage.produce(KEYS, RECORDS_PER_SECOND);
    let mut crew = Crew::new(ledger.clone());
    for id in ["ana", "bob", "cyd"] {
        crew.start(id, worker(id, stage.aws(), reading, ledger)?);
    }

    stage.at(5).await;
    stage.split(0).await?;

    stage.at(9).await;
    stage.merge(2, 3).await?;

    stage.at(13).await;
    let victim = ledger.busiest().ok_or("no worker owns a shard")?;
    crew.kill(&victim).await;

    stage.at(20).await;
    let leaver = ledger.busiest().ok_or("no worker owns a shard")?;
    crew.stop(&leaver).await?;

    stage.at(25).await;
    producer.stop().await?;
    ledger.drained(Duration::from_secs(20)).await;
    crew.stop_all().await
}

/// How to test a processor of your own: with no AWS, no emulator and no waiting.
#[cfg(test)]
mod tests {
    use kcl_testkit::Harness;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_order_is_delivered_once_and_checkpointed() {
        let ledger = Ledger::new();
        let delivered = ledger.clone();
        let mut harness = Harness::new(move |_| Orders { ledger: delivered.clone() }).await;
        let orders = ["ana", "bob", "ana"].map(|customer| (customer, ledger.put(customer)));
        let positions = harness.feed(orders).await.unwrap();
        harness.assert_checkpoint(&positions[2]);

        // The next owner of the shard begins after them.
        harness.lose_lease().await;
        harness.grant().await;
        let positions = harness.feed([("bob", ledger.put("bob"))]).await.unwrap();
        harness.assert_checkpoint(&positions[0]);

        harness.end_shard(&[1, 2]).await.unwrap();
        let account = ledger.account();
        assert!(account.is_sound(), "{account}");
        assert_eq!(harness.processed_records(), 4);
    }
}
