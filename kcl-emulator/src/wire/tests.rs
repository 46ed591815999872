//! Whatever is asked in CBOR is answered as if it were asked in JSON.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ciborium::value::Value as Cbor;
use serde_json::{Value as Json, json};

use super::Protocol;
use crate::{Kinesis, Limits};

/// Members whose values are times.
const TIMES: [&str; 2] = ["Timestamp", "StreamCreationTimestamp"];
const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/s";
const START: u64 = 1_700_000_000;

fn to_cbor(name: &str, json: &Json) -> Cbor {
    match json {
        Json::Null => Cbor::Null,
        Json::Bool(value) => Cbor::Bool(*value),
        Json::Number(seconds) if TIMES.contains(&name) => {
            let millis = (seconds.as_f64().unwrap() * 1000.0).round() as i64;
            Cbor::Tag(1, Box::new(millis.into()))
        }
        Json::Number(number) => number.as_i64().unwrap().into(),
        Json::String(text) if name == "Data" => Cbor::Bytes(STANDARD.decode(text).unwrap()),
        Json::String(text) => Cbor::Text(text.clone()),
        Json::Array(items) => Cbor::Array(items.iter().map(|item| to_cbor(name, item)).collect()),
        Json::Object(members) => {
            let member =
                |(name, value): (&String, &Json)| (Cbor::Text(name.clone()), to_cbor(name, value));
            Cbor::Map(members.iter().map(member).collect())
        }
    }
}

fn to_json(cbor: &Cbor) -> Json {
    match cbor {
        Cbor::Null => Json::Null,
        Cbor::Bool(value) => json!(value),
        Cbor::Integer(number) => json!(i64::try_from(*number).unwrap()),
        Cbor::Bytes(bytes) => json!(STANDARD.encode(bytes)),
        Cbor::Text(text) => json!(text),
        Cbor::Array(items) => items.iter().map(to_json).collect(),
        Cbor::Map(members) => members
            .iter()
            .map(|(name, value)| (name.as_text().unwrap().to_owned(), to_json(value)))
            .collect(),
        Cbor::Tag(1, millis) => {
            let millis: i64 = millis.as_integer().unwrap().try_into().unwrap();
            json!(millis as f64 / 1000.0)
        }
        other => panic!("unexpected {other:?}"),
    }
}

fn bytes_of(cbor: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(cbor, &mut bytes).unwrap();
    bytes
}

/// Two services of one seed that are asked the same, each in its own protocol.
struct Pair {
    json: Kinesis,
    cbor: Kinesis,
    now: SystemTime,
    asked: BTreeSet<String>,
}

impl Pair {
    fn new() -> Self {
        let service = || Kinesis::new("123456789012", "eu-west-1", Limits::none(), 1);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(START);
        Self { json: service(), cbor: service(), now, asked: BTreeSet::new() }
    }

    /// The answer, which must be the same from both, and the error's name.
    #[track_caller]
    fn ask(&mut self, operation: &str, request: &Json) -> (Json, Option<String>) {
        self.now += Duration::from_millis(7);
        self.asked.insert(operation.to_owned());
        let in_json = self.json.call(self.now, operation, request.to_string().as_bytes());
        let body = bytes_of(&to_cbor("", request));
        let in_cbor = self.cbor.call_in(Protocol::Cbor, self.now, operation, &body);
        assert_eq!((in_json.status, &in_json.error), (in_cbor.status, &in_cbor.error), "{request}");
        assert_eq!(in_json.content_type, "application/x-amz-json-1.1");
        assert_eq!(in_cbor.content_type, "application/x-amz-cbor-1.1");
        assert_eq!(in_json.body.is_empty(), in_cbor.body.is_empty());
        if in_json.body.is_empty() {
            return (Json::Null, in_json.error);
        }
        let mut json: Json = serde_json::from_slice(&in_json.body).unwrap();
        // Where in a text a member is wrong has no meaning in CBOR.
        if let Some((message, _)) = json["message"].as_str().and_then(|m| m.split_once(" at line "))
        {
            json["message"] = json!(message);
        }
        let cbor: Cbor = ciborium::from_reader(&in_cbor.body[..]).unwrap();
        assert_eq!(to_json(&cbor), json, "{operation} {request}");
        (json, in_json.error)
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "so that json! stands in the call")]
    fn ok(&mut self, operation: &str, request: Json) -> Json {
        let (answer, error) = self.ask(operation, &request);
        assert_eq!(error, None, "{operation} {answer}");
        answer
    }
}

