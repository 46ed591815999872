//! Whatever lies in the table, the store goes on.

use aws_sdk_dynamodb::types::AttributeValue;
use kcl_emulator::Emulator;
use kcl_lease::store::{Change, Consistency, LeaseStore, Outcome, StoreErrorKind};

use crate::{item, lease, prepared, put, s};

#[tokio::test(start_paused = true)]
async fn what_is_no_sound_lease_is_left_alone_and_hides_nothing() {
    let (store, client) = prepared(&Emulator::builder().build()).await;
    let (sound, damaged) = (lease("shardId-0"), lease("shardId-1"));
    for lease in [&sound, &damaged] {
        assert!(store.create(lease).await.unwrap());
    }
    let mut broken = item(&client, "shardId-1").await;
    broken.insert("checkpoint".into(), s(&"9".repeat(300_000)));
    put(&client, broken.clone()).await;
    let leader = [("leaseKey", s("Leader")), ("ownerName", s("java"))];
    let metrics = [("leaseKey", s("shardId-2")), ("entityType", s("WORKER_METRIC_STATS"))];
    for foreign in [leader, metrics] {
        put(&client, foreign.map(|(name, value)| (name.to_owned(), value)).into()).await;
    }

    let scan = store.scan(Consistency::Eventual).await.unwrap();
    assert_eq!(scan.leases, std::slice::from_ref(&sound));
    assert_eq!(scan.foreign, 2);
    let [(key, reason)] = scan.unreadable.as_slice() else { panic!("{:?}", scan.unreadable) };
    assert_eq!(key, "shardId-1");
    assert!(reason.len() < 160, "{reason}");

    let foreign = lease("shardId-2");
    for lease in [&damaged, &foreign] {
        let error = store.read(&lease.key).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid);
        assert!(!store.create(lease).await.unwrap(), "its place is taken");
    }
    // A rival's damaged lease and another kind of item are conflicts; who there is, nobody can tell.
    let mut other_counter = damaged.clone();
    other_counter.counter = 7;
    for lease in [&other_counter, &foreign] {
        let renewal = Change::default();
        let outcome = store.update(&lease.key, &lease.fence(), &renewal).await.unwrap();
        assert_eq!(outcome, Outcome::Conflict(None));
        let outcome = store.delete(&lease.key, &lease.fence()).await.unwrap();
        assert_eq!(outcome, Outcome::Conflict(None));
    }
    assert_eq!(item(&client, "shardId-1").await, broken);
}

#[tokio::test(start_paused = true)]
async fn an_owner_of_a_wrong_type_never_passes_for_nobody() {
    let (store, client) = prepared(&Emulator::builder().build()).await;
    let free = lease("shardId-0");
    assert!(store.create(&free).await.unwrap());
    let mut planted = item(&client, "shardId-0").await;
    // An owner of "" or of a wrong type is refused by the index; without an index it can be there.
    planted.insert("ownerSwitchesSinceCheckpoint".into(), AttributeValue::Bool(true));
    put(&client, planted).await;
    assert!(store.scan(Consistency::Eventual).await.unwrap().leases.is_empty());
    assert!(store.read(&free.key).await.is_err());
}

/// Java's row 45: a table is not taken for empty because its first page shows no lease.
#[tokio::test(start_paused = true)]
async fn java_row_45_a_lease_behind_pages_of_foreign_items_is_seen() {
    let emulator = Emulator::builder().build();
    let (store, client) = prepared(&emulator).await;
    for n in 0..12 {
        let foreign = [
            ("leaseKey", s(&format!("metrics-{n}"))),
            ("entityType", s("WORKER_METRIC_STATS")),
            ("x", s(&"x".repeat(300 * 1024))),
        ];
        put(&client, foreign.map(|(name, value)| (name.to_owned(), value)).into()).await;
    }
    let only = lease("shardId-0");
    assert!(store.create(&only).await.unwrap());
    for consistency in [Consistency::Eventual, Consistency::Strong] {
        let scan = store.scan(consistency).await.unwrap();
        assert_eq!((scan.leases, scan.foreign), (vec![only.clone()], 12));
    }
    // One page more than full ones: wherever the lease lies, most pages have none.
    assert!(emulator.counts()["dynamodb:Scan"] >= 2 * 4, "{:?}", emulator.counts());
}
