use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Rig, texts};
use crate::Limits;
use crate::kinesis::Kinesis;

#[test]
fn records_come_back_in_order_with_their_numbers_and_times() {
    let mut rig = Rig::new(1);
    let start = rig.secs();
    let mut numbers = Vec::new();
    for data in ["a", "b", "c"] {
        numbers.push(rig.put(data)["SequenceNumber"].clone());
        rig.pass(Duration::from_millis(1));
    }
    assert!(numbers.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
    let iterator = rig.iterator(0, "TRIM_HORIZON");
    let page = rig.read(&iterator);
    assert_eq!(texts(&page), ["a", "b", "c"]);
    for (nth, record) in page["Records"].as_array().unwrap().iter().enumerate() {
        assert_eq!(record["SequenceNumber"], numbers[nth]);
        assert_eq!(record["PartitionKey"], "k");
        let arrival = record["ApproximateArrivalTimestamp"].as_f64().unwrap();
        assert!((arrival - start - nth as f64 / 1000.0).abs() < 1e-6);
    }
}

#[test]
fn every_kind_of_iterator_starts_where_it_says() {
    let mut rig = Rig::new(1);
    let mut numbers = Vec::new();
    for data in ["a", "b", "c"] {
        numbers.push(rig.put(data)["SequenceNumber"].clone());
        rig.pass(Duration::from_secs(1));
    }
    let latest = rig.iterator(0, "LATEST");
    rig.put("d");
    let at = rig.secs() - 2.0;
    let mut from = |request| {
        let iterator = rig.iterator_with(0, request);
        texts(&rig.read(&iterator)).concat()
    };
    assert_eq!(from(json!({"ShardIteratorType": "TRIM_HORIZON"})), "abcd");
    assert_eq!(from(json!({"ShardIteratorType": "LATEST"})), "");
    assert_eq!(
        from(
            json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": numbers[1]})
        ),
        "bcd"
    );
    assert_eq!(
        from(
            json!({"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": numbers[1]})
        ),
        "cd"
    );
    assert_eq!(from(json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": at})), "bcd");
    assert_eq!(from(json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": at + 0.001})), "cd");
    assert_eq!(from(json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1})), "abcd");
    assert_eq!(texts(&rig.read(&latest)), ["d"]);
}

#[test]
fn the_first_number_of_a_shard_is_before_its_first_record() {
    let mut rig = Rig::new(1);
    rig.put("a");
    let shard = rig.ok("ListShards", json!({"StreamName": "s"}))["Shards"][0].take();
    let start = &shard["SequenceNumberRange"]["StartingSequenceNumber"];
    for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
        let iterator = rig
            .iterator_with(0, json!({"ShardIteratorType": kind, "StartingSequenceNumber": start}));
        assert_eq!(texts(&rig.read(&iterator)), ["a"]);
    }
}

#[test]
fn an_iterator_needs_what_its_kind_needs() {
    let mut rig = Rig::new(2);
    let of_0 = rig.put_at(0, "a")["SequenceNumber"].clone();
    let later = rig.secs() + 1.0;
    rig.ok("CreateStream", json!({"StreamName": "t", "ShardCount": 1}));
    rig.pass(Duration::from_secs(5));
    rig.ok("DeleteStream", json!({"StreamName": "t"}));
    rig.ok("CreateStream", json!({"StreamName": "t", "ShardCount": 1}));
    for (request, error) in [
        (
            json!({"StreamName": "s", "ShardId": "shardId-000000000001", "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": of_0}),
            "InvalidArgumentException",
        ),
        (
            json!({"StreamName": "t", "ShardId": "shardId-000000000000", "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": of_0}),
            "InvalidArgumentException",
        ),
        (
            json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "0"}),
            "InvalidArgumentException",
        ),
        (
            json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "12345"}),
            "InvalidArgumentException",
        ),
        (
            json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "TRIM_HORIZON"}),
            "ValidationException",
        ),
        (
            json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "AT_SEQUENCE_NUMBER"}),
            "InvalidArgumentException",
        ),
        (
            json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "LATEST", "StartingSequenceNumber": of_0}),
            "InvalidArgumentException",
        ),
        (
            json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "AT_TIMESTAMP"}),
            "InvalidArgumentException",
        ),
        (
            json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": later + 60.0}),
            "InvalidArgumentException",
        ),
        (
            json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "NEWEST"}),
            "ValidationException",
        ),
        (json!({"StreamName": "s", "ShardId": "0"}), "ValidationException"),
        (json!({"StreamName": "s", "ShardIteratorType": "LATEST"}), "ValidationException"),
        (
            json!({"StreamName": "s", "ShardId": "shardId-000000000002", "ShardIteratorType": "LATEST"}),
            "ResourceNotFoundException",
        ),
        (
            json!({"StreamName": "s", "ShardId": "nonsense", "ShardIteratorType": "LATEST"}),
            "ResourceNotFoundException",
        ),
        (
            json!({"StreamName": "u", "ShardId": "0", "ShardIteratorType": "LATEST"}),
            "ResourceNotFoundException",
        ),
    ] {
        assert_eq!(rig.err("GetShardIterator", request.clone()), error, "{request}");
    }
}

