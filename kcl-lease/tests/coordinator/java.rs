//! The Java KCL's scenarios that need a coordinator, by the rows of `docs/java-scenarios.md`.

use std::time::Duration;

use kcl_core::kinesis::ApiErrorKind;
use kcl_core::{Position, StartFrom, metrics};
use kcl_lease::Lease;
use kcl_lease::store::{Change, LeaseStore, Outcome, StoreErrorKind};

use crate::faults::{Fault, UNCLEAR};
use crate::kinesis::Listing;
use crate::log::Warnings;
use crate::world::{DURATION, World, at, id, key};

const SECOND: Duration = Duration::from_secs(1);

/// Shard 0 was split before. A new application begins with the shards of one time; one that has leases looks at all shards.
#[tokio::test(start_paused = true)]
async fn java_row_20_only_an_empty_table_is_filled_with_the_shards_of_one_time() {
    let rows = [
        // start, has a lease of shard 1, leases
        (StartFrom::TrimHorizon, false, vec![0, 1]),
        (StartFrom::Latest, false, vec![1, 2, 3]),
        (StartFrom::TrimHorizon, true, vec![0, 1]),
        // Java made the lease: nobody knows since when, so what is open is read from its beginning.
        (StartFrom::Latest, true, vec![1, 2, 3]),
    ];
    for (start, has_lease, expected) in rows {
        let mut world = World::new(2);
        world.start = start;
        world.kinesis.split(0);
        if has_lease {
            let lease = Lease::new(key(1), start.position());
            world.store.plain().create(&lease).await.unwrap();
        }
        let a = world.worker("a").await;
        world.until(SECOND, || a.count() == expected.len()).await;
        assert_eq!(a.shards(), expected.iter().map(|n| id(*n)).collect(), "{start:?}");
        for n in expected.iter().filter(|n| **n != 1) {
            let of_latest = start == StartFrom::Latest && !has_lease;
            let position = if of_latest { Position::Latest } else { Position::TrimHorizon };
            assert_eq!(world.lease(*n).await.position, position, "{start:?} {has_lease}");
        }
    }
}

/// The nth call of a kind fails, before its effect or after it: the leases are those that an undisturbed worker makes.
#[tokio::test(start_paused = true)]
async fn java_row_22_leases_are_complete_whichever_call_fails_once() {
    for has_lease in [false, true] {
        for operation in ["Scan", "PutItem", "GetItem"] {
            for fault in [Fault::Before(StoreErrorKind::Throttled), Fault::After(UNCLEAR)] {
                for nth in 1..=5 {
                    let world = World::new(4);
                    if has_lease {
                        let lease = Lease::new(key(0), Position::TrimHorizon);
                        world.store.plain().create(&lease).await.unwrap();
                    }
                    let mut calls = 0;
                    world.store.rule(move |call| {
                        calls += u32::from(call.operation == operation);
                        (call.operation == operation && calls == nth).then_some(fault)
                    });
                    let a = world.worker("a").await;
                    let took = world.until(70 * SECOND, || a.count() == 4).await;
                    let what = format!("{has_lease} {operation} {fault:?} {nth}: {took:?}");
                    assert!(took < 2 * DURATION, "{what}");
                    assert_eq!(world.leases().await.len(), 4, "{what}");
                    let fresh = |lease: &Lease| lease.position == Position::TrimHorizon;
                    assert!(world.leases().await.iter().all(fresh), "{what}");
                }
            }
        }
    }
}

/// Java collects the leases of a stream that is not found; ours are left to a person (ADR 0015).
#[tokio::test(start_paused = true)]
async fn java_row_23_the_leases_of_a_stream_that_is_not_found_stay() {
    let (warnings, _guard) = Warnings::collect();
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.kinesis.next_listings([Listing::Fails(ApiErrorKind::NotFound); 100]);
    world.pass(150 * SECOND).await;
    assert!(warnings.with("shards not compared with leases") > 0);
    assert_eq!((a.count(), world.leases().await.len()), (2, 2));
}

