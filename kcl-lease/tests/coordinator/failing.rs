//! Stores that fail: before the effect, after it, or without an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::leasing::{CheckpointError, LeasingError, PendingCheckpoint, Release};
use kcl_core::metrics;
use kcl_lease::LeaseKey;
use kcl_lease::store::StoreErrorKind;

use crate::faults::{Fault, UNCLEAR};
use crate::world::{DURATION, World, at};

const SECOND: Duration = Duration::from_secs(1);

/// Writes of every kind: applied or not, half of the answers are lost.
#[tokio::test(start_paused = true)]
async fn an_unclear_write_of_any_kind_costs_nothing() {
    for fault in [
        Fault::After(UNCLEAR),
        Fault::Before(UNCLEAR),
        Fault::Before(StoreErrorKind::Throttled),
        Fault::DieAfter,
        Fault::Hang,
        Fault::Slow(20 * SECOND),
    ] {
        let world = World::new(2);
        let (mut rng, mut in_a_row) = (fastrand::Rng::with_seed(11), BTreeMap::new());
        world.store.rule(move |call| {
            let key = call.key.filter(|_| call.operation != "GetItem")?.clone();
            let row = in_a_row.entry(key).or_insert(0);
            *row = if *row < 2 && rng.bool() { *row + 1 } else { 0 };
            (*row > 0).then_some(fault)
        });
        let a = world.worker("a").await;
        world.until(3 * DURATION, || a.count() == 2).await;
        let grant = a.grant(0);
        for sequence in 5..12 {
            grant.lease.checkpoint(at(sequence)).await.unwrap();
            grant.lease.advance(at(sequence + 1));
            world.pass(DURATION / 2).await;
        }
        let pending = PendingCheckpoint { position: at(99), state: None };
        grant.lease.prepare(pending).await.unwrap();
        world.kinesis.split(0);
        a.end(0).await.unwrap();
        a.control.stop_taking();
        world.pass(SECOND).await;
        a.release(1, Release::Stopping).await;
        assert_eq!(a.figures.sum(metrics::LEASES_LOST), 0.0, "{fault:?}: {:#?}", world.trace());
        assert!(world.lease(0).await.has_ended());
        assert_eq!(world.lease(1).await.owner, None);
        let children = world.leases().await.len();
        assert_eq!(children, 4, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_take_whose_answer_is_lost_is_granted_at_once() {
    let world = World::new(4);
    let mut takes = 0;
    world.store.rule(move |call| {
        takes += u32::from(call.change.is_some_and(|change| change.owner.is_some()));
        (call.operation == "UpdateItem" && takes <= 4).then_some(Fault::After(UNCLEAR))
    });
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 4).await;
    // The take, and the write that tells it from one of an earlier process of the same id.
    assert!(world.leases().await.iter().all(|lease| world.age(lease) == 2));
}

/// Seed 106674: a release that the table refused was forgotten, and the lease was renewed with nobody reading.
#[tokio::test(start_paused = true)]
async fn a_release_that_is_refused_is_tried_again() {
    let world = World::new(1);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 1).await;
    a.control.stop_taking();
    let begun = world.clock.now();
    let clock = world.clock.clone();
    world.store.rule(move |call| {
        let refuses = call.operation == "UpdateItem" && clock.now() < begun + SECOND;
        refuses.then_some(Fault::Before(StoreErrorKind::Invalid))
    });
    let grant = a.grant(0);
    assert!(grant.lease.release(Release::Stopping).await.is_err());
    a.crash_consumer(0);
    drop(grant);
    world.pass(3 * SECOND).await;
    assert_eq!(world.lease(0).await.owner, None);
}

/// A take by a view that is one renewal old, whose write fails: the renewal looks like its effect, but proves nothing new.
#[tokio::test(start_paused = true)]
async fn an_own_renewal_is_not_mistaken_for_an_unclear_take() {
    let world = World::new(1);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 1).await;
    world.store.freeze_scans().await;
    world.pass(4 * SECOND).await;
    assert_eq!(world.age(&world.lease(0).await), 2);
    a.crash();
    let mut writes = 0;
    world.store.rule(move |call| {
        writes += u32::from(call.operation == "UpdateItem");
        (call.operation == "UpdateItem" && writes == 1).then_some(Fault::Before(UNCLEAR))
    });
    let again = world.worker("a").await;
    world.until(SECOND, || again.count() == 1).await;
    assert_eq!(world.age(&world.lease(0).await), 3);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_write_gives_up_before_others_may_take() {
    for fault in [
        Fault::Hang,
        Fault::Before(StoreErrorKind::Throttled),
        Fault::Before(UNCLEAR),
        Fault::After(UNCLEAR),
    ] {
        let world = World::new(2);
        let a = world.worker("a").await;
        world.until(SECOND, || a.count() == 2).await;
        let b = world.worker("b").await;
        world.until(DURATION, || a.count() == 1 && b.count() == 1).await;
        world.pass(DURATION).await;
        let shard = b.shards().pop_first().unwrap();
        // Worker b is cut off: it can neither write nor read.
        world.store.rule(move |call| (call.worker == "b").then_some(fault));
        let grant = b.grants.lock().unwrap()[&LeaseKey::single(shard.clone())].clone();
        world.until(2 * DURATION, || a.count() == 2).await;
        assert!(grant.lease.lost().is_cancelled(), "{fault:?}");
        let checkpoint = grant.lease.checkpoint(at(5)).await;
        assert!(matches!(checkpoint, Err(CheckpointError::LeaseLost)));
        let position = |line: &str| world.trace().iter().rposition(|l| l.contains(line)).unwrap();
        assert!(
            position(&format!("b lost {shard}")) < position(&format!("a granted {shard}")),
            "{:#?}",
            world.trace()
        );
        // It comes back by itself.
        world.store.heal();
        world.until(2 * DURATION, || a.count() == 1 && b.count() == 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_leases_are_kept_by_few_calls_at_once_through_a_slow_store() {
    let world = World::new(1_000);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 1_000).await;
    world.store.rule(|_| Some(Fault::Slow(70 * SECOND / 1_000)));
    world.pass(6 * DURATION).await;
    assert_eq!(a.count(), 1_000);
    assert_eq!(a.figures.sum(metrics::LEASES_LOST), 0.0);
    // Those of the keepers, and a scan.
    assert!(world.store.busiest() <= 32 + 1, "{}", world.store.busiest());
    world.store.heal();
    a.control.leave(world.clock.now() + DURATION).await;
    assert!(world.leases().await.iter().all(|lease| lease.owner.is_none()));
}

#[tokio::test(start_paused = true)]
async fn leases_are_kept_while_scans_fail_and_stale_scans_take_nothing() {
    let world = World::new(4);
    let a = world.worker("a").await;
    let b = world.worker("b").await;
    world.until(DURATION, || a.count() == 2 && b.count() == 2).await;
    world.pass(DURATION).await;
    let owners = world.owners().await;
    let lost = a.figures.sum(metrics::LEASES_LOST);
    world.store.rule(|call| (call.operation == "Scan").then_some(Fault::Before(UNCLEAR)));
    world.pass(5 * DURATION).await;
    assert_eq!(world.owners().await, owners);
    world.store.heal();
    // To a reader of old states all holders look dead; the conditional writes know better.
    world.store.freeze_scans().await;
    world.pass(5 * DURATION).await;
    assert_eq!(world.owners().await, owners);
    world.store.thaw_scans();
    world.pass(3 * DURATION).await;
    assert_eq!(world.owners().await, owners);
    assert_eq!((a.count(), b.count()), (2, 2));
    assert_eq!(a.figures.sum(metrics::LEASES_LOST), lost);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_table_is_a_clear_stop() {
    for operation in ["Scan", "UpdateItem"] {
        let world = World::new(2);
        let a = world.worker("a").await;
        world.until(SECOND, || a.count() == 2).await;
        let grant = a.grant(0);
        let missing = Fault::Before(StoreErrorKind::TableMissing);
        world.store.rule(move |call| (call.operation == operation).then_some(missing));
        world.until(DURATION, || a.count() == 0).await;
        world.pass(SECOND).await;
        let failed = a.failed.lock().unwrap().take();
        assert!(
            matches!(failed, Some(LeasingError::TableMissing { table }) if table == "orders-app")
        );
        assert!(grant.lease.lost().is_cancelled());
        let writes = world.store.writes().len();
        world.store.heal();
        world.pass(3 * DURATION).await;
        assert_eq!(world.store.writes().len(), writes, "{operation}: nothing is written any more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_founder_may_die_after_any_write() {
    for start in [kcl_core::StartFrom::TrimHorizon, kcl_core::StartFrom::Latest] {
        for writes in 0..4 {
            let mut world = World::new(4);
            world.start = start;
            let mut made = 0;
            world.store.rule(move |call| {
                made += usize::from(call.operation == "PutItem");
                (call.worker == "dead" && call.operation == "PutItem" && made > writes)
                    .then_some(Fault::Hang)
            });
            let (founder, clock) = (world.worker("dead"), world.clock.clone());
            tokio::select! {
                biased;
                _ = founder => panic!("the founder is dead"),
                () = clock.sleep(SECOND) => {}
            }
            assert_eq!(world.leases().await.len(), writes);
            let heir = world.worker("heir").await;
            let took = world.until(SECOND, || heir.count() == 4).await;
            assert!(took < SECOND / 4, "{took:?}");
            // Nothing from before the founder's start is repeated, and nothing after it skipped.
            for n in 0..4 {
                let grant = heir.grant(n);
                assert_eq!(grant.started_at.is_some(), start == kcl_core::StartFrom::Latest);
            }
        }
    }
}
