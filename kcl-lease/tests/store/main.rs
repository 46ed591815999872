//! The DynamoDB store against the emulator.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod faults;
mod hostile;
mod leases;
mod table;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use kcl_core::leasing::PendingCheckpoint;
use kcl_core::{Position, WorkerId};
use kcl_emulator::Emulator;
use kcl_lease::store::{Change, DynamoStore, LeaseStore, Outcome, contract};
use kcl_lease::{Lease, LeaseKey};

const TABLE: &str = "orders-app";

/// A store on a table that exists, and a client to look behind it.
async fn prepared(emulator: &Emulator) -> (DynamoStore, Client) {
    let client = Client::new(&emulator.sdk_config());
    let store = DynamoStore::new(&client, TABLE);
    store.prepare().await.unwrap();
    (store, client)
}

fn lease(shard: &str) -> Lease {
    Lease::new(LeaseKey::parse(shard).unwrap(), Position::TrimHorizon)
}

fn take(by: &str) -> Change {
    Change { owner: Some(Some(WorkerId::new(by).unwrap())), ..Change::default() }
}

fn s(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

async fn put(client: &Client, item: HashMap<String, AttributeValue>) {
    let put = client.put_item().table_name(TABLE).set_item(Some(item));
    put.send().await.unwrap();
}

async fn item(client: &Client, key: &str) -> HashMap<String, AttributeValue> {
    let get = client.get_item().table_name(TABLE).key("leaseKey", s(key)).consistent_read(true);
    get.send().await.unwrap().item.unwrap()
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    contract::all(|| async { prepared(&Emulator::builder().build()).await.0 }).await;
}

#[tokio::test(start_paused = true)]
async fn a_scan_reads_page_after_page() {
    for consistent in [false, true] {
        let emulator = Emulator::builder().build();
        let store = prepared(&emulator).await.0.consistent_scans(consistent);
        contract::a_scan_shows_everything(&store).await;
        // One scan of the empty table; then 12 leases of 300 KiB at 1 MB a page.
        assert!(emulator.counts()["dynamodb:Scan"] > 3, "{:?}", emulator.counts());
    }
}

#[tokio::test(start_paused = true)]
async fn attributes_of_others_survive_every_write() {
    let (store, client) = prepared(&Emulator::builder().build()).await;
    let mut seen = lease("shardId-0");
    assert!(store.create(&seen).await.unwrap());
    let others = [("throughputKBps", AttributeValue::N("0.5".into())), ("x", s("later"))];
    let mut planted = item(&client, "shardId-0").await;
    planted.extend(others.clone().map(|(name, value)| (name.to_owned(), value)));
    put(&client, planted).await;

    let pending = PendingCheckpoint { position: Position::Latest, state: Some("note".into()) };
    let everything = Change {
        stride: 4_000,
        cooperates: true,
        hands_over: false,
        owner: Some(None),
        position: Some(Position::ShardEnd),
        pending: Some(pending),
        children: Some(["shardId-1".parse().unwrap()].into()),
    };
    for change in [take("a"), take("b"), Change::default(), everything] {
        let outcome = store.update(&seen.key, &seen.fence(), &change).await.unwrap();
        assert_eq!(outcome, Outcome::Applied);
        seen = change.apply_to(&seen);
        let now = item(&client, "shardId-0").await;
        for (name, value) in &others {
            assert_eq!(now.get(*name), Some(value), "after {change:?}");
        }
    }
    assert_eq!(store.read(&seen.key).await.unwrap(), Some(seen));
}
