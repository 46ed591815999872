//! The world of the quickstart: an emulated stream, a producer, and the workers as tasks.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_kinesis::Client;
use kcl_core::{RunError, ShutdownReport, Worker};
use kcl_emulator::Emulator;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::ledger::{Departure, Ledger};
use crate::ordered_puts::{OrderedPuts, Put};

const STREAM: &str = "orders";

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Where it plays.
pub(crate) struct Stage {
    aws: SdkConfig,
    kinesis: Client,
    ledger: Ledger,
    begin: Instant,
}

impl Stage {
    pub(crate) async fn new(shards: u32, ledger: Ledger) -> Result<Self, BoxError> {
        let aws = Emulator::builder().build().sdk_config();
        let kinesis = Client::new(&aws);
        let create = kinesis.create_stream().stream_name(STREAM);
        create.shard_count(i32::try_from(shards)?).send().await?;
        Ok(Self { aws, kinesis, ledger, begin: Instant::now() })
    }

    pub(crate) fn aws(&self) -> &SdkConfig {
        &self.aws
    }

    /// Waits until `second` of the play.
    pub(crate) async fn at(&self, second: u64) {
        tokio::time::sleep_until(self.begin + Duration::from_secs(second)).await;
    }

    pub(crate) async fn split(&self, shard: u32) -> Result<(), BoxError> {
        self.ledger.tell(format!("--- shard {shard} is split"));
        let id = shard_id(shard);
        let shards = self.kinesis.list_shards().stream_name(STREAM).send().await?;
        let found = shards.shards().iter().find(|s| s.shard_id() == id);
        let range = found.and_then(|s| s.hash_key_range()).ok_or("no such shard")?;
        let start: u128 = range.starting_hash_key().parse()?;
        let end: u128 = range.ending_hash_key().parse()?;
        let split = self.kinesis.split_shard().stream_name(STREAM);
        split
            .shard_to_split(id)
            .new_starting_hash_key((start + (end - start) / 2 + 1).to_string())
            .send()
            .await?;
        Ok(())
    }

    pub(crate) async fn merge(&self, shard: u32, adjacent: u32) -> Result<(), BoxError> {
        self.ledger.tell(format!("--- shards {shard} and {adjacent} are merged"));
        let merge = self.kinesis.merge_shards().stream_name(STREAM);
        merge
            .shard_to_merge(shard_id(shard))
            .adjacent_shard_to_merge(shard_id(adjacent))
            .send()
            .await?;
        Ok(())
    }

    /// Puts records at a steady rate until it is stopped.
    pub(crate) fn produce(&self, keys: usize, per_second: u32) -> Producer {
        let (client, ledger) = (self.kinesis.clone(), self.ledger.clone());
        let stop = CancellationToken::new();
        let task = tokio::spawn(produce(client, ledger, keys, per_second, stop.clone()));
        Producer { stop, task }
    }
}

fn shard_id(number: u32) -> String {
    format!("shardId-{number:012}")
}

pub(crate) struct Producer {
    stop: CancellationToken,
    task: JoinHandle<Result<(), BoxError>>,
}

impl Producer {
    /// Returns when everything that was written into the ledger is in the stream.
    pub(crate) async fn stop(self) -> Result<(), BoxError> {
        self.stop.cancel();
        self.task.await?
    }
}

async fn produce(
    client: Client,
    ledger: Ledger,
    keys: usize,
    per_second: u32,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let mut puts = OrderedPuts::new(client, STREAM.parse()?);
    let keys: Vec<String> = (0..keys).map(|n| format!("customer-{n:02}")).collect();
    let mut keys = keys.iter().cycle();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !stop.is_cancelled() {
        ticks.tick().await;
        for key in keys.by_ref().take(per_second as usize / 20) {
            if puts.is_full() {
                break; // throttled
            }
            let data = ledger.put(key).into_bytes();
            let (key, user_records) = (key.clone(), 1);
            puts.push(Put { key, data, user_records });
        }
        puts.send().await?;
    }
    while !puts.is_empty() {
        puts.send().await?;
    }
    Ok(())
}

/// The workers that live.
pub(crate) struct Crew {
    ledger: Ledger,
    workers: BTreeMap<String, Running>,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<ShutdownReport, RunError>>,
}

impl Crew {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { ledger, workers: BTreeMap::new() }
    }

    pub(crate) fn start(&mut self, id: &str, worker: Worker) {
        self.ledger.tell(format!("--- {id} starts"));
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run(stop.clone().cancelled_owned()));
        self.workers.insert(id.to_owned(), Running { stop, task });
    }

    /// Drops the worker where it stands, as a crash would.
    pub(crate) async fn kill(&mut self, id: &str) {
        if let Some(worker) = self.workers.remove(id) {
            worker.task.abort();
            self.ledger.depart(id, Departure::Killed);
            let _aborted = worker.task.await;
        }
    }

    /// Lets the worker finish what it has begun, checkpoint, and free its leases.
    pub(crate) async fn stop(&mut self, id: &str) -> Result<(), BoxError> {
        let Some(worker) = self.workers.remove(id) else {
            return Ok(());
        };
        if self.workers.is_empty() {
            self.ledger.tell(format!("--- {id}, the last one, is asked to stop"));
        } else {
            self.ledger.depart(id, Departure::Stopped);
        }
        worker.stop.cancel();
        let report = worker.task.await??;
        let ending = if report.is_clean() { "all drained" } else { "NOT ALL DRAINED" };
        let took = report.took.as_secs_f64();
        self.ledger.tell(format!("    {id} has stopped, {ending}, in {took:.2} s"));
        Ok(())
    }

    pub(crate) async fn stop_all(&mut self) -> Result<(), BoxError> {
        while let Some(id) = self.workers.keys().next().cloned() {
            self.stop(&id).await?;
        }
        Ok(())
    }
}
