use std::time::Duration;

use serde_json::{Value, json};

use super::{Rig, texts};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn records_expire_by_arrival() {
    let mut rig = Rig::new(1);
    let old = rig.put("old")["SequenceNumber"].clone();
    rig.pass(12 * HOUR);
    rig.put("new");
    rig.pass(12 * HOUR);
    assert_eq!(rig.drain(0), ["old", "new"]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.drain(0), ["new"]);
    for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
        let iterator =
            rig.iterator_with(0, json!({"ShardIteratorType": kind, "StartingSequenceNumber": old}));
        assert_eq!(texts(&rig.read(&iterator)), ["new"]);
    }
}

#[test]
fn an_iterator_survives_the_trimming_of_its_place() {
    let mut rig = Rig::new(1);
    rig.put("a");
    rig.pass(24 * HOUR);
    let iterator = rig.iterator(0, "TRIM_HORIZON");
    rig.put("b");
    rig.pass(Duration::from_secs(1));
    assert_eq!(texts(&rig.read(&iterator)), ["b"]);
}

#[test]
fn retention_can_be_longer_and_shorter_again() {
    let mut rig = Rig::new(1);
    let set = |operation: &str, hours: i64, rig: &mut Rig| {
        rig.call(operation, &json!({"StreamName": "s", "RetentionPeriodHours": hours})).map(|_| ())
    };
    rig.put("a");
    set("IncreaseStreamRetentionPeriod", 48, &mut rig).unwrap();
    rig.pass(36 * HOUR);
    assert_eq!(rig.drain(0), ["a"]);
    set("DecreaseStreamRetentionPeriod", 24, &mut rig).unwrap();
    assert_eq!(rig.drain(0), Vec::<String>::new());
    set("IncreaseStreamRetentionPeriod", 8760, &mut rig).unwrap();
    assert_eq!(rig.drain(0), Vec::<String>::new());
    let summary = rig.ok("DescribeStreamSummary", json!({"StreamName": "s"}));
    assert_eq!(summary["StreamDescriptionSummary"]["RetentionPeriodHours"], 8760);
    for (operation, hours) in [
        ("IncreaseStreamRetentionPeriod", 8761),
        ("IncreaseStreamRetentionPeriod", 24),
        ("DecreaseStreamRetentionPeriod", 23),
        ("DecreaseStreamRetentionPeriod", -1),
    ] {
        assert_eq!(
            set(operation, hours, &mut rig),
            Err("InvalidArgumentException".to_owned()),
            "{operation} {hours}"
        );
    }
    assert_eq!(
        rig.err("IncreaseStreamRetentionPeriod", json!({"StreamName": "s"})),
        "ValidationException"
    );
}

#[test]
fn closed_shards_vanish_with_their_last_record() {
    let mut rig = Rig::new(1);
    rig.put("a");
    rig.pass(HOUR);
    rig.ok(
        "SplitShard",
        json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "99"}),
    );
    let iterator = rig.iterator(0, "TRIM_HORIZON");
    rig.pass(24 * HOUR);
    assert_eq!(rig.shards(Value::Null), [0, 1, 2]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.shards(Value::Null), [1, 2]);
    assert_eq!(rig.shards(json!({"Type": "AT_TRIM_HORIZON"})), [1, 2]);
    let child = rig.ok("ListShards", json!({"StreamName": "s"}))["Shards"][0].take();
    assert_eq!(child["ParentShardId"], "shardId-000000000000");
    let request = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"});
    assert_eq!(rig.err("GetShardIterator", request), "ResourceNotFoundException");
    assert_eq!(
        rig.err("GetRecords", json!({"ShardIterator": iterator})),
        "ExpiredIteratorException"
    );
}