/// Java's test has a lease duration of nothing. Here each answer comes nearly a lease duration after the look.
#[tokio::test(start_paused = true)]
async fn java_row_34_a_slow_scan_hides_no_lease_and_takes_none_from_the_living() {
    let world = World::new(4);
    let (a, b) = (world.worker("a").await, world.worker("b").await);
    world.until(DURATION, || a.count() == 2 && b.count() == 2).await;
    let lost = a.figures.sum(metrics::LEASES_LOST);
    world.store.rule(|call| (call.operation == "Scan").then_some(Fault::Slow(9 * SECOND)));
    let owners = world.owners().await;
    world.pass(12 * DURATION).await;
    assert_eq!((a.count(), b.count()), (2, 2), "{:#?}", world.trace());
    assert_eq!(world.owners().await, owners);
    assert_eq!(
        (a.figures.sum(metrics::LEASES_LOST), b.figures.sum(metrics::LEASES_LOST)),
        (lost, 0.0)
    );
}

/// Leases of old programs do not say their hash keys. Java asks Kinesis for them and writes them; ours compare the shards by their
/// lineage at every sync interval, which needs no hash keys.
#[tokio::test(start_paused = true)]
async fn java_row_61_a_missing_lease_is_found_among_leases_without_hash_keys() {
    let world = World::new(3);
    for n in 0..3 {
        world.store.plain().create(&Lease::new(key(n), Position::TrimHorizon)).await.unwrap();
    }
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 3).await;
    world.pass(DURATION).await;
    world.delete(2).await;
    world.until(DURATION, || a.count() == 2).await;
    let took = world.until(2 * world.timing.sync_interval, || a.count() == 3).await;
    assert!(took <= world.timing.sync_interval + SECOND, "{took:?}");
}

/// An ended lease goes once every child has progressed, and the leases of its own parents have gone; not before.
#[tokio::test(start_paused = true)]
async fn java_rows_63_and_64_an_ended_lease_goes_when_its_children_have_progressed() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.kinesis.split(0); // 2, 3
    a.end(0).await.unwrap();
    world.until(SECOND, || a.count() == 3).await;
    let wait = 2 * world.timing.sync_interval;
    let shards = || async {
        let leases = world.leases().await;
        leases.iter().map(|lease| lease.key.shard().to_string()).collect::<Vec<_>>()
    };
    let ids = |numbers: &[u32]| numbers.iter().map(|n| key(*n).to_string()).collect::<Vec<_>>();
    // At the beginning, then one of two.
    world.pass(wait).await;
    a.grant(2).lease.checkpoint(at(5)).await.unwrap();
    world.pass(wait).await;
    assert_eq!(shards().await, ids(&[0, 1, 2, 3]));
    a.grant(3).lease.checkpoint(at(5)).await.unwrap();
    world.pass(wait).await;
    assert_eq!(shards().await, ids(&[1, 2, 3]));
    assert_eq!(a.figures.sum(metrics::LEASES_DELETED), 1.0);
    // Each parent of a merge, also one that expired meanwhile.
    world.kinesis.merge(3, 1); // 4
    a.end(3).await.unwrap();
    a.end(1).await.unwrap();
    world.until(SECOND, || a.count() == 2).await;
    world.pass(wait).await;
    assert_eq!(shards().await, ids(&[1, 2, 3, 4]));
    world.kinesis.trim(1);
    a.grant(4).lease.checkpoint(at(5)).await.unwrap();
    world.pass(wait).await;
    assert_eq!(shards().await, ids(&[2, 4]));
    // What was passed stays passed, whoever sets it back.
    let (lease, back) = (world.lease(4).await, Position::TrimHorizon);
    let change = Change { position: Some(back), ..Change::default() };
    assert_eq!(
        world.store.plain().update(&lease.key, &lease.fence(), &change).await.unwrap(),
        Outcome::Applied
    );
    world.pass(wait).await;
    assert_eq!(shards().await, ids(&[2, 4]));
}
