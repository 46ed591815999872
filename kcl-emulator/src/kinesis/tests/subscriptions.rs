use std::time::Duration;

use serde_json::{Value, json};

use super::{Rig, Sent, texts};
use crate::kinesis::{Entry, Kinesis, SubscriptionId};
use crate::{Limits, Protocol};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn latest() -> Value {
    json!({"Type": "LATEST"})
}

/// A rig with an active consumer, and its ARN.
pub(super) fn rig(shards: u32) -> (Rig, String) {
    let mut rig = Rig::new(shards);
    let arn = rig.consumer("c");
    (rig, arn)
}

impl Rig {
    /// Subscribes and takes the initial response.
    #[track_caller]
    pub(super) fn open(&mut self, arn: &str, shard: u32, position: Value) -> SubscriptionId {
        let id = self.subscribe(arn, shard, position).unwrap();
        assert_eq!(self.step(id), Sent::Initial);
        id
    }

    #[track_caller]
    pub(super) fn event(&mut self, id: SubscriptionId) -> Value {
        match self.step(id) {
            Sent::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn waits(&mut self, id: SubscriptionId) -> Duration {
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
fn an_event_has_no_more_records_than_it_may() {
    let kinesis = Kinesis::new("123456789012", "eu-west-1", Limits::none(), 1);
    let mut rig = Rig::empty(kinesis.with_event_records(2));
    rig.ok("CreateStream", json!({"StreamName": "s", "ShardCount": 1}));
    let arn = rig.consumer("c");
    for text in ["a", "b", "c"] {
        rig.put(text);
    }
    let id = rig.open(&arn, 0, json!({"Type": "TRIM_HORIZON"}));
    assert_eq!(texts(&rig.event(id)), ["a", "b"]);
    assert_eq!(texts(&rig.event(id)), ["c"]);
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
