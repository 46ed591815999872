use std::time::Duration;

use serde_json::{Value, json};

use super::{Rig, ids, texts};

const HALF: u128 = 1 << 127;

fn split(rig: &mut Rig, shard: u32, at: u128) {
    rig.ok("SplitShard", json!({"StreamName": "s", "ShardToSplit": format!("shardId-{shard:012}"), "NewStartingHashKey": at.to_string()}));
}

fn merge(rig: &mut Rig, left: u32, right: u32) {
    rig.ok("MergeShards", json!({"StreamName": "s", "ShardToMerge": left.to_string(), "AdjacentShardToMerge": right.to_string()}));
}

fn shard(rig: &mut Rig, number: usize) -> Value {
    rig.ok("ListShards", json!({"StreamName": "s"}))["Shards"][number].take()
}

/// Reads a closed shard to its end and returns the last page.
fn last_page(rig: &mut Rig, number: u32) -> Value {
    let mut iterator = rig.iterator(number, "TRIM_HORIZON");
    loop {
        let page = rig.read(&iterator);
        match page["NextShardIterator"].as_str() {
            Some(next) => iterator = next.to_owned(),
            None => return page,
        }
    }
}

#[test]
fn a_split_closes_the_parent_and_opens_two_children() {
    let mut rig = Rig::new(1);
    rig.put_at(0, "before");
    split(&mut rig, 0, HALF);
    assert_eq!(rig.put_at(0, "low")["ShardId"], "shardId-000000000001");
    assert_eq!(rig.put_at(HALF, "high")["ShardId"], "shardId-000000000002");
    assert_eq!(rig.drain(0), ["before"]);

    let (parent, low, high) = (shard(&mut rig, 0), shard(&mut rig, 1), shard(&mut rig, 2));
    assert_eq!(low["ParentShardId"], "shardId-000000000000");
    assert!(low["AdjacentParentShardId"].is_null());
    assert_eq!(low["HashKeyRange"]["EndingHashKey"], (HALF - 1).to_string());
    assert_eq!(
        high["HashKeyRange"],
        json!({"StartingHashKey": HALF.to_string(), "EndingHashKey": u128::MAX.to_string()})
    );
    let numbers = |shard: &Value| shard["SequenceNumberRange"].clone();
    let end = numbers(&parent)["EndingSequenceNumber"].as_str().unwrap().to_owned();
    assert!(numbers(&parent)["StartingSequenceNumber"].as_str().unwrap() < &*end);
    assert!(&*end < numbers(&low)["StartingSequenceNumber"].as_str().unwrap());
    assert!(numbers(&low)["EndingSequenceNumber"].is_null());
}

