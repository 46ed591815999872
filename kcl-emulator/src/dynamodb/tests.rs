use std::time::{Duration, UNIX_EPOCH};

use super::*;

const CREATE: &str = r#"{"TableName":"leases","BillingMode":"PAY_PER_REQUEST",
    "KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],
    "AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}"#;

fn service(seed: u64) -> DynamoDb {
    DynamoDb::new(EmulatorClock::starting_at(UNIX_EPOCH), seed)
}

fn call(service: &mut DynamoDb, operation: &str, body: &str) -> (u16, String, Value) {
    let Reply { status, error, body, .. } =
        service.call(UNIX_EPOCH + Duration::from_millis(1_500), operation, body.as_bytes());
    (status, error.unwrap_or_default(), serde_json::from_slice(&body).unwrap())
}

#[test]
fn malformed_bodies_get_dynamodbs_errors_and_change_nothing() {
    let mut service = service(1);
    call(&mut service, "CreateTable", CREATE);
    for (operation, body, error) in [
        ("PutItem", "", "SerializationException"),
        ("PutItem", "[", "SerializationException"),
        ("PutItem", "\u{0}", "SerializationException"),
        ("PutItem", r#"{"TableName":7,"Item":{}}"#, "SerializationException"),
        ("PutItem", r#"{"Item":{"k":{"S":"a"}}}"#, "ValidationException"),
        ("PutItem", r#"{"TableName":"leases"}"#, "ValidationException"),
        ("PutItem", r#"{"TableName":"leases","Item":{"k":{}}}"#, "ValidationException"),
        ("PutItem", r#"{"TableName":"leases","Item":{"k":{"N":"1"}}}"#, "ValidationException"),
        (
            "PutItem",
            r#"{"TableName":"nothing","Item":{"k":{"S":"a"}}}"#,
            "ResourceNotFoundException",
        ),
        ("UpdateContinuousBackups", r#"{"TableName":"leases"}"#, "ValidationException"),
        ("putitem", "{}", "UnknownOperationException"),
    ] {
        let (status, name, body) = call(&mut service, operation, body);
        assert_eq!((status, name.as_str()), (400, error), "{body}");
        assert!(body["__type"].as_str().unwrap().ends_with(error), "{body}");
    }
    let (_, _, scan) = call(&mut service, "Scan", r#"{"TableName":"leases"}"#);
    assert_eq!(scan["Count"], 0);
}

#[test]
fn a_table_is_described_by_the_clock_and_the_seed() {
    let describe = |seed| {
        let mut service = service(seed);
        let (_, _, created) = call(&mut service, "CreateTable", CREATE);
        let (_, _, described) = call(&mut service, "DescribeTable", r#"{"TableName":"leases"}"#);
        assert_eq!(described["Table"]["CreationDateTime"], 1.5);
        assert_eq!(described["Table"]["TableId"], created["TableDescription"]["TableId"]);
        described
    };
    assert_eq!(describe(1), describe(1));
    assert_ne!(describe(1), describe(2));
}

#[test]
fn an_item_reads_the_same_in_every_run() {
    let bytes = || {
        let mut service = service(1);
        call(&mut service, "CreateTable", CREATE);
        let item = r#"{"k":{"S":"a"},"b":{"N":"1"},"c":{"N":"2"},"d":{"N":"3"},"e":{"N":"4"}}"#;
        let put = format!(r#"{{"TableName":"leases","Item":{item}}}"#);
        call(&mut service, "PutItem", &put);
        service.call(UNIX_EPOCH, "Scan", br#"{"TableName":"leases"}"#).body
    };
    let first = bytes();
    assert!((0..8).all(|_| bytes() == first));
}
