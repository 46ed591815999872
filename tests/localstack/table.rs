//! The lease table, as the endpoint stores it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use kcl_core::StartFrom;
use kcl_lease::store::{DynamoStore, LeaseStore, contract};

use crate::member::{Log, Member, Way};
use crate::place::{Place, on_endpoint};

type Item = HashMap<String, AttributeValue>;

async fn items(place: &Place, table: &str) -> Vec<Item> {
    let dynamo = Client::new(&place.aws);
    let scan = dynamo.scan().table_name(table).consistent_read(true).into_paginator().items();
    scan.send().collect::<Result<_, _>>().await.unwrap()
}

fn checkpoint(item: &Item) -> &str {
    item["checkpoint"].as_s().unwrap()
}

/// Waits until so many leases have ended. `span` is how long the emulator may take.
pub(crate) async fn ended(place: &Place, table: &str, leases: usize, span: Duration) {
    let (begin, limit) = (Instant::now(), place.patience(span));
    loop {
        let items = items(place, table).await;
        let ended = items.iter().filter(|item| checkpoint(item) == "SHARD_END").count();
        if ended >= leases {
            return;
        }
        assert!(begin.elapsed() < limit, "{ended} leases of {leases} ended within {limit:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Every conditional write, read and scan of a lease store, as on AWS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_keeps_its_contract() {
    on_endpoint(|place| async move {
        let dynamo = Client::new(&place.aws);
        contract::all(|| {
            let store = DynamoStore::new(&dynamo, place.application());
            async move {
                store.prepare().await.unwrap();
                store
            }
        })
        .await;
    })
    .await;
}

/// A lease has the attributes and types of the Java KCL (`DynamoDBLeaseSerializer`): what was stored is what Java reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_stored_as_java_has_them() {
    on_endpoint(|place| async move {
        let (world, app, log) = (place.stream(1).await, place.application(), Log::default());
        world.put(10).await;
        let member = Member::start(&world, &app, 1, Way::Polling, StartFrom::TrimHorizon, &log);
        log.drained(&place, &world, Duration::from_secs(20)).await;
        world.split(&mut fastrand::Rng::new()).await;
        world.put(10).await;
        log.drained(&place, &world, Duration::from_secs(20)).await;
        member.stop().await;

        let items = items(&place, &app).await;
        let leases: Vec<&Item> =
            items.iter().filter(|item| item.contains_key("checkpoint")).collect();
        assert_eq!(leases.len(), 3, "{items:?}");
        for lease in leases {
            for (name, number) in [
                ("leaseKey", false),
                ("checkpoint", false),
                ("startingHashKey", false),
                ("endingHashKey", false),
                ("leaseCounter", true),
                ("checkpointSubSequenceNumber", true),
                ("ownerSwitchesSinceCheckpoint", true),
            ] {
                let value = &lease.get(name).unwrap_or_else(|| panic!("no {name}: {lease:?}"));
                assert!(if number { value.is_n() } else { value.is_s() }, "{name}: {lease:?}");
            }
            let key = lease["leaseKey"].as_s().unwrap();
            let parents = lease.get("parentShardId").map(|parents| parents.as_ss().unwrap());
            if key == "shardId-000000000000" {
                assert_eq!((checkpoint(lease), parents), ("SHARD_END", None));
            } else {
                assert!(checkpoint(lease).parse::<kcl_core::SequenceNumber>().is_ok(), "{lease:?}");
                assert_eq!(parents.unwrap(), &["shardId-000000000000"]);
                assert!(!lease.contains_key("leaseOwner"), "freed by the stop: {lease:?}");
            }
        }
    })
    .await;
}