#[test]
fn a_closed_shard_ends_with_its_children() {
    let mut rig = Rig::new(1);
    rig.put_at(0, "before");
    split(&mut rig, 0, HALF);
    rig.pass(Duration::from_secs(3));
    let end = last_page(&mut rig, 0);
    assert_eq!(end["MillisBehindLatest"], 3000);
    assert_eq!(
        end["ChildShards"],
        json!([
            {"ShardId": "shardId-000000000001", "ParentShards": ["shardId-000000000000"],
             "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": (HALF - 1).to_string()}},
            {"ShardId": "shardId-000000000002", "ParentShards": ["shardId-000000000000"],
             "HashKeyRange": {"StartingHashKey": HALF.to_string(), "EndingHashKey": u128::MAX.to_string()}},
        ])
    );
    let latest = rig.iterator(0, "LATEST");
    let end = rig.read(&latest);
    assert!(end["NextShardIterator"].is_null() && texts(&end).is_empty());
    assert_eq!(end["ChildShards"].as_array().unwrap().len(), 2);

    merge(&mut rig, 1, 2);
    let end = last_page(&mut rig, 2);
    assert_eq!(
        end["ChildShards"][0]["ParentShards"],
        json!(["shardId-000000000001", "shardId-000000000002"])
    );
    let child = shard(&mut rig, 3);
    assert_eq!(
        (&child["ParentShardId"], &child["AdjacentParentShardId"]),
        (&json!("shardId-000000000001"), &json!("shardId-000000000002"))
    );
    assert_eq!(
        child["HashKeyRange"],
        json!({"StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string()})
    );
    let open = rig.iterator(3, "TRIM_HORIZON");
    let open = rig.read(&open);
    assert!(open["NextShardIterator"].is_string() && open["ChildShards"].is_null());
}

#[test]
fn a_closed_shard_ends_with_its_last_records_or_right_after() {
    let mut kinds = std::collections::BTreeSet::new();
    let mut rig = Rig::new(1);
    rig.put("only");
    split(&mut rig, 0, HALF);
    for _ in 0..50 {
        let iterator = rig.iterator(0, "TRIM_HORIZON");
        let page = rig.read(&iterator);
        assert_eq!(texts(&page), ["only"]);
        assert_eq!(page["NextShardIterator"].is_null(), page["ChildShards"].is_array());
        kinds.insert(page["ChildShards"].is_array());
    }
    assert_eq!(kinds.len(), 2);
}

#[test]
fn bad_splits_and_merges_change_nothing() {
    let mut rig = Rig::new(4);
    split(&mut rig, 0, 100);
    let before = rig.ok("ListShards", json!({"StreamName": "s"}));
    let id = |number: u32| format!("shardId-{number:012}");
    for (shard, hash, error) in [
        (0, "50", "InvalidArgumentException"),
        (4, "1", "InvalidArgumentException"),
        (4, "99", "InvalidArgumentException"),
        (4, "100", "InvalidArgumentException"),
        (4, "340282366920938463463374607431768211456", "InvalidArgumentException"),
        (4, "x", "ValidationException"),
        (9, "5", "ResourceNotFoundException"),
    ] {
        let request =
            json!({"StreamName": "s", "ShardToSplit": id(shard), "NewStartingHashKey": hash});
        assert_eq!(rig.err("SplitShard", request.clone()), error, "{request}");
    }
    for (left, right, error) in [
        (1, 3, "InvalidArgumentException"),
        (2, 1, "InvalidArgumentException"),
        (1, 1, "InvalidArgumentException"),
        (0, 1, "InvalidArgumentException"),
        (4, 1, "InvalidArgumentException"),
        (3, 9, "ResourceNotFoundException"),
    ] {
        let request =
            json!({"StreamName": "s", "ShardToMerge": id(left), "AdjacentShardToMerge": id(right)});
        assert_eq!(rig.err("MergeShards", request.clone()), error, "{request}");
    }
    assert_eq!(rig.ok("ListShards", json!({"StreamName": "s"})), before);
}

#[test]
fn scaling_splits_and_merges_as_aws_does() {
    // Totals, short-lived shards among them, and the shards left open. 4 to 3 was observed on AWS.
    let cases: [(u32, u32, usize, &[u32]); 6] = [
        (2, 4, 6, &[2, 3, 4, 5]),
        (4, 2, 6, &[4, 5]),
        (4, 3, 11, &[6, 9, 10]),
        (4, 5, 15, &[4, 8, 11, 14, 13]),
        (1, 2, 3, &[1, 2]),
        (3, 3, 3, &[0, 1, 2]),
    ];
    for (from, to, total, open) in cases {
        let mut rig = Rig::new(from);
        let request =
            json!({"StreamName": "s", "TargetShardCount": to, "ScalingType": "UNIFORM_SCALING"});
        let reply = rig.ok("UpdateShardCount", request);
        assert_eq!(
            (&reply["CurrentShardCount"], &reply["TargetShardCount"]),
            (&json!(from), &json!(to))
        );
        assert_eq!(rig.shards(Value::Null).len(), total, "{from} to {to}");
        let mut open = open.to_vec();
        open.sort_unstable();
        assert_eq!(rig.shards(json!({"Type": "AT_LATEST"})), open, "{from} to {to}");
    }
}

#[test]
fn scaling_has_bounds() {
    let mut rig = Rig::new(4);
    for (count, error) in [
        (9, "InvalidArgumentException"),
        (1, "InvalidArgumentException"),
        (0, "ValidationException"),
    ] {
        let request =
            json!({"StreamName": "s", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING"});
        assert_eq!(rig.err("UpdateShardCount", request), error);
    }
    let request = json!({"StreamName": "s", "TargetShardCount": 4, "ScalingType": "OTHER"});
    assert_eq!(rig.err("UpdateShardCount", request), "ValidationException");
}

#[test]
fn shards_are_filtered() {
    let mut rig = Rig::new(2);
    let created = rig.secs();
    rig.pass(Duration::from_secs(10));
    split(&mut rig, 0, 100);
    let first = rig.secs();
    rig.pass(Duration::from_secs(10));
    merge(&mut rig, 2, 3);
    let second = rig.secs();
    rig.pass(Duration::from_secs(10));
    let mut of =
        |r#type: &str, at: Option<f64>| rig.shards(json!({"Type": r#type, "Timestamp": at}));
    assert_eq!(of("FROM_TRIM_HORIZON", None), [0, 1, 2, 3, 4]);
    assert_eq!(of("AT_TRIM_HORIZON", None), [0, 1]);
    assert_eq!(of("AT_LATEST", None), [1, 4]);
    assert_eq!(of("AT_TIMESTAMP", Some(created)), [0, 1]);
    assert_eq!(of("AT_TIMESTAMP", Some(created - 99.0)), [0, 1]);
    assert_eq!(of("AT_TIMESTAMP", Some(first + 1.0)), [1, 2, 3]);
    assert_eq!(of("AT_TIMESTAMP", Some(second + 1.0)), [1, 4]);
    assert_eq!(of("FROM_TIMESTAMP", Some(1.0)), [0, 1, 2, 3, 4]);
    assert_eq!(of("FROM_TIMESTAMP", Some(first + 1.0)), [1, 2, 3, 4]);
    assert_eq!(of("FROM_TIMESTAMP", Some(second + 1.0)), [1, 4]);
    assert_eq!(
        rig.shards(json!({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000002"})),
        [3, 4]
    );
    for filter in [
        json!({"Type": "AT_TIMESTAMP"}),
        json!({"Type": "AFTER_SHARD_ID"}),
        json!({"Type": "AT_LATEST", "Timestamp": 1}),
        json!({"Type": "AT_LATEST", "ShardId": "shardId-000000000000"}),
    ] {
        assert_eq!(
            rig.err("ListShards", json!({"StreamName": "s", "ShardFilter": filter})),
            "InvalidArgumentException"
        );
    }
    assert_eq!(
        rig.err("ListShards", json!({"StreamName": "s", "ShardFilter": {"Type": "X"}})),
        "ValidationException"
    );
    assert_eq!(
        rig.err("ListShards", json!({"StreamName": "s", "ShardFilter": {}})),
        "ValidationException"
    );
}

#[test]
fn shards_are_listed_in_pages() {
    let mut rig = Rig::new(5);
    let first = rig.ok("ListShards", json!({"StreamName": "s", "MaxResults": 2}));
    assert_eq!(ids(&first), [0, 1]);
    let token = first["NextToken"].clone();
    let second = rig.ok("ListShards", json!({"NextToken": token, "MaxResults": 2}));
    assert_eq!(ids(&second), [2, 3]);
    let last = rig.ok("ListShards", json!({"NextToken": second["NextToken"]}));
    assert_eq!((ids(&last), last["NextToken"].is_null()), (vec![4], true));
    let after = rig.ok(
        "ListShards",
        json!({"StreamName": "s", "ExclusiveStartShardId": "shardId-000000000002"}),
    );
    assert_eq!(ids(&after), [3, 4]);

    for request in [
        json!({"NextToken": token, "StreamName": "s"}),
        json!({"NextToken": token, "ExclusiveStartShardId": "shardId-000000000000"}),
        json!({"NextToken": token, "StreamCreationTimestamp": 1}),
        json!({"NextToken": "garbage"}),
        json!({}),
    ] {
        assert_eq!(rig.err("ListShards", request.clone()), "InvalidArgumentException", "{request}");
    }
    rig.pass(Duration::from_millis(300_001));
    assert_eq!(rig.err("ListShards", json!({"NextToken": token})), "ExpiredNextTokenException");
}

#[test]
fn a_page_keeps_the_filter_it_began_with() {
    let mut rig = Rig::new(3);
    split(&mut rig, 0, 100);
    let first = rig.ok(
        "ListShards",
        json!({"StreamName": "s", "MaxResults": 2, "ShardFilter": {"Type": "AT_TRIM_HORIZON"}}),
    );
    assert_eq!(ids(&first), [0, 1]);
    let rest = rig.ok("ListShards", json!({"NextToken": first["NextToken"]}));
    assert_eq!((ids(&rest), rest["NextToken"].is_null()), (vec![2], true));
}
