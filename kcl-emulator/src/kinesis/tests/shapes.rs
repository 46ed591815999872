use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Rig;
use crate::kinesis::Entry;

fn records(count: usize) -> Value {
    (0..count).map(|_| json!({"PartitionKey": "k", "Data": "YQ=="})).collect()
}

#[test]
fn bad_puts_are_refused_whole() {
    let mut rig = Rig::new(1);
    let data = |bytes: usize| STANDARD.encode(vec![0; bytes]);
    let one = |record: Value| json!({"StreamName": "s", "Records": [{"PartitionKey": "k", "Data": ""}, record]});
    let mib = 1 << 20;
    for (request, error) in [
        (json!({"StreamName": "s", "Records": records(501)}), "ValidationException"),
        (json!({"StreamName": "s", "Records": []}), "ValidationException"),
        (json!({"StreamName": "s"}), "ValidationException"),
        (json!({"StreamName": "s", "Records": "x"}), "SerializationException"),
        (json!({"StreamName": "t", "Records": records(1)}), "ResourceNotFoundException"),
        (json!({"Records": records(1)}), "InvalidArgumentException"),
        (one(json!({"PartitionKey": "k", "Data": data(mib)})), "ValidationException"),
        (one(json!({"PartitionKey": "", "Data": ""})), "ValidationException"),
        (one(json!({"PartitionKey": "k".repeat(257), "Data": ""})), "ValidationException"),
        (one(json!({"PartitionKey": "k"})), "ValidationException"),
        (one(json!({"Data": ""})), "ValidationException"),
        (one(json!({"PartitionKey": 7, "Data": ""})), "SerializationException"),
        (one(json!({"PartitionKey": "k", "Data": "not base64"})), "SerializationException"),
        (
            one(json!({"PartitionKey": "k", "Data": "", "ExplicitHashKey": "01"})),
            "ValidationException",
        ),
        (
            one(
                json!({"PartitionKey": "k", "Data": "", "ExplicitHashKey": "340282366920938463463374607431768211456"}),
            ),
            "InvalidArgumentException",
        ),
    ] {
        assert_eq!(rig.err("PutRecords", request), error);
    }
    let ten_and_a_half: Value =
        (0..21).map(|_| json!({"PartitionKey": "k", "Data": data(mib / 2)})).collect();
    let request = json!({"StreamName": "s", "Records": ten_and_a_half});
    assert_eq!(rig.err("PutRecords", request), "InvalidArgumentException");
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": "", "SequenceNumberForOrdering": "7"});
    assert_eq!(rig.err("PutRecord", put), "InvalidArgumentException");
    for key in ["", &"k".repeat(257)] {
        let put = json!({"StreamName": "s", "PartitionKey": key, "Data": ""});
        assert_eq!(rig.err("PutRecord", put), "ValidationException");
    }
    assert_eq!(rig.drain(0), Vec::<String>::new());

    rig.ok("PutRecords", json!({"StreamName": "s", "Records": records(500)}));
    rig.ok("PutRecords", one(json!({"PartitionKey": "é".repeat(256), "Data": data(mib - 512)})));
    assert_eq!(rig.drain(0).len(), 502);
}

#[test]
fn large_records_need_a_stream_that_allows_them() {
    let mut rig = Rig::new(1);
    let put =
        json!({"StreamName": "s", "PartitionKey": "k", "Data": STANDARD.encode(vec![0; 5 << 20])});
    assert_eq!(rig.err("PutRecord", put.clone()), "ValidationException");
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/s";
    rig.ok("UpdateMaxRecordSize", json!({"StreamARN": arn, "MaxRecordSizeInKiB": 10_240}));
    rig.ok("PutRecord", put);
    assert_eq!(
        rig.err("UpdateMaxRecordSize", json!({"StreamARN": arn, "MaxRecordSizeInKiB": 10_241})),
        "ValidationException"
    );
}

#[test]
fn partition_keys_are_routed_by_md5() {
    let mut rig = Rig::new(4);
    // md5: a = 0c.., d = 82.., e = e1.., f = 8f..
    for (key, shard) in [("a", 0), ("d", 2), ("e", 3), ("f", 2)] {
        let put = rig.ok("PutRecord", json!({"StreamName": "s", "PartitionKey": key, "Data": ""}));
        assert_eq!(put["ShardId"], format!("shardId-{shard:012}"), "{key}");
    }
}

#[test]
fn bodies_that_are_no_requests() {
    let mut rig = Rig::new(1);
    for (operation, body, error) in [
        ("PutRecord", &b"{"[..], "SerializationException"),
        ("PutRecord", b"", "SerializationException"),
        ("PutRecord", b"[]", "SerializationException"),
        ("PutRecord", b"\xff\xff", "SerializationException"),
        ("DescribeLimits", b"nonsense", "SerializationException"),
        ("CreateStream", b"{\"StreamName\":\"x\",\"ShardCount\":\"1\"}", "SerializationException"),
        ("SubscribeToShard", b"{}", "UnknownOperationException"),
        ("", b"{}", "UnknownOperationException"),
    ] {
        let reply = rig.kinesis.call(rig.now, operation, body);
        assert_eq!(
            (reply.status, reply.error.as_deref()),
            (400, Some(error)),
            "{operation} {body:?}"
        );
    }
}

#[test]
fn a_bad_stream_is_not_created() {
    let mut rig = Rig::new(1);
    let modes = |mode| json!({"StreamMode": mode});
    for (request, error) in [
        (json!({"ShardCount": 1}), "ValidationException"),
        (json!({"StreamName": "a b", "ShardCount": 1}), "ValidationException"),
        (json!({"StreamName": "a".repeat(129), "ShardCount": 1}), "ValidationException"),
        (json!({"StreamName": "x", "ShardCount": 0}), "InvalidArgumentException"),
        (json!({"StreamName": "x"}), "InvalidArgumentException"),
        (
            json!({"StreamName": "x", "ShardCount": 1, "StreamModeDetails": modes("ON_DEMAND")}),
            "InvalidArgumentException",
        ),
        (
            json!({"StreamName": "x", "ShardCount": 1, "StreamModeDetails": modes("OTHER")}),
            "ValidationException",
        ),
        (json!({"StreamName": "x", "ShardCount": 20_000}), "LimitExceededException"),
    ] {
        assert_eq!(rig.err("CreateStream", request.clone()), error, "{request}");
    }
    assert_eq!(rig.ok("ListStreams", json!({}))["StreamNames"], json!(["s"]));
}

#[test]
fn debug_shows_neither_data_nor_keys() {
    let mut rig = Rig::new(1);
    rig.put_at(0, "canary");
    let entry = Entry { data: b"canary", partition_key: "canary", explicit_hash_key: None };
    let state = format!("{:?} {entry:?}", rig.kinesis);
    assert!(!state.contains("canary") && !state.contains(&STANDARD.encode("canary")));
    assert!(state.contains("data_len: 6"));
}
