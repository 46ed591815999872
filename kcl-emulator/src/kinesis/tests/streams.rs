use std::time::Duration;

use serde_json::json;

use super::Rig;
use crate::Limits;
use crate::kinesis::Kinesis;

#[test]
fn a_new_stream_is_described() {
    let mut rig = Rig::new(2);
    let created = rig.secs();
    let summary =
        rig.ok("DescribeStreamSummary", json!({"StreamName": "s"}))["StreamDescriptionSummary"]
            .take();
    assert_eq!(
        summary,
        json!({
            "StreamName": "s",
            "StreamARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/s",
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"},
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": created,
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE",
            "OpenShardCount": 2,
            "ConsumerCount": 0,
            "MaxRecordSizeInKiB": 1024,
        })
    );
    let description =
        rig.ok("DescribeStream", json!({"StreamARN": summary["StreamARN"], "Limit": 1}));
    let description = &description["StreamDescription"];
    assert_eq!(
        (&description["HasMoreShards"], &description["StreamStatus"]),
        (&json!(true), &json!("ACTIVE"))
    );
    let shard = &description["Shards"][0];
    assert_eq!(
        shard["HashKeyRange"],
        json!({"StartingHashKey": "0", "EndingHashKey": ((1_u128 << 127) - 1).to_string()})
    );
    assert_eq!(shard["SequenceNumberRange"]["StartingSequenceNumber"].as_str().unwrap().len(), 56);
    assert!(shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null());
    let rest = rig.ok(
        "DescribeStream",
        json!({"StreamName": "s", "ExclusiveStartShardId": "shardId-000000000000"}),
    );
    assert_eq!(super::ids(&rest["StreamDescription"]), [1]);
}

#[test]
fn on_demand_starts_with_four_shards() {
    let mut rig = Rig::new(1);
    rig.ok(
        "CreateStream",
        json!({"StreamName": "d", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}),
    );
    let summary = rig.ok("DescribeStreamSummary", json!({"StreamName": "d"}));
    assert_eq!(summary["StreamDescriptionSummary"]["OpenShardCount"], 4);
    assert_eq!(summary["StreamDescriptionSummary"]["StreamModeDetails"]["StreamMode"], "ON_DEMAND");
    let split = json!({"StreamName": "d", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "9"});
    assert_eq!(rig.err("SplitShard", split), "ValidationException");
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/d";
    rig.ok(
        "UpdateStreamMode",
        json!({"StreamARN": arn, "StreamModeDetails": {"StreamMode": "PROVISIONED"}}),
    );
    rig.ok(
        "UpdateShardCount",
        json!({"StreamARN": arn, "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"}),
    );
    let limits = rig.ok("DescribeLimits", json!({}));
    assert_eq!((&limits["OpenShardCount"], &limits["OnDemandStreamCount"]), (&json!(3), &json!(0)));
}

#[test]
fn streams_are_listed_in_pages() {
    let mut rig = Rig::new(1);
    for name in ["a", "b", "t"] {
        rig.ok("CreateStream", json!({"StreamName": name, "ShardCount": 1}));
    }
    let first = rig.ok("ListStreams", json!({"Limit": 3}));
    assert_eq!(
        (&first["StreamNames"], &first["HasMoreStreams"]),
        (&json!(["a", "b", "s"]), &json!(true))
    );
    let second = rig.ok("ListStreams", json!({"NextToken": first["NextToken"]}));
    assert_eq!((&second["StreamNames"], &second["HasMoreStreams"]), (&json!(["t"]), &json!(false)));
    assert!(second["NextToken"].is_null());
    assert_eq!(second["StreamSummaries"][0]["StreamStatus"], "ACTIVE");
    assert_eq!(
        rig.ok("ListStreams", json!({"ExclusiveStartStreamName": "b"}))["StreamNames"],
        json!(["s", "t"])
    );
    assert_eq!(rig.err("ListStreams", json!({"NextToken": "x"})), "InvalidArgumentException");
}

#[test]
fn a_stream_is_created_once_and_deleted_for_good() {
    let mut rig = Rig::new(1);
    assert_eq!(
        rig.err("CreateStream", json!({"StreamName": "s", "ShardCount": 1})),
        "ResourceInUseException"
    );
    rig.put("old");
    let iterator = rig.iterator(0, "TRIM_HORIZON");
    rig.ok("DeleteStream", json!({"StreamName": "s"}));
    assert_eq!(rig.err("DescribeStream", json!({"StreamName": "s"})), "ResourceNotFoundException");
    assert_eq!(
        rig.err("GetRecords", json!({"ShardIterator": iterator})),
        "ResourceNotFoundException"
    );
    rig.ok("CreateStream", json!({"StreamName": "s", "ShardCount": 1}));
    assert_eq!(
        rig.err("GetRecords", json!({"ShardIterator": iterator})),
        "InvalidArgumentException"
    );
    assert_eq!(rig.drain(0), Vec::<String>::new());
}

