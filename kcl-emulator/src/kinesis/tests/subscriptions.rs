use std::time::Duration;

use serde_json::{Value, json};

use super::{Rig, Sent, texts};
use crate::kinesis::{Entry, Kinesis, SubscriptionId};
use crate::{Limits, Protocol};

const SECOND: Duration = Duration::from_secs(1);

fn latest() -> Value {
    json!({"Type": "LATEST"})
}

/// A rig with an active consumer, and its ARN.
fn rig(shards: u32) -> (Rig, String) {
    let mut rig = Rig::new(shards);
    let arn = rig.consumer("c");
    (rig, arn)
}

impl Rig {
    /// Subscribes and takes the initial response.
    #[track_caller]
    fn open(&mut self, arn: &str, shard: u32, position: Value) -> SubscriptionId {
        let id = self.subscribe(arn, shard, position).unwrap();
        assert_eq!(self.step(id), Sent::Initial);
        id
    }

    #[track_caller]
    fn event(&mut self, id: SubscriptionId) -> Value {
        match self.step(id) {
            Sent::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn waits(&mut self, id: SubscriptionId) -> Duration {
        match self.step(id) {
            Sent::Wait(wait) => wait,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_position_starts_where_it_says() {
    let (mut rig, arn) = rig(1);
    let mut numbers = Vec::new();
    for data in ["a", "b", "c"] {
        numbers.push(rig.put(data)["SequenceNumber"].clone());
        rig.pass(SECOND);
    }
    let at = rig.secs() - 2.0;
    for (position, expected) in [
        (json!({"Type": "TRIM_HORIZON"}), "abc"),
        (json!({"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": numbers[1]}), "bc"),
        (json!({"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": numbers[1]}), "c"),
        (json!({"Type": "AT_TIMESTAMP", "Timestamp": at}), "bc"),
        (json!({"Type": "AT_TIMESTAMP", "Timestamp": at + 0.001}), "c"),
    ] {
        let id = rig.open(&arn, 0, position.clone());
        let event = rig.event(id);
        assert_eq!(texts(&event).concat(), expected, "{position}");
        assert_eq!(event["ContinuationSequenceNumber"], numbers[2]);
        assert_eq!(event["MillisBehindLatest"], 0);
        assert!(event["ChildShards"].is_null());
        rig.waits(id);
        rig.pass(5 * SECOND);
    }
    let id = rig.open(&arn, 0, latest());
    rig.waits(id);
    rig.put("d");
    assert_eq!(texts(&rig.event(id)), ["d"]);
}

#[test]
fn bad_subscriptions_are_refused() {
    let (mut rig, arn) = rig(1);
    let later = rig.secs() + 60.0;
    for (consumer, shard, position, error) in [
        ("nonsense", "shardId-000000000000", latest(), "InvalidArgumentException"),
        (&format!("{arn}0"), "shardId-000000000000", latest(), "ResourceNotFoundException"),
        (&arn, "shardId-000000000009", latest(), "ResourceNotFoundException"),
        (&arn, "a b", latest(), "ValidationException"),
        (&arn, "0", json!({}), "ValidationException"),
        (&arn, "0", Value::Null, "ValidationException"),
        (&arn, "0", json!({"Type": "NEWEST"}), "ValidationException"),
        (&arn, "0", json!({"Type": "AT_SEQUENCE_NUMBER"}), "InvalidArgumentException"),
        (
            &arn,
            "0",
            json!({"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": "7"}),
            "InvalidArgumentException",
        ),
        (
            &arn,
            "0",
            json!({"Type": "AT_TIMESTAMP", "Timestamp": later}),
            "InvalidArgumentException",
        ),
        (&arn, "0", json!({"Type": 7}), "SerializationException"),
    ] {
        let request =
            json!({"ConsumerARN": consumer, "ShardId": shard, "StartingPosition": position});
        assert_eq!(rig.subscribe_with(&request), Err(error.to_owned()), "{request}");
    }
    rig.open(&arn, 0, latest());
}

#[test]
fn a_put_wakes_the_subscriptions_of_its_shard() {
    let (mut rig, arn) = rig(2);
    let (low, high) = (rig.open(&arn, 0, latest()), rig.open(&arn, 1, latest()));
    assert_eq!(rig.waits(low), 5 * SECOND);
    rig.waits(high);
    assert_eq!(rig.kinesis.take_woken(), []);
    rig.put_at(0, "a");
    rig.put_at(0, "b");
    assert_eq!(rig.kinesis.take_woken(), [low]);
    assert_eq!(rig.kinesis.take_woken(), []);
    rig.put_at(u128::MAX, "c");
    assert_eq!(rig.kinesis.take_woken(), [high]);
    assert_eq!(texts(&rig.event(low)), ["a", "b"]);
    assert_eq!(texts(&rig.event(high)), ["c"]);
}

#[test]
fn an_idle_subscription_says_something_every_five_seconds() {
    let (mut rig, arn) = rig(1);
    let last = rig.put("a")["SequenceNumber"].clone();
    let id = rig.open(&arn, 0, json!({"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": last}));
    let mut before = last.as_str().unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(rig.waits(id), 5 * SECOND);
        rig.pass(Duration::from_millis(4_999));
        assert_eq!(rig.waits(id), Duration::from_millis(1));
        rig.pass(Duration::from_millis(1));
        let event = rig.event(id);
        assert_eq!((texts(&event), &event["MillisBehindLatest"]), (Vec::new(), &json!(0)));
        let continuation = event["ContinuationSequenceNumber"].as_str().unwrap().to_owned();
        assert!(continuation > before, "{continuation} after {before}");
        before = continuation;
    }
    // It goes on from there and repeats nothing.
    rig.put("b");
    let id = rig.open(&arn, 0, json!({"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": before}));
    assert_eq!(texts(&rig.event(id)), ["b"]);
}

#[test]
fn a_continuation_before_the_first_record_loses_nothing() {
    for kind in ["TRIM_HORIZON", "LATEST"] {
        for again in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
            let (mut rig, arn) = rig(1);
            let id = rig.open(&arn, 0, json!({"Type": kind}));
            rig.pass(5 * SECOND);
            let continuation = rig.event(id)["ContinuationSequenceNumber"].take();
            rig.put("a");
            let id = rig.open(&arn, 0, json!({"Type": again, "SequenceNumber": continuation}));
            assert_eq!(texts(&rig.event(id)), ["a"], "{kind} {again}");
        }
    }
}

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
fn one_call_a_second_for_each_consumer_and_shard() {
    let mut rig = Rig::with_limits(2, Limits::aws());
    let arn = rig.consumer("c");
    rig.open(&arn, 0, latest());
    rig.open(&arn, 1, latest());
    rig.pass(Duration::from_millis(4_500));
    assert_eq!(rig.subscribe(&arn, 0, latest()), Err("ResourceInUseException".into()));
    rig.pass(Duration::from_millis(500));
    assert_eq!(rig.subscribe(&arn, 0, latest()), Err("LimitExceededException".into()));
    rig.open(&arn, 1, latest());
    rig.pass(Duration::from_millis(500));
    rig.open(&arn, 0, latest());
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

#[test]
fn two_mib_a_second_for_each_consumer_and_shard() {
    let mut rig = Rig::with_limits(1, Limits::aws());
    let arn = rig.consumer("c");
    let half = vec![0; (1 << 19) - 1];
    let entry = |_| Entry { data: &half, partition_key: "k", explicit_hash_key: None };
    rig.kinesis.load(rig.now, "s", (0..40).map(entry)).unwrap();
    let id = rig.open(&arn, 0, json!({"Type": "TRIM_HORIZON"}));
    let (start, mut records) = (rig.age(), 0);
    while records < 40 {
        match rig.step(id) {
            Sent::Wait(wait) => {
                assert!(wait > Duration::ZERO);
                rig.pass(wait);
            }
            Sent::Event(event) => {
                let count = event["Records"].as_array().unwrap().len();
                assert!(count == 2 || event["MillisBehindLatest"] != 0);
                records += count;
            }
            other => panic!("{other:?}"),
        }
    }
    // 20 MiB: a saved-up second and the debt of the last event shorten it.
    let seconds = (rig.age() - start).as_secs_f64();
    assert!((8.4..=9.1).contains(&seconds), "{seconds} s");
}

#[test]
fn a_record_is_pushed_after_the_delay() {
    let kinesis = Kinesis::new("123456789012", "eu-west-1", Limits::none(), 1);
    let mut rig = Rig::empty(kinesis.with_push_delay(Duration::from_millis(70)));
    rig.ok("CreateStream", json!({"StreamName": "s", "ShardCount": 1}));
    let arn = rig.consumer("c");
    let id = rig.open(&arn, 0, latest());
    rig.waits(id);
    rig.put("a");
    rig.pass(Duration::from_millis(20));
    rig.put("b");
    assert_eq!(rig.waits(id), Duration::from_millis(50));
    rig.pass(Duration::from_millis(50));
    assert_eq!(texts(&rig.event(id)), ["a"]);
    assert_eq!(rig.waits(id), Duration::from_millis(20));
    rig.pass(Duration::from_millis(20));
    assert_eq!(texts(&rig.event(id)), ["b"]);
}

#[test]
fn a_subscription_made_in_cbor_is_answered_in_cbor() {
    use ciborium::value::Value as Cbor;
    let (mut rig, arn) = rig(1);
    rig.put("a");
    let text = |text: &str| Cbor::Text(text.to_owned());
    let position = Cbor::Map(vec![(text("Type"), text("TRIM_HORIZON"))]);
    let request = Cbor::Map(vec![
        (text("ConsumerARN"), text(&arn)),
        (text("ShardId"), text("shardId-000000000000")),
        (text("StartingPosition"), position),
    ]);
    let mut body = Vec::new();
    ciborium::into_writer(&request, &mut body).unwrap();
    let id = rig.kinesis.subscribe(Protocol::Cbor, rig.now, &body).unwrap();
    let frames = [rig.frame(id).unwrap(), rig.frame(id).unwrap()];
    for frame in &frames {
        assert_eq!(super::header(frame, ":content-type"), "application/x-amz-cbor-1.1");
    }
    assert_eq!(frames[0].payload()[..], *b"\xa0");
    let event: Cbor = ciborium::from_reader(&frames[1].payload()[..]).unwrap();
    let members = event.as_map().unwrap();
    assert_eq!(members[0].0, text("Records"));
    assert_eq!(
        members[0].1.as_array().unwrap()[0].as_map().unwrap()[0].1,
        Cbor::Bytes(b"a".to_vec())
    );
    assert_eq!(members[1].0, text("ContinuationSequenceNumber"));
}
