//! An emulator with one stream, and readers of it by fan-out.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_sdk_kinesis::types::ConsumerStatus;
use kcl_core::retrieval::{Fetched, OpenShard, RecordSource, ShardReader};
use kcl_core::{ChildShard, Clock, ShardId, StartingPosition};
use kcl_emulator::{Fault, Limits, Rule};
use kcl_fanout::{FanOut, FanOutSource};

pub(crate) use one_stream::{
    OneStream, STREAM, create, custom, next, numbers, read, reads_only, shard_id,
};

#[path = "../../../kcl-core/tests/polling/one_stream.rs"]
mod one_stream;

pub(crate) const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
pub(crate) const CONSUMER: &str = "orders-app";
pub(crate) const SUBSCRIBE: &str = "SubscribeToShard";

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

/// The stream, and what reads it.
pub(crate) struct Bench {
    common: OneStream,
    pub(crate) source: FanOutSource,
    calls: CallLog,
}

impl Deref for Bench {
    type Target = OneStream;

    fn deref(&self) -> &OneStream {
        &self.common
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut OneStream {
        &mut self.common
    }
}

impl Bench {
    /// A stream of so many shards.
    pub(crate) async fn new(shards: i32) -> Self {
        Self::with(shards, Limits::aws()).await
    }

    pub(crate) async fn with(shards: i32, limits: Limits) -> Self {
        let common = OneStream::with(shards, limits).await;
        let calls = CallLog { clock: common.clock.clone(), calls: Arc::default() };
        let config = common.client.config().to_builder().interceptor(calls.clone()).build();
        let source = FanOut::from_client(Client::from_conf(config)).consumer(CONSUMER);
        Self { common, source, calls }
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
        source.open(self.open_shard(shard, from))
    }

    /// What a reader gets.
    pub(crate) fn shard(&self, shard: usize, from: StartingPosition) -> OpenShard {
        self.open_shard(&shard_id(shard), from)
    }

    pub(crate) fn fault(&self, rule: Rule) {
        self.emulator.faults().add(rule);
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
}

/// A fault of SubscribeToShard or of its stream.
pub(crate) fn fault(fault: Fault) -> Rule {
    Rule::new(fault).operation(SUBSCRIBE)
}

/// An exception after so many events.
pub(crate) fn exception(events: usize, error: &str) -> Fault {
    Fault::StreamError { events, error: error.to_owned(), message: "asked for".to_owned() }
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
