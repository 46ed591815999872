use std::time::Duration;

use serde_json::json;

use super::{Rig, texts};
use crate::Limits;
use crate::kinesis::Entry;

const THROTTLED: &str = "ProvisionedThroughputExceededException";

#[test]
fn five_reads_a_second_for_each_shard() {
    let mut rig = Rig::with_limits(2, Limits::aws());
    let (a, b) = (rig.iterator(0, "LATEST"), rig.iterator(1, "LATEST"));
    for _ in 0..5 {
        rig.read(&a);
    }
    assert_eq!(rig.err("GetRecords", json!({"ShardIterator": a})), THROTTLED);
    rig.read(&b);
    rig.pass(Duration::from_millis(200));
    rig.read(&a);
    assert_eq!(rig.err("GetRecords", json!({"ShardIterator": a})), THROTTLED);
}

#[test]
fn ten_mib_cost_up_to_five_seconds_of_silence() {
    let mut rig = Rig::with_limits(1, Limits::aws());
    let data = vec![0; (1 << 20) - 1];
    let entry = |_| Entry { data: &data, partition_key: "k", explicit_hash_key: None };
    rig.kinesis.load(rig.now, "s", (0..20).map(entry)).unwrap();
    let first = rig.iterator(0, "TRIM_HORIZON");
    let page = rig.read(&first);
    assert_eq!(page["Records"].as_array().unwrap().len(), 10);
    let next = page["NextShardIterator"].as_str().unwrap();
    let mut silence = |next: &str| {
        for millis in 0..6000 {
            match rig.call("GetRecords", &json!({"ShardIterator": next})) {
                Ok(_) => return millis,
                Err(error) => assert_eq!(error, THROTTLED),
            }
            rig.pass(Duration::from_millis(1));
        }
        panic!("never read again");
    };
    // A saved-up second shortens the first silence; the second follows a reply made of debt alone.
    assert_eq!(silence(next), 4001);
    assert_eq!(silence(next), 5000);
}

#[test]
fn a_thousand_records_a_second_for_each_shard() {
    let mut rig = Rig::with_limits(2, Limits::aws());
    let put = |rig: &mut Rig, hash: &str, count: usize| {
        let records: Vec<_> = (0..count)
            .map(|_| json!({"PartitionKey": "k", "Data": "YQ==", "ExplicitHashKey": hash}))
            .collect();
        rig.ok("PutRecords", json!({"StreamName": "s", "Records": records}))
    };
    let top = u128::MAX.to_string();
    assert_eq!(put(&mut rig, "0", 500)["FailedRecordCount"], 0);
    assert_eq!(put(&mut rig, "0", 500)["FailedRecordCount"], 0);
    let reply = put(&mut rig, "0", 2);
    assert_eq!(reply["FailedRecordCount"], 2);
    assert_eq!(reply["Records"][0]["ErrorCode"], THROTTLED);
    assert_eq!(
        reply["Records"][0]["ErrorMessage"],
        "Rate exceeded for shard shardId-000000000000 in stream s under account 123456789012."
    );
    assert!(reply["Records"][0]["SequenceNumber"].is_null());
    assert_eq!(put(&mut rig, &top, 2)["FailedRecordCount"], 0);
    rig.pass(Duration::from_millis(1));
    assert_eq!(put(&mut rig, "0", 2)["FailedRecordCount"], 1);
    let one = json!({"StreamName": "s", "PartitionKey": "k", "Data": "", "ExplicitHashKey": "0"});
    assert_eq!(rig.err("PutRecord", one), THROTTLED);
}

#[test]
fn a_mib_a_second_for_each_shard() {
    let mut rig = Rig::with_limits(1, Limits::aws());
    let half = vec![0; (1 << 19) - 1];
    let small = [0; 1];
    let entry = |data| Entry { data, partition_key: "k", explicit_hash_key: None };
    let entries = [entry(&half[..]), entry(&half), entry(&half), entry(&small)];
    let failed = |rig: &mut Rig| {
        let outcomes = rig.kinesis.put_records(rig.now, "s", &entries).unwrap();
        outcomes.iter().map(Result::is_err).collect::<Vec<_>>()
    };
    assert_eq!(failed(&mut rig), [false, false, true, true]);
    rig.pass(Duration::from_millis(500));
    assert_eq!(failed(&mut rig), [false, true, true, true]);
}

#[test]
fn five_iterators_a_second_for_each_shard() {
    let mut rig = Rig::with_limits(1, Limits::aws());
    for _ in 0..5 {
        rig.iterator(0, "LATEST");
    }
    let request = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "LATEST"});
    assert_eq!(rig.err("GetShardIterator", request), THROTTLED);
    rig.pass(Duration::from_millis(200));
    rig.iterator(0, "LATEST");
}

#[test]
fn each_limit_can_be_off() {
    let mut rig = Rig::new(1);
    for _ in 0..20 {
        rig.iterator(0, "LATEST");
    }
    let iterator = rig.iterator(0, "TRIM_HORIZON");
    let data = vec![0; 1 << 19];
    for _ in 0..20 {
        let entries = [Entry { data: &data, partition_key: "k", explicit_hash_key: None }; 5];
        assert!(rig.kinesis.put_records(rig.now, "s", &entries).unwrap().iter().all(Result::is_ok));
        assert!(!texts(&rig.read(&iterator)).is_empty());
    }
}
