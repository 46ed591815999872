//! Tests of the operations through [`Kinesis::call`], one file per group.

mod consumers;
mod history;
mod limits;
mod reading;
mod resharding;
mod retention;
mod shapes;
mod streams;
mod subscription_ends;
mod subscriptions;

use std::time::{Duration, SystemTime};

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::event_stream::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Kinesis, Step, SubscriptionId};
use crate::{Limits, Protocol};

/// A service with one stream, `s`, and a clock that the test moves.
struct Rig {
    kinesis: Kinesis,
    now: SystemTime,
}

impl Rig {
    fn with_limits(shards: u32, limits: Limits) -> Self {
        let mut rig = Self::empty(Kinesis::new("123456789012", "eu-west-1", limits, 1));
        rig.ok("CreateStream", json!({"StreamName": "s", "ShardCount": shards}));
        rig
    }

    fn new(shards: u32) -> Self {
        Self::with_limits(shards, Limits::none())
    }

    fn empty(kinesis: Kinesis) -> Self {
        Self { kinesis, now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Seconds since the epoch, as the API writes times.
    fn secs(&self) -> f64 {
        self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
    }

    fn call(&mut self, operation: &str, request: &Value) -> Result<Value, String> {
        let reply = self.kinesis.call(self.now, operation, request.to_string().as_bytes());
        let body = if reply.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&reply.body).unwrap()
        };
        match reply.error {
            None => {
                assert_eq!(reply.status, 200);
                Ok(body)
            }
            Some(error) => {
                assert_eq!((reply.status, body["__type"].as_str()), (400, Some(&*error)));
                assert!(body["message"].is_string());
                Err(error)
            }
        }
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "so that json! stands in the call")]
    fn ok(&mut self, operation: &str, request: Value) -> Value {
        self.call(operation, &request)
            .unwrap_or_else(|error| panic!("{operation} {request}: {error}"))
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "so that json! stands in the call")]
    fn err(&mut self, operation: &str, request: Value) -> String {
        match self.call(operation, &request) {
            Ok(reply) => panic!("{operation} {request} gave {reply}"),
            Err(error) => error,
        }
    }

    /// Puts a record into the shard that takes `hash`.
    fn put_at(&mut self, hash: u128, data: &str) -> Value {
        let request = json!({"StreamName": "s", "PartitionKey": "k", "Data": STANDARD.encode(data), "ExplicitHashKey": hash.to_string()});
        self.ok("PutRecord", request)
    }

    fn put(&mut self, data: &str) -> Value {
        self.put_at(0, data)
    }

    #[track_caller]
    fn iterator(&mut self, shard: u32, kind: &str) -> String {
        self.iterator_with(shard, json!({"ShardIteratorType": kind}))
    }

    #[track_caller]
    fn iterator_with(&mut self, shard: u32, mut request: Value) -> String {
        request["StreamName"] = json!("s");
        request["ShardId"] = json!(format!("shardId-{shard:012}"));
        self.ok("GetShardIterator", request)["ShardIterator"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn read(&mut self, iterator: &str) -> Value {
        self.ok("GetRecords", json!({"ShardIterator": iterator}))
    }

    /// Everything that a shard holds.
    fn drain(&mut self, shard: u32) -> Vec<String> {
        let mut iterator = Some(self.iterator(shard, "TRIM_HORIZON"));
        let mut all = Vec::new();
        while let Some(at) = iterator {
            let page = self.read(&at);
            let data = texts(&page);
            iterator =
                page["NextShardIterator"].as_str().filter(|_| !data.is_empty()).map(str::to_owned);
            all.extend(data);
        }
        all
    }

    fn shards(&mut self, filter: Value) -> Vec<u32> {
        let mut request = json!({"StreamName": "s"});
        if !filter.is_null() {
            request["ShardFilter"] = filter;
        }
        ids(&self.ok("ListShards", request))
    }
}

/// What a subscription did.
#[derive(Debug, PartialEq)]
enum Sent {
    Initial,
    Event(Value),
    Exception(String),
    Wait(Duration),
    End,
}

impl Rig {
    /// An active consumer of `s`; its ARN.
    #[track_caller]
    fn consumer(&mut self, name: &str) -> String {
        let stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/s";
        let request = json!({"StreamARN": stream, "ConsumerName": name});
        let reply = self.ok("RegisterStreamConsumer", request);
        self.pass(Duration::from_secs(1));
        reply["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned()
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that json! stands in the call")]
    fn subscribe(
        &mut self,
        arn: &str,
        shard: u32,
        position: Value,
    ) -> Result<SubscriptionId, String> {
        let shard = format!("shardId-{shard:012}");
        let request = json!({"ConsumerARN": arn, "ShardId": shard, "StartingPosition": position});
        self.subscribe_with(&request)
    }

    fn subscribe_with(&mut self, request: &Value) -> Result<SubscriptionId, String> {
        let body = request.to_string();
        let opened = self.kinesis.subscribe(Protocol::Json, self.now, body.as_bytes());
        opened.map_err(|refusal| refusal.error.unwrap())
    }

    fn step(&mut self, id: SubscriptionId) -> Sent {
        let frame = match self.frame(id) {
            Ok(frame) => frame,
            Err(other) => return other,
        };
        let payload = || serde_json::from_slice(frame.payload()).unwrap();
        match (header(&frame, ":message-type").as_str(), frame.headers()[1].value()) {
            ("event", name) if name.as_string().unwrap().as_str() == "initial-response" => {
                assert_eq!(payload(), json!({}));
                Sent::Initial
            }
            ("event", _) => Sent::Event(payload()),
            _ => Sent::Exception(header(&frame, ":exception-type")),
        }
    }

    /// The next frame, read and its checksums verified.
    fn frame(&mut self, id: SubscriptionId) -> Result<Message, Sent> {
        match self.kinesis.next_event(self.now, id) {
            Step::Send(bytes) => Ok(read_message_from(bytes).unwrap()),
            Step::Wait(until) => Err(Sent::Wait(until.duration_since(self.now).unwrap())),
            Step::End => Err(Sent::End),
        }
    }

    /// Time since the last consumer became active.
    fn age(&self) -> Duration {
        self.now
            .duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_001))
            .unwrap()
    }
}

fn header(frame: &Message, name: &str) -> String {
    let header = frame.headers().iter().find(|header| header.name().as_str() == name).unwrap();
    header.value().as_string().unwrap().as_str().to_owned()
}

/// The data of a page's records.
fn texts(page: &Value) -> Vec<String> {
    let text = |record: &Value| {
        String::from_utf8(STANDARD.decode(record["Data"].as_str().unwrap()).unwrap()).unwrap()
    };
    page["Records"].as_array().unwrap().iter().map(text).collect()
}

/// The numbers of a list's shards.
fn ids(list: &Value) -> Vec<u32> {
    let number = |shard: &Value| shard["ShardId"].as_str().unwrap()[8..].parse().unwrap();
    list["Shards"].as_array().unwrap().iter().map(number).collect()
}
