use std::time::Duration;

use serde_json::json;

use super::subscriptions::{SECOND, latest, rig};
use super::{Rig, Sent, texts};
use crate::Limits;
use crate::kinesis::Kinesis;

#[test]
fn a_subscription_ends_after_five_minutes() {
    let (mut rig, arn) = rig(1);
    let id = rig.open(&arn, 0, latest());
    let mut events = 0;
    loop {
        match rig.step(id) {
            Sent::Wait(wait) => rig.pass(wait),
            Sent::Event(_) => events += 1,
            Sent::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((rig.age(), events), (Duration::from_secs(300), 59));
    assert_eq!(rig.step(id), Sent::End);
}

#[test]
fn a_second_subscription_is_refused_for_five_seconds_and_then_takes_over() {
    let (mut rig, arn) = rig(1);
    let first = rig.open(&arn, 0, latest());
    rig.waits(first);
    for _ in 0..5 {
        assert_eq!(rig.subscribe(&arn, 0, latest()), Err("ResourceInUseException".into()));
        rig.pass(Duration::from_millis(999));
    }
    rig.pass(Duration::from_millis(5));
    let second = rig.open(&arn, 0, latest());
    assert_eq!(rig.kinesis.take_woken(), [first]);
    rig.put("a");
    // The old one ends, with or without a reason.
    let mut end = rig.step(first);
    if let Sent::Exception(error) = &end {
        assert_eq!(error, "ResourceInUseException");
        end = rig.step(first);
    }
    assert_eq!(end, Sent::End);
    assert_eq!(texts(&rig.event(second)), ["a"]);
    rig.pass(5 * SECOND);
    rig.open(&arn, 0, latest());
}

#[test]
fn both_ends_of_an_evicted_subscription_occur() {
    let (mut rig, arn) = rig(1);
    let mut ends = Vec::new();
    for _ in 0..20 {
        let old = rig.open(&arn, 0, latest());
        rig.pass(5 * SECOND);
        rig.open(&arn, 0, latest());
        ends.push(rig.step(old) == Sent::End);
        rig.pass(5 * SECOND);
    }
    assert!(ends.contains(&true) && ends.contains(&false));
}

#[test]
fn a_shard_stays_taken_when_its_subscriber_has_gone() {
    let (mut rig, arn) = rig(1);
    let id = rig.open(&arn, 0, latest());
    rig.kinesis.unsubscribe(id);
    assert_eq!(rig.subscribe(&arn, 0, latest()), Err("ResourceInUseException".into()));
    rig.put("a");
    assert_eq!(rig.kinesis.take_woken(), []);
    rig.pass(5 * SECOND);
    rig.open(&arn, 0, latest());
    // Other shards and other consumers are not concerned.
    let other = rig.consumer("d");
    rig.open(&other, 0, latest());
}

#[test]
fn a_shard_ends_with_its_children_and_no_continuation() {
    // Whether the last records already say it is drawn from the seed.
    let mut ended_with_records = Vec::new();
    for seed in 0..20 {
        let mut rig = Rig::empty(Kinesis::new("123456789012", "eu-west-1", Limits::none(), seed));
        rig.ok("CreateStream", json!({"StreamName": "s", "ShardCount": 1}));
        let arn = rig.consumer("c");
        rig.put("a");
        let id = rig.open(&arn, 0, json!({"Type": "TRIM_HORIZON"}));
        rig.ok(
            "SplitShard",
            json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "1000"}),
        );
        let mut event = rig.event(id);
        assert_eq!(texts(&event), ["a"]);
        ended_with_records.push(event["ContinuationSequenceNumber"].is_null());
        if !event["ContinuationSequenceNumber"].is_null() {
            assert!(event["ChildShards"].is_null());
            event = rig.event(id);
            assert!(texts(&event).is_empty() && event["ContinuationSequenceNumber"].is_null());
        }
        let children = event["ChildShards"].as_array().unwrap();
        assert_eq!(children.len(), 2);
        assert_eq!(children[0]["ParentShards"], json!(["shardId-000000000000"]));
        assert_eq!(children[0]["HashKeyRange"]["EndingHashKey"], "999");
        assert_eq!(rig.step(id), Sent::End);
    }
    assert!(ended_with_records.contains(&true) && ended_with_records.contains(&false));
}

#[test]
fn a_split_wakes_an_idle_subscription_which_ends() {
    let (mut rig, arn) = rig(1);
    let id = rig.open(&arn, 0, latest());
    rig.waits(id);
    rig.ok(
        "SplitShard",
        json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "1000"}),
    );
    assert_eq!(rig.kinesis.take_woken(), [id]);
    assert_eq!(rig.event(id)["ChildShards"].as_array().unwrap().len(), 2);
    assert_eq!(rig.step(id), Sent::End);
    // What is closed and read can be subscribed to again, and says the same.
    rig.pass(5 * SECOND);
    let id = rig.open(&arn, 0, latest());
    assert_eq!(rig.event(id)["ChildShards"].as_array().unwrap().len(), 2);
    assert_eq!(rig.step(id), Sent::End);
}

#[test]
fn a_slow_split_is_waited_for() {
    let kinesis = Kinesis::new("123456789012", "eu-west-1", Limits::none(), 1);
    let mut rig = Rig::empty(kinesis.with_transition(2 * SECOND));
    rig.ok("CreateStream", json!({"StreamName": "s", "ShardCount": 1}));
    rig.pass(2 * SECOND);
    let arn = rig.consumer("c");
    let id = rig.open(&arn, 0, latest());
    rig.ok(
        "SplitShard",
        json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "1000"}),
    );
    assert_eq!(rig.waits(id), 2 * SECOND);
    rig.pass(2 * SECOND);
    assert_eq!(rig.event(id)["ChildShards"].as_array().unwrap().len(), 2);
}

#[test]
fn a_consumer_or_stream_that_goes_takes_its_subscriptions_along() {
    for deletion in ["DeregisterStreamConsumer", "DeleteStream"] {
        let (mut rig, arn) = rig(1);
        let id = rig.open(&arn, 0, latest());
        rig.waits(id);
        let request =
            json!({"ConsumerARN": arn, "StreamName": "s", "EnforceConsumerDeletion": true});
        rig.ok(deletion, request);
        assert_eq!(rig.kinesis.take_woken(), [id], "{deletion}");
        assert_eq!(rig.step(id), Sent::Exception("ResourceNotFoundException".into()));
        assert_eq!(rig.step(id), Sent::End);
        rig.pass(5 * SECOND);
        assert_eq!(rig.subscribe(&arn, 0, latest()), Err("ResourceNotFoundException".into()));
    }
}