#[test]
fn a_page_has_at_most_limit_or_ten_thousand_or_ten_mib() {
    let mut rig = Rig::new(1);
    let entry = |_| super::super::Entry { data: b"x", partition_key: "k", explicit_hash_key: None };
    rig.kinesis.load(rig.now, "s", (0..10_001).map(entry)).unwrap();
    let iterator = rig.iterator(0, "TRIM_HORIZON");
    let page = rig.ok("GetRecords", json!({"ShardIterator": iterator, "Limit": 3}));
    assert_eq!(texts(&page).len(), 3);
    let page = rig.read(&iterator);
    assert_eq!(texts(&page).len(), 10_000);
    let page = rig.read(page["NextShardIterator"].as_str().unwrap());
    assert_eq!(texts(&page).len(), 1);
    assert_eq!(
        rig.err("GetRecords", json!({"ShardIterator": iterator, "Limit": 10_001})),
        "InvalidArgumentException"
    );
    assert_eq!(
        rig.err("GetRecords", json!({"ShardIterator": iterator, "Limit": 0})),
        "ValidationException"
    );

    let mib = vec![b'x'; (1 << 20) - 1];
    let large = |_| super::super::Entry { data: &mib, partition_key: "k", explicit_hash_key: None };
    rig.kinesis.load(rig.now, "s", (0..11).map(large)).unwrap();
    let page = rig.read(page["NextShardIterator"].as_str().unwrap());
    assert_eq!(texts(&page).len(), 10);
}

#[test]
fn millis_behind_latest_is_the_age_of_what_was_read_last() {
    let mut rig = Rig::new(1);
    let iterator = rig.iterator(0, "TRIM_HORIZON");
    assert_eq!(rig.read(&iterator)["MillisBehindLatest"], 0);
    rig.put("a");
    rig.put("b");
    assert_eq!(
        rig.ok("GetRecords", json!({"ShardIterator": iterator, "Limit": 1}))["MillisBehindLatest"],
        1
    );
    rig.pass(Duration::from_secs(7));
    assert_eq!(
        rig.ok("GetRecords", json!({"ShardIterator": iterator, "Limit": 1}))["MillisBehindLatest"],
        7000
    );
    assert_eq!(rig.read(&iterator)["MillisBehindLatest"], 0);
}

#[test]
fn an_iterator_lives_for_five_minutes() {
    let mut rig = Rig::new(1);
    let iterator = rig.iterator(0, "LATEST");
    rig.pass(Duration::from_secs(300));
    rig.read(&iterator);
    rig.pass(Duration::from_millis(1));
    assert_eq!(
        rig.err("GetRecords", json!({"ShardIterator": iterator})),
        "ExpiredIteratorException"
    );
}

#[test]
fn foreign_and_garbage_iterators_are_refused() {
    let mut rig = Rig::new(1);
    let mut other = Rig::empty(Kinesis::new("123456789012", "eu-west-1", Limits::none(), 2));
    other.ok("CreateStream", json!({"StreamName": "s", "ShardCount": 1}));
    for iterator in [other.iterator(0, "LATEST"), "garbage".into(), STANDARD.encode([0; 120])] {
        assert_eq!(
            rig.err("GetRecords", json!({"ShardIterator": iterator})),
            "InvalidArgumentException"
        );
    }
    for iterator in [String::new(), "A".repeat(513)] {
        assert_eq!(
            rig.err("GetRecords", json!({"ShardIterator": iterator})),
            "ValidationException"
        );
    }
    let own = rig.iterator(0, "LATEST");
    rig.ok("CreateStream", json!({"StreamName": "t", "ShardCount": 1}));
    let arn = |name| format!("arn:aws:kinesis:eu-west-1:123456789012:stream/{name}");
    rig.ok("GetRecords", json!({"ShardIterator": own, "StreamARN": arn("s")}));
    assert_eq!(
        rig.err("GetRecords", json!({"ShardIterator": own, "StreamARN": arn("t")})),
        "InvalidArgumentException"
    );
}
