use std::time::Duration;

use serde_json::{Value, json};

use super::Rig;
use crate::Limits;
use crate::kinesis::Kinesis;

const STREAM: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/s";

fn register(name: &str) -> Value {
    json!({"StreamARN": STREAM, "ConsumerName": name})
}

fn status(rig: &mut Rig, arn: &str) -> Value {
    let described = rig.ok("DescribeStreamConsumer", json!({"ConsumerARN": arn}));
    described["ConsumerDescription"]["ConsumerStatus"].clone()
}

#[test]
fn a_consumer_is_created_becomes_active_and_goes() {
    let mut rig = Rig::new(1);
    let consumer = rig.ok("RegisterStreamConsumer", register("c"))["Consumer"].take();
    let arn = consumer["ConsumerARN"].as_str().unwrap().to_owned();
    assert_eq!(arn, format!("{STREAM}/consumer/c:{}", rig.secs()));
    assert_eq!(consumer["ConsumerStatus"], "CREATING");
    assert_eq!(status(&mut rig, &arn), "CREATING");
    assert_eq!(
        rig.subscribe(&arn, 0, json!({"Type": "LATEST"})),
        Err("ResourceInUseException".into())
    );
    rig.pass(Duration::from_millis(500));
    assert_eq!(status(&mut rig, &arn), "ACTIVE");
    let by_name = rig.ok("DescribeStreamConsumer", register("c"))["ConsumerDescription"].take();
    assert_eq!(by_name["StreamARN"], STREAM);
    assert_eq!(by_name["ConsumerARN"], arn.as_str());
    assert_eq!(by_name["ConsumerCreationTimestamp"], consumer["ConsumerCreationTimestamp"]);
    let summary = rig.ok("DescribeStreamSummary", json!({"StreamName": "s"}));
    assert_eq!(summary["StreamDescriptionSummary"]["ConsumerCount"], 1);

    rig.ok("DeregisterStreamConsumer", json!({"ConsumerARN": arn}));
    assert_eq!(status(&mut rig, &arn), "DELETING");
    assert_eq!(rig.err("RegisterStreamConsumer", register("c")), "ResourceInUseException");
    rig.pass(Duration::from_secs(1));
    for operation in ["DescribeStreamConsumer", "DeregisterStreamConsumer"] {
        assert_eq!(rig.err(operation, json!({"ConsumerARN": arn})), "ResourceNotFoundException");
    }
    // The same name again is another consumer.
    rig.ok("RegisterStreamConsumer", register("c"));
    assert_eq!(
        rig.err("DescribeStreamConsumer", json!({"ConsumerARN": arn})),
        "ResourceNotFoundException"
    );
}

#[test]
fn a_consumer_is_named_by_its_arn_or_by_name_and_stream() {
    let mut rig = Rig::new(1);
    let arn = rig.consumer("c");
    let other = "arn:aws:kinesis:eu-west-1:123456789012:stream/t";
    for (request, error) in [
        (json!({}), "InvalidArgumentException"),
        (json!({"StreamARN": STREAM}), "InvalidArgumentException"),
        (json!({"ConsumerName": "c"}), "InvalidArgumentException"),
        (json!({"ConsumerARN": "nonsense"}), "InvalidArgumentException"),
        (
            json!({"ConsumerARN": arn, "StreamARN": other, "ConsumerName": "c"}),
            "InvalidArgumentException",
        ),
        (
            json!({"ConsumerARN": arn, "StreamARN": STREAM, "ConsumerName": "d"}),
            "InvalidArgumentException",
        ),
        (json!({"StreamARN": STREAM, "ConsumerName": "a b"}), "ValidationException"),
        (json!({"StreamARN": STREAM, "ConsumerName": "d"}), "ResourceNotFoundException"),
        (json!({"StreamARN": other, "ConsumerName": "c"}), "ResourceNotFoundException"),
        (json!({"ConsumerARN": format!("{STREAM}/consumer/c:1")}), "ResourceNotFoundException"),
    ] {
        assert_eq!(rig.err("DescribeStreamConsumer", request.clone()), error, "{request}");
    }
    rig.ok(
        "DescribeStreamConsumer",
        json!({"ConsumerARN": arn, "StreamARN": STREAM, "ConsumerName": "c"}),
    );
}

#[test]
fn a_stream_has_twenty_consumers_and_five_in_creation() {
    let mut rig = Rig::new(1);
    for n in 0..20 {
        if n > 0 && n % 5 == 0 {
            assert_eq!(rig.err("RegisterStreamConsumer", register("x")), "LimitExceededException");
            rig.pass(Duration::from_secs(1));
        }
        rig.ok("RegisterStreamConsumer", register(&format!("c{n}")));
    }
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.err("RegisterStreamConsumer", register("x")), "LimitExceededException");
}

#[test]
fn consumers_are_listed_in_pages() {
    let mut rig = Rig::new(1);
    for name in ["a", "b", "c", "d", "e"] {
        rig.consumer(name);
    }
    let names = |page: &Value| {
        let consumers = page["Consumers"].as_array().unwrap().iter();
        consumers
            .map(|c| c["ConsumerName"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .concat()
    };
    let page = rig.ok("ListStreamConsumers", json!({"StreamARN": STREAM}));
    assert_eq!((names(&page).as_str(), &page["NextToken"]), ("abcde", &Value::Null));
    let page = rig.ok("ListStreamConsumers", json!({"StreamARN": STREAM, "MaxResults": 2}));
    assert_eq!(names(&page), "ab");
    let next = json!({"StreamARN": STREAM, "MaxResults": 3, "NextToken": page["NextToken"]});
    let page = rig.ok("ListStreamConsumers", next.clone());
    assert_eq!((names(&page).as_str(), &page["NextToken"]), ("cde", &Value::Null));
    rig.pass(Duration::from_millis(300_001));
    assert_eq!(rig.err("ListStreamConsumers", next), "ExpiredNextTokenException");
    for (request, error) in [
        (json!({}), "ValidationException"),
        (json!({"StreamARN": STREAM, "MaxResults": 0}), "ValidationException"),
        (json!({"StreamARN": STREAM, "NextToken": "x"}), "InvalidArgumentException"),
        (json!({"StreamARN": STREAM, "StreamCreationTimestamp": 1}), "ResourceNotFoundException"),
    ] {
        assert_eq!(rig.err("ListStreamConsumers", request.clone()), error, "{request}");
    }
}

#[test]
fn a_stream_with_consumers_is_deleted_only_if_that_is_asked_for() {
    let mut rig = Rig::new(1);
    rig.consumer("c");
    assert_eq!(rig.err("DeleteStream", json!({"StreamName": "s"})), "ResourceInUseException");
    rig.ok("DeleteStream", json!({"StreamName": "s", "EnforceConsumerDeletion": true}));
}

#[test]
fn five_registrations_a_second() {
    let kinesis = Kinesis::new("123456789012", "eu-west-1", Limits::aws(), 1);
    let mut rig = Rig::empty(kinesis.with_consumer_transition(Duration::ZERO));
    rig.ok("CreateStream", json!({"StreamName": "s", "ShardCount": 1}));
    for n in 0..5 {
        rig.ok("RegisterStreamConsumer", register(&format!("c{n}")));
    }
    assert_eq!(rig.err("RegisterStreamConsumer", register("c5")), "LimitExceededException");
    for n in 0..5 {
        rig.ok("DeregisterStreamConsumer", register(&format!("c{n}")));
    }
    rig.pass(Duration::from_millis(200));
    rig.ok("RegisterStreamConsumer", register("c5"));
}
