//! A stream behind an endpoint, a producer, and the files of the processes.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{HashKeyRange, ScalingType, Shard, StreamStatus};
use kcl_core::aggregation::Aggregator;
use kcl_emulator::{Emulator, Server};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::account::Deliveries;
use super::ordered_puts::{OrderedPuts, Put};
use super::process::{self, Process};

pub(crate) struct World {
    pub(crate) aws: SdkConfig,
    pub(crate) stream: String,
    kinesis: Client,
    /// Where Kinesis and DynamoDB are; `None` is AWS.
    endpoint: Option<String>,
    _server: Option<Server>,
    failover: &'static str,
    folder: TempDir,
    processes: Mutex<usize>,
    put: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl World {
    /// Behind the loopback server of an emulator of its own.
    pub(crate) async fn new(shards: i32, failover: &'static str) -> Self {
        let (aws, endpoint, server) = emulator().await;
        let world = Self::at(aws, Some(endpoint), "orders", shards, failover).await;
        Self { _server: Some(server), ..world }
    }

    /// Creates `stream` where `aws` and `endpoint` lead.
    pub(crate) async fn at(
        aws: SdkConfig,
        endpoint: Option<String>,
        stream: &str,
        shards: i32,
        failover: &'static str,
    ) -> Self {
        let kinesis = Client::new(&aws);
        let create = kinesis.create_stream().stream_name(stream);
        create.shard_count(shards).send().await.unwrap();
        let world = Self {
            aws,
            stream: stream.to_owned(),
            kinesis,
            endpoint,
            _server: None,
            failover,
            folder: tempfile::tempdir().unwrap(),
            processes: Mutex::new(0),
            put: Arc::default(),
        };
        world.active().await;
        world
    }

    /// Starts a process of `consume` on the stream; by enhanced fan-out where the environment has `KCL_FAN_OUT`.
    pub(crate) fn consume(&self, app: &str, id: &str) -> Process {
        let mut command = process::consume();
        command.args(["--json", "--stream", &self.stream, "--app", app, "--worker-id", id]);
        command.args(["--failover", self.failover]);
        if let Some(endpoint) = &self.endpoint {
            command.args(["--endpoint-url", endpoint]);
        }
        if process::by_fan_out() {
            command.arg("--fan-out");
        }
        self.start(id, command)
    }

    /// Starts a process that writes lines like those of `consume --json`.
    pub(crate) fn start(&self, id: &str, mut command: Command) -> Process {
        if self.endpoint.is_some() {
            let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, "test"));
            command.envs(keys).env("AWS_REGION", "us-east-1").env_remove("AWS_PROFILE");
        }
        let mut processes = self.processes.lock().unwrap();
        let stdout = self.folder.path().join(format!("{:04}.jsonl", *processes));
        *processes += 1;
        Process::start(id, command, &stdout)
    }

    /// Where Kinesis and DynamoDB are, unless that is AWS.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// What all processes have written.
    pub(crate) fn deliveries(&self) -> Deliveries {
        let processes = *self.processes.lock().unwrap();
        let output = |process| fs::read(self.folder.path().join(format!("{process:04}.jsonl")));
        let outputs: Vec<String> = (0..processes)
            .map(|process| String::from_utf8(output(process).unwrap()).unwrap())
            .collect();
        Deliveries::parse(&outputs)
    }

    /// Leaves the outputs and logs of the processes where they are, and says where.
    pub(crate) fn keep(&mut self) -> String {
        self.folder.disable_cleanup(true);
        format!("outputs and logs are in {}", self.folder.path().display())
    }

    pub(crate) fn put_so_far(&self) -> BTreeMap<String, u64> {
        self.put.lock().unwrap().clone()
    }

    /// Waits until everything put was delivered.
    pub(crate) async fn drained(&self) {
        let (put, begin) = (self.put_so_far(), Instant::now());
        loop {
            let account = self.deliveries().account(&put);
            if account.lost == 0 {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "not drained: {account:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Puts one record under each of `keys` keys.
    pub(crate) async fn put(&self, keys: u32) {
        let mut puts = OrderedPuts::new(self.kinesis.clone(), self.stream.parse().unwrap());
        for key in 0..keys {
            puts.push(next(&self.put, key));
        }
        while !puts.is_empty() {
            puts.send().await.unwrap();
        }
    }

    /// Puts `per_second` records a second under `keys` keys, until it is stopped.
    pub(crate) fn produce(&self, keys: u32, per_second: u32) -> Producer {
        let (client, put) = (self.kinesis.clone(), self.put.clone());
        let stream = self.stream.parse().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut puts = OrderedPuts::new(client, stream);
            let mut keys = (0..keys).cycle();
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            while !stopped.is_cancelled() {
                ticks.tick().await;
                for key in keys.by_ref().take(per_second as usize / 20) {
                    if puts.is_full() {
                        break; // throttled
                    }
                    puts.push(next(&put, key));
                }
                puts.send().await.unwrap();
            }
            while !puts.is_empty() {
                puts.send().await.unwrap();
            }
        });
        Producer { stop, task }
    }

    /// Splits one of the open shards in the middle.
    pub(crate) async fn split(&self, rng: &mut fastrand::Rng) {
        let shards = self.open_shards().await;
        let shard = &shards[rng.usize(..shards.len())];
        let (start, end) = range(shard.hash_key_range().unwrap());
        let split = self.kinesis.split_shard().stream_name(&self.stream);
        let split = split.shard_to_split(shard.shard_id());
        let middle = (start + (end - start) / 2 + 1).to_string();
        split.new_starting_hash_key(middle).send().await.unwrap();
        println!("split {}", shard.shard_id());
        self.active().await;
    }

    /// Merges two neighbours of the open shards.
    pub(crate) async fn merge(&self, rng: &mut fastrand::Rng) {
        let mut shards = self.open_shards().await;
        shards.sort_by_key(|shard| range(shard.hash_key_range().unwrap()));
        let first = rng.usize(..shards.len() - 1);
        let (left, right) = (shards[first].shard_id(), shards[first + 1].shard_id());
        let merge = self.kinesis.merge_shards().stream_name(&self.stream);
        let merge = merge.shard_to_merge(left).adjacent_shard_to_merge(right);
        merge.send().await.unwrap();
        println!("merged {left} and {right}");
        self.active().await;
    }

    /// Doubles or halves the shards, say.
    pub(crate) async fn update_shard_count(&self, count: i32) {
        let update = self.kinesis.update_shard_count().stream_name(&self.stream);
        let update = update.target_shard_count(count).scaling_type(ScalingType::UniformScaling);
        update.send().await.unwrap();
        self.active().await;
        assert_eq!(self.open_shards().await.len(), count as usize);
    }

    /// Puts `each` records under each of `keys` keys, all of them as user records of one aggregate.
    pub(crate) async fn put_aggregate(&self, keys: u32, each: u32) {
        let mut aggregator = Aggregator::new(1 << 20);
        for key in (0..each).flat_map(|_| 0..keys) {
            let Put { key, data, .. } = next(&self.put, key);
            assert!(aggregator.push(&key, None, &data));
        }
        let aggregate = aggregator.finish().unwrap();
        let put = self.kinesis.put_record().stream_name(&self.stream);
        let put = put.partition_key(aggregate.partition_key).data(Blob::new(aggregate.data));
        put.send().await.unwrap();
    }

    async fn open_shards(&self) -> Vec<Shard> {
        let shards = self.kinesis.list_shards().stream_name(&self.stream).send().await.unwrap();
        let is_open = |shard: &Shard| {
            let numbers = shard.sequence_number_range().unwrap();
            numbers.ending_sequence_number().is_none()
        };
        shards.shards.unwrap().into_iter().filter(is_open).collect()
    }

    async fn active(&self) {
        loop {
            let describe = self.kinesis.describe_stream_summary().stream_name(&self.stream);
            let summary = describe.send().await.unwrap().stream_description_summary.unwrap();
            if summary.stream_status == StreamStatus::Active {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A new emulator: its configuration, and where its server listens for as long as it is kept.
pub(crate) async fn emulator() -> (SdkConfig, String, Server) {
    let emulator = Emulator::builder().build();
    let server = emulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr());
    (emulator.sdk_config(), endpoint, server)
}

/// The next record of a key: `key-7:12`.
fn next(put: &Mutex<BTreeMap<String, u64>>, key: u32) -> Put {
    let key = format!("key-{key}");
    let mut put = put.lock().unwrap();
    let count = put.entry(key.clone()).or_default();
    let data = format!("{key}:{count}").into_bytes();
    *count += 1;
    Put { key, data, user_records: 1 }
}

fn range(range: &HashKeyRange) -> (u128, u128) {
    let bound = |text: &str| text.parse().unwrap();
    (bound(range.starting_hash_key()), bound(range.ending_hash_key()))
}

pub(crate) struct Producer {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Producer {
    /// Returns when everything that it counted is in the stream.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }
}
