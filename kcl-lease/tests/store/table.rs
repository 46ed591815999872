//! How the table comes to be.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoveryStatus,
    ProjectionType, ScalarAttributeType, TableDescription,
};
use futures_util::future::join_all;
use kcl_core::Clock;
use kcl_core::leasing::LeasingError;
use kcl_emulator::{Emulator, Fault, Rule};
use kcl_lease::store::{DynamoStore, LeaseStore, TablePolicy, TableSpec};

use crate::{TABLE, lease, prepared};

fn unprepared() -> (Emulator, Client, DynamoStore) {
    let emulator = Emulator::builder().build();
    let client = Client::new(&emulator.sdk_config());
    let store = DynamoStore::new(&client, TABLE);
    (emulator, client, store)
}

fn denied(operation: &str) -> Rule {
    let denied = Fault::Custom {
        status: 400,
        error: "AccessDeniedException".to_owned(),
        message: "not authorized".to_owned(),
    };
    Rule::new(denied).operation(operation)
}

async fn describe(client: &Client) -> TableDescription {
    client.describe_table().table_name(TABLE).send().await.unwrap().table.unwrap()
}

async fn recovery(client: &Client) -> PointInTimeRecoveryStatus {
    let backups = client.describe_continuous_backups().table_name(TABLE).send().await.unwrap();
    let backups = backups.continuous_backups_description.unwrap();
    backups.point_in_time_recovery_description.unwrap().point_in_time_recovery_status.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_table_is_created_in_one_go_with_the_index_of_java_3() {
    let (emulator, client, store) = unprepared();
    store.prepare().await.unwrap();
    let table = describe(&client).await;
    let billing = table.billing_mode_summary().unwrap().billing_mode();
    assert_eq!(billing, Some(&BillingMode::PayPerRequest));
    assert_eq!(table.deletion_protection_enabled(), Some(false));
    let key = |schema: &[KeySchemaElement]| {
        let part = |e: &KeySchemaElement| (e.attribute_name().to_owned(), e.key_type().clone());
        schema.iter().map(part).collect::<Vec<_>>()
    };
    assert_eq!(key(table.key_schema()), [("leaseKey".to_owned(), KeyType::Hash)]);
    let [index] = table.global_secondary_indexes() else { panic!("{table:?}") };
    assert_eq!(index.index_name(), Some("LeaseOwnerToLeaseKeyIndex"));
    assert_eq!(
        key(index.key_schema()),
        [("leaseOwner".to_owned(), KeyType::Hash), ("leaseKey".to_owned(), KeyType::Range)]
    );
    let projection = index.projection().unwrap().projection_type();
    assert_eq!(projection, Some(&ProjectionType::KeysOnly));
    assert_eq!(recovery(&client).await, PointInTimeRecoveryStatus::Disabled);

    store.prepare().await.unwrap();
    assert_eq!(emulator.counts()["dynamodb:CreateTable"], 1);
    assert!(!emulator.counts().contains_key("dynamodb:UpdateTable"));
    assert!(!emulator.counts().contains_key("dynamodb:UpdateContinuousBackups"));
}

#[tokio::test(start_paused = true)]
async fn protection_recovery_and_tags_are_as_asked_for() {
    let (_emulator, client, store) = unprepared();
    let spec = TableSpec::default()
        .deletion_protection(true)
        .point_in_time_recovery(true)
        .tag("team", "orders")
        .tag("stage", "test");
    store.table_policy(TablePolicy::CreateIfMissing(spec)).prepare().await.unwrap();
    let table = describe(&client).await;
    assert_eq!(table.deletion_protection_enabled(), Some(true));
    assert_eq!(recovery(&client).await, PointInTimeRecoveryStatus::Enabled);
    let tags = client.list_tags_of_resource().resource_arn(table.table_arn().unwrap());
    let tags = tags.send().await.unwrap();
    let mut tags: Vec<_> = tags.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
    tags.sort_unstable();
    assert_eq!(tags, [("stage", "test"), ("team", "orders")]);
}

#[tokio::test(start_paused = true)]
async fn recovery_waits_for_the_backups_and_gives_way_when_refused() {
    for (error, requests) in
        [("AccessDeniedException", 1), ("ContinuousBackupsUnavailableException", 15)]
    {
        let (emulator, client, store) = unprepared();
        let refused =
            Fault::Custom { status: 400, error: error.to_owned(), message: "not now".to_owned() };
        emulator.faults().add(Rule::new(refused).operation("UpdateContinuousBackups"));
        let spec = TableSpec::default().point_in_time_recovery(true);
        store.table_policy(TablePolicy::CreateIfMissing(spec)).prepare().await.unwrap();
        assert_eq!(emulator.counts()["dynamodb:UpdateContinuousBackups"], requests);
        assert_eq!(recovery(&client).await, PointInTimeRecoveryStatus::Disabled);
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_must_exist_is_never_created() {
    let (emulator, _client, store) = unprepared();
    let store = store.table_policy(TablePolicy::MustExist);
    let error = store.prepare().await.unwrap_err();
    assert!(matches!(&error, LeasingError::TableMissing { table } if table == TABLE), "{error}");
    assert!(!emulator.counts().contains_key("dynamodb:CreateTable"));
    prepared(&emulator).await;
    store.prepare().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn workers_that_start_together_share_one_table() {
    let (emulator, client, _) = unprepared();
    let workers: Vec<_> = (0..8).map(|_| DynamoStore::new(&client, TABLE)).collect();
    // Each looks before any creates: the emulator answers the first looks late.
    let slow = Fault::LateReply(Duration::from_millis(500));
    emulator.faults().add(Rule::new(slow).operation("DescribeTable").first(8));
    for outcome in join_all(workers.iter().map(LeaseStore::prepare)).await {
        outcome.unwrap();
    }
    assert_eq!(emulator.counts()["dynamodb:CreateTable"], 8);
}

#[tokio::test(start_paused = true)]
async fn another_kind_of_table_is_refused_with_advice() {
    for (keys, found) in [(vec!["wid"], "wid"), (vec!["leaseKey", "at"], "leaseKey+at")] {
        let (_emulator, client, store) = unprepared();
        let mut request =
            client.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
        for (name, role) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
            let key = KeySchemaElement::builder().attribute_name(*name).key_type(role);
            let string = AttributeDefinition::builder()
                .attribute_name(*name)
                .attribute_type(ScalarAttributeType::S);
            request = request
                .key_schema(key.build().unwrap())
                .attribute_definitions(string.build().unwrap());
        }
        request.send().await.unwrap();
        let error = store.prepare().await.unwrap_err();
        assert!(matches!(error, LeasingError::TableForeign { .. }));
        let expected = format!(
            "lease table cannot be used: table=orders-app reason=its key is {found}, \
             not the string leaseKey alone; choose another table name"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_existing_table_needs_neither_create_nor_describe() {
    let (emulator, client, store) = unprepared();
    emulator.faults().add(denied("DescribeTable"));
    emulator.faults().add(denied("CreateTable"));
    let refused = store.prepare().await.unwrap_err();
    assert!(matches!(refused, LeasingError::Unavailable(_)), "{refused:?}");
    let must_exist = store.clone().table_policy(TablePolicy::MustExist);
    let missing = must_exist.prepare().await.unwrap_err();
    assert!(matches!(missing, LeasingError::TableMissing { .. }), "{missing:?}");

    emulator.faults().clear();
    prepared(&emulator).await;
    emulator.faults().add(denied("DescribeTable"));
    emulator.faults().add(denied("CreateTable"));
    store.prepare().await.unwrap();
    assert!(store.create(&lease("shardId-0")).await.unwrap());

    let other = DynamoStore::new(&client, "other-app");
    let key = KeySchemaElement::builder().attribute_name("wid").key_type(KeyType::Hash);
    let string =
        AttributeDefinition::builder().attribute_name("wid").attribute_type(ScalarAttributeType::S);
    emulator.faults().clear();
    let create = client
        .create_table()
        .table_name("other-app")
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key.build().unwrap())
        .attribute_definitions(string.build().unwrap());
    create.send().await.unwrap();
    emulator.faults().add(denied("DescribeTable"));
    let foreign = other.prepare().await.unwrap_err();
    assert!(matches!(foreign, LeasingError::TableForeign { .. }), "{foreign:?}");
}

#[tokio::test(start_paused = true)]
async fn without_any_right_the_refusal_is_told_at_once() {
    let (emulator, _client, store) = unprepared();
    emulator.faults().add(denied("DescribeTable"));
    emulator.faults().add(denied("GetItem"));
    let clock = Clock::system();
    let started = clock.now();
    let error = store.prepare().await.unwrap_err();
    let LeasingError::Unavailable(source) = &error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "DescribeTable failed: kind=AccessDenied");
    assert!((clock.now() - started) < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn an_outage_at_the_start_is_waited_for_but_not_for_ever() {
    let (emulator, _client, store) = unprepared();
    emulator.faults().add(Rule::new(Fault::ErrorBefore(503)).first(10));
    store.prepare().await.unwrap();

    emulator.faults().add(Rule::new(Fault::LostBefore));
    let clock = Clock::system();
    let started = clock.now();
    let error = store.prepare().await.unwrap_err();
    assert!(matches!(error, LeasingError::Unavailable(_)), "{error:?}");
    let waited = (clock.now() - started).as_secs();
    assert!((30..35).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_create_table_does_no_harm() {
    let (emulator, _client, store) = unprepared();
    emulator.faults().add(Rule::new(Fault::LostAfter).operation("CreateTable").nth(1));
    store.prepare().await.unwrap();
    assert!(store.create(&lease("shardId-0")).await.unwrap());
}