#[test]
fn transitions_take_the_time_they_are_given() {
    let delay = Duration::from_secs(10);
    let mut rig = Rig::empty(Kinesis::new("1", "r", Limits::none(), 1).with_transition(delay));
    let status = |rig: &mut Rig| {
        let reply = rig.call("DescribeStreamSummary", &json!({"StreamName": "s"}));
        reply.map(|reply| {
            reply["StreamDescriptionSummary"]["StreamStatus"].as_str().unwrap().to_owned()
        })
    };
    rig.ok("CreateStream", json!({"StreamName": "s", "ShardCount": 1}));
    assert_eq!(status(&mut rig), Ok("CREATING".to_owned()));
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": ""});
    assert_eq!(rig.err("PutRecord", put.clone()), "ResourceNotFoundException");
    let creating = rig.secs() + 1.0;
    rig.pass(delay);
    assert_eq!(status(&mut rig), Ok("ACTIVE".to_owned()));
    assert_eq!(rig.shards(json!({"Type": "AT_TIMESTAMP", "Timestamp": creating})), [0]);

    let split = json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "9"});
    rig.ok("SplitShard", split.clone());
    assert_eq!(status(&mut rig), Ok("UPDATING".to_owned()));
    assert_eq!(rig.err("SplitShard", split), "ResourceInUseException");
    assert_eq!(rig.ok("PutRecord", put.clone())["ShardId"], "shardId-000000000000");
    rig.pass(delay);
    assert_eq!(rig.ok("PutRecord", put)["ShardId"], "shardId-000000000002");

    let merge = json!({"StreamName": "s", "ShardToMerge": "1", "AdjacentShardToMerge": "2"});
    rig.ok("MergeShards", merge);
    rig.pass(delay / 2);
    rig.ok("DeleteStream", json!({"StreamName": "s"}));
    rig.pass(delay / 2);
    assert_eq!(status(&mut rig), Ok("DELETING".to_owned()));
    rig.pass(delay / 2);
    assert_eq!(status(&mut rig), Err("ResourceNotFoundException".to_owned()));
}

#[test]
fn a_stream_is_meant_by_name_or_arn() {
    let mut rig = Rig::new(1);
    let arn =
        |account: &str, name: &str| format!("arn:aws:kinesis:eu-west-1:{account}:stream/{name}");
    let own = arn("123456789012", "s");
    rig.ok("ListShards", json!({"StreamARN": own}));
    rig.ok("ListShards", json!({"StreamARN": own, "StreamName": "s"}));
    for (request, error) in [
        (json!({"StreamARN": own, "StreamName": "other"}), "InvalidArgumentException"),
        (json!({"StreamARN": arn("999999999999", "s")}), "ResourceNotFoundException"),
        (json!({"StreamARN": "s"}), "ValidationException"),
        (json!({"StreamName": "a b"}), "ValidationException"),
        (json!({"StreamName": ""}), "ValidationException"),
        (json!({}), "InvalidArgumentException"),
    ] {
        assert_eq!(rig.err("DescribeStream", request.clone()), error, "{request}");
    }
}

#[test]
fn tags_come_and_go() {
    let mut rig = Rig::new(1);
    rig.ok("AddTagsToStream", json!({"StreamName": "s", "Tags": {"a": "1", "b": "2", "c": ""}}));
    rig.ok("RemoveTagsFromStream", json!({"StreamName": "s", "TagKeys": ["b", "never there"]}));
    let tags = rig.ok("ListTagsForStream", json!({"StreamName": "s", "Limit": 1}));
    assert_eq!(tags, json!({"Tags": [{"Key": "a", "Value": "1"}], "HasMoreTags": true}));
    let tags = rig.ok("ListTagsForStream", json!({"StreamName": "s", "ExclusiveStartTagKey": "a"}));
    assert_eq!(tags, json!({"Tags": [{"Key": "c", "Value": ""}], "HasMoreTags": false}));
    let many: serde_json::Map<_, _> = (0..49).map(|n| (format!("t{n}"), json!("v"))).collect();
    assert_eq!(
        rig.err("AddTagsToStream", json!({"StreamName": "s", "Tags": many})),
        "InvalidArgumentException"
    );
    assert_eq!(
        rig.err("AddTagsToStream", json!({"StreamName": "s", "Tags": {"%": ""}})),
        "InvalidArgumentException"
    );
    assert_eq!(
        rig.err("AddTagsToStream", json!({"StreamName": "s", "Tags": {"": ""}})),
        "ValidationException"
    );
    assert_eq!(
        rig.ok("ListTagsForStream", json!({"StreamName": "s"}))["Tags"].as_array().unwrap().len(),
        2
    );
}
