//! Joining through `DynamoLeases`, with both services in the emulator.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::kinesis::{KinesisApi, SdkKinesis};
use kcl_core::leasing::{LeaseEvent, LeaseTiming, Leases, Member, Membership};
use kcl_core::metrics::NoMetrics;
use kcl_core::{Clock, StartFrom, Tasks};
use kcl_emulator::Emulator;
use kcl_lease::store::{Consistency, LeaseStore};
use kcl_lease::{DynamoLeases, TablePolicy, TableSpec};

use crate::{TABLE, prepared};

async fn member(emulator: &Emulator, tasks: &Tasks) -> Member {
    let api = SdkKinesis::new(&emulator.sdk_config());
    let stream = api.describe_stream(&"orders".parse().unwrap()).await.unwrap();
    Member {
        application: TABLE.parse().unwrap(),
        worker: "a".parse().unwrap(),
        streams: vec![(stream, StartFrom::TrimHorizon)],
        several_streams: false,
        api: Arc::new(api),
        timing: LeaseTiming::for_duration(Duration::from_secs(10)),
        max_leases: None,
        clock: Clock::system(),
        seed: 7,
        tasks: tasks.clone(),
        metrics: Arc::new(NoMetrics),
    }
}

async fn granted(membership: &mut Membership, count: usize) -> BTreeSet<String> {
    let mut shards = BTreeSet::new();
    while shards.len() < count {
        match membership.events.recv().await {
            Some(LeaseEvent::Granted(grant)) => shards.insert(grant.shard.to_string()),
            other => panic!("{other:?}"),
        };
    }
    shards
}

async fn emulator_with_a_stream() -> Emulator {
    let emulator = Emulator::builder().seed(7).build();
    let body = br#"{"StreamName":"orders","ShardCount":2}"#;
    emulator.call("Kinesis_20131202.CreateStream", body).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    emulator
}

#[tokio::test(start_paused = true)]
async fn a_worker_gets_its_leases_from_a_table_named_as_the_application() {
    let emulator = emulator_with_a_stream().await;
    let tasks = Tasks::new();
    let leases = DynamoLeases::new(&emulator.sdk_config());
    let clock = Clock::system();
    let started = clock.now();
    let mut membership = leases.join(member(&emulator, &tasks).await).await.unwrap();
    let shards = granted(&mut membership, 2).await;
    assert_eq!(Vec::from_iter(shards), ["shardId-000000000000", "shardId-000000000001"]);
    assert!(clock.now() - started < Duration::from_secs(1));
    let (store, _) = prepared(&emulator).await;
    let owners = store
        .scan(Consistency::Eventual)
        .await
        .unwrap()
        .leases
        .into_iter()
        .map(|lease| lease.owner);
    assert_eq!(owners.collect::<Vec<_>>(), vec![Some("a".parse().unwrap()); 2]);

    let unfreed = membership.control.leave(clock.now() + Duration::from_secs(5)).await;
    assert_eq!(unfreed, 0);
    let leases = store.scan(Consistency::Eventual).await.unwrap().leases;
    assert!(leases.iter().all(|lease| lease.owner.is_none()), "{leases:?}");
    tasks.stop();
}

#[tokio::test(start_paused = true)]
async fn the_table_is_named_and_made_as_set() {
    let emulator = emulator_with_a_stream().await;
    let client = aws_sdk_dynamodb::Client::new(&emulator.sdk_config());
    let tasks = Tasks::new();
    let must_exist = DynamoLeases::from_client(client.clone()).table(TablePolicy::MustExist);
    assert!(must_exist.join(member(&emulator, &tasks).await).await.is_err());
    let spec = TableSpec::default().deletion_protection(true);
    let leases = DynamoLeases::from_client(client.clone())
        .table_name("leases-of-orders")
        .table(TablePolicy::CreateIfMissing(spec));
    let mut membership = leases.join(member(&emulator, &tasks).await).await.unwrap();
    granted(&mut membership, 2).await;
    let tables = client.list_tables().send().await.unwrap();
    assert_eq!(tables.table_names(), ["leases-of-orders"]);
    let table = client.describe_table().table_name("leases-of-orders").send().await.unwrap();
    assert_eq!(table.table.unwrap().deletion_protection_enabled(), Some(true));
    tasks.stop();
}
