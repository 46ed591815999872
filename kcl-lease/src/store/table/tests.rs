use aws_sdk_dynamodb::types::{
    AttributeDefinition, GlobalSecondaryIndexDescription, IndexStatus, KeySchemaElement, KeyType,
    ScalarAttributeType,
};

use super::*;

fn table(status: TableStatus, key_type: ScalarAttributeType) -> TableDescription {
    let key = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash);
    let attribute =
        AttributeDefinition::builder().attribute_name("leaseKey").attribute_type(key_type);
    let index = GlobalSecondaryIndexDescription::builder().index_status(IndexStatus::Creating);
    TableDescription::builder()
        .table_status(status)
        .key_schema(key.build().unwrap())
        .attribute_definitions(attribute.build().unwrap())
        .global_secondary_indexes(index.build())
        .build()
}

#[test]
fn a_table_is_usable_while_its_index_is_built() {
    use ScalarAttributeType::{N, S};
    for (status, key, expected) in [
        (TableStatus::Active, S, "Usable"),
        (TableStatus::Updating, S, "Usable"),
        (TableStatus::Creating, S, "Changing(\"CREATING\")"),
        (TableStatus::Deleting, S, "Changing(\"DELETING\")"),
        (TableStatus::Archived, S, "Changing(\"ARCHIVED\")"),
        (TableStatus::Active, N, "Foreign("),
    ] {
        let seen = format!("{:?}", judge(&table(status.clone(), key)));
        assert!(seen.starts_with(expected), "{status:?}: {seen}");
    }
}

fn error(kind: StoreErrorKind) -> Result<String, StoreError> {
    Err(StoreError::new("DescribeTable", kind, "test"))
}

#[test]
fn a_wait_ends_with_a_refusal_a_long_outage_or_after_ten_minutes() {
    let start = Clock::system().now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let creating = || Ok("CREATING".to_owned());

    let mut wait = Wait::new(start);
    for seconds in 0..600 {
        wait.judge(after(seconds), "t", creating()).unwrap();
    }
    assert!(wait.judge(after(600), "t", creating()).is_err());

    let mut wait = Wait::new(start);
    assert!(wait.judge(after(0), "t", error(StoreErrorKind::AccessDenied)).is_err());

    let mut wait = Wait::new(start);
    wait.judge(after(0), "t", error(StoreErrorKind::Throttled)).unwrap();
    wait.judge(after(29), "t", error(StoreErrorKind::Unavailable)).unwrap();
    wait.judge(after(30), "t", creating()).unwrap();
    wait.judge(after(31), "t", error(StoreErrorKind::Unavailable)).unwrap();
    wait.judge(after(60), "t", error(StoreErrorKind::Unavailable)).unwrap();
    assert!(wait.judge(after(61), "t", error(StoreErrorKind::Unavailable)).is_err());
}

#[test]
fn pauses_grow_from_50_ms_to_a_second() {
    let mut wait = Wait::new(Clock::system().now());
    let pauses: Vec<u128> = (0..7).map(|_| wait.next_pause().as_millis()).collect();
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1_000, 1_000]);
}