#[test]
fn every_operation_answers_in_cbor_what_it_answers_in_json() {
    let mut pair = Pair::new();
    let s = |mut request: Json| {
        request["StreamName"] = json!("s");
        request
    };
    pair.ok("CreateStream", s(json!({"ShardCount": 2, "Tags": {"a": "b"}})));
    pair.ok("AddTagsToStream", s(json!({"Tags": {"c": "d"}})));
    pair.ok("ListTagsForStream", s(json!({"Limit": 1})));
    pair.ok("RemoveTagsFromStream", s(json!({"TagKeys": ["a"]})));
    pair.ok("DescribeLimits", json!({}));
    pair.ok("DescribeStream", s(json!({})));
    pair.ok("DescribeStreamSummary", json!({"StreamARN": ARN}));
    pair.ok("ListStreams", json!({}));
    let data = STANDARD.encode([0, 1, 2, 255]);
    pair.ok("PutRecord", s(json!({"PartitionKey": "k", "Data": data, "ExplicitHashKey": "0"})));
    let entry = |size: usize| json!({"PartitionKey": "é", "Data": STANDARD.encode(vec![7; size]), "ExplicitHashKey": "0"});
    let sizes = [0, 1, 2, 3, 23, 24, 255, 256, 65_535, 65_536, 1_000_000];
    let put = pair.ok("PutRecords", s(json!({"Records": sizes.map(entry)})));
    assert_eq!(put["FailedRecordCount"], 0);
    let iterator = |pair: &mut Pair, mut request: Json| {
        request["ShardId"] = json!("shardId-000000000000");
        pair.ok("GetShardIterator", s(request))["ShardIterator"].clone()
    };
    let at = iterator(
        &mut pair,
        json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": START as f64 + 0.0655}),
    );
    let page = pair.ok("GetRecords", json!({"ShardIterator": at, "Limit": 100}));
    assert_eq!(page["Records"].as_array().unwrap().len(), sizes.len());
    pair.ok(
        "SplitShard",
        s(json!({"ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "100"})),
    );
    let ended = pair.ok("GetRecords", json!({"ShardIterator": page["NextShardIterator"]}));
    assert_eq!(ended["ChildShards"].as_array().unwrap().len(), 2);
    pair.ok("MergeShards", s(json!({"ShardToMerge": "shardId-000000000002", "AdjacentShardToMerge": "shardId-000000000003"})));
    pair.ok(
        "ListShards",
        s(json!({"ShardFilter": {"Type": "FROM_TIMESTAMP", "Timestamp": START}})),
    );
    pair.ok(
        "UpdateShardCount",
        s(json!({"TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING"})),
    );
    pair.ok("IncreaseStreamRetentionPeriod", s(json!({"RetentionPeriodHours": 48})));
    pair.ok("DecreaseStreamRetentionPeriod", s(json!({"RetentionPeriodHours": 24})));
    pair.ok("UpdateMaxRecordSize", json!({"StreamARN": ARN, "MaxRecordSizeInKiB": 2048}));
    pair.ok(
        "UpdateStreamMode",
        json!({"StreamARN": ARN, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}),
    );
    pair.ok("RegisterStreamConsumer", json!({"StreamARN": ARN, "ConsumerName": "c"}));
    pair.ok("DescribeStreamConsumer", json!({"StreamARN": ARN, "ConsumerName": "c"}));
    pair.ok("ListStreamConsumers", json!({"StreamARN": ARN}));
    pair.ok("DeregisterStreamConsumer", json!({"StreamARN": ARN, "ConsumerName": "c"}));
    pair.ok("DeleteStream", s(json!({"EnforceConsumerDeletion": true})));
    let operations = BTreeSet::from(crate::kinesis::OPERATIONS.map(str::to_owned));
    assert_eq!(pair.asked, operations);
}

#[test]
fn refusals_are_the_same_in_both() {
    let mut pair = Pair::new();
    for (operation, request, error) in [
        ("MakeCoffee", json!({}), "UnknownOperationException"),
        ("DescribeStream", json!({"StreamName": "s"}), "ResourceNotFoundException"),
        ("DescribeStream", json!({"StreamName": 7}), "SerializationException"),
        ("CreateStream", json!({"StreamName": "s", "ShardCount": "1"}), "SerializationException"),
        ("CreateStream", json!({"StreamName": "a b", "ShardCount": 1}), "ValidationException"),
        ("GetRecords", json!({"ShardIterator": "x".repeat(5000)}), "ValidationException"),
    ] {
        let mut answers = pair.ask(operation, &request);
        assert_eq!(answers.1.as_deref(), Some(error), "{operation} {request}");
        assert_eq!(answers.0["__type"].take(), error);
    }
}

#[test]
fn a_body_that_is_no_cbor_map_is_refused() {
    let mut kinesis = Kinesis::new("123456789012", "eu-west-1", Limits::none(), 1);
    let mut trailing = bytes_of(&Cbor::Map(Vec::new()));
    trailing.push(0);
    for body in [&b""[..], b"{}", b"\xa1", b"\x80", b"\x01", b"\xbf\x61", &trailing] {
        let reply = kinesis.call_in(Protocol::Cbor, SystemTime::UNIX_EPOCH, "ListStreams", body);
        assert_eq!(reply.error.as_deref(), Some("SerializationException"), "{body:?}");
    }
}

/// Java's encoder does not know a map's length when it begins it, nor a long string's.
#[test]
fn requests_may_be_of_unknown_length() {
    let mut kinesis = Kinesis::new("123456789012", "eu-west-1", Limits::none(), 1);
    let body = b"\xbf\x6aStreamName\x7f\x61s\x61t\xff\x6aShardCount\x01\xff";
    let reply = kinesis.call_in(Protocol::Cbor, SystemTime::UNIX_EPOCH, "CreateStream", body);
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let reply = kinesis.call(SystemTime::UNIX_EPOCH, "ListStreams", b"{}");
    assert!(String::from_utf8_lossy(&reply.body).contains("\"st\""));
}

#[test]
fn times_may_be_tagged_or_not_and_whole_or_not() {
    for cbor in [
        Cbor::Tag(1, Box::new(1_500.into())),
        Cbor::Integer(1_500.into()),
        Cbor::Tag(1, Box::new(Cbor::Float(1_500.0))),
        Cbor::Float(1_500.4),
    ] {
        let time: super::Timestamp = cbor.deserialized().unwrap();
        assert_eq!(time.0, 1_500, "{cbor:?}");
    }
    assert!(Cbor::Text("1500".into()).deserialized::<super::Timestamp>().is_err());
    assert!(Cbor::Tag(2, Box::new(1.into())).deserialized::<super::Timestamp>().is_err());
}
