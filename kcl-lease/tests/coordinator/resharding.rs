//! Splits and merges, and workers that die while a shard ends.

use std::time::Duration;

use kcl_core::{Position, metrics};
use kcl_lease::store::{LeaseStore, StoreErrorKind};

use crate::faults::Fault;
use crate::world::{DURATION, World, id, key};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn children_start_at_once_when_their_parent_ends() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.pass(SECOND).await;
    let children = world.kinesis.split(0);
    a.end(0).await.unwrap();
    let took = world.until(SECOND, || a.count() == 3).await;
    assert!(took < SECOND / 10, "{took:?}");
    assert_eq!(a.shards(), [id(1), children[0].id.clone(), children[1].id.clone()].into());
    // As the Java KCL leaves it: the owner stays, the children are named, and nothing renews it.
    let parent = world.lease(0).await;
    assert_eq!(parent.owner, Some("a".parse().unwrap()));
    assert_eq!(parent.children.len(), 2);
    world.pass(2 * DURATION).await;
    assert_eq!(world.lease(0).await, parent);
    let child = world.lease(2).await;
    assert_eq!(child.parents, [id(0)].into());
    assert_eq!(child.hash_range, Some(children[0].hash_range));
    // Ending again is no error.
    assert_eq!(a.figures.sum(metrics::LEASES_LOST), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_merged_shard_waits_for_both_parents() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.kinesis.merge(0, 1);
    a.end(0).await.unwrap();
    world.pass(2 * DURATION).await;
    assert_eq!(a.shards(), [id(1)].into());
    a.end(1).await.unwrap();
    let took = world.until(SECOND, || a.count() == 1 && a.shards().contains(&id(2))).await;
    assert!(took < SECOND / 10, "{took:?}");
}

/// Shard 0 is split and its lower half merged with shard 1, all before anything is read: the end of shard 1 must not start
/// the merged shard before the half of shard 0, whose lease does not exist yet.
#[tokio::test(start_paused = true)]
async fn a_merged_shard_waits_for_a_parent_that_has_no_lease_yet() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.kinesis.split(0); // 2, 3
    world.kinesis.merge(3, 1); // 4
    a.end(1).await.unwrap();
    world.pass(2 * DURATION).await;
    assert_eq!(a.shards(), [id(0)].into());
    a.end(0).await.unwrap();
    world.until(SECOND, || a.count() == 2).await;
    assert_eq!(a.shards(), [id(2), id(3)].into());
    a.end(3).await.unwrap();
    world.until(SECOND, || a.shards() == [id(2), id(4)].into()).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_may_die_after_any_write_of_an_end() {
    // Two children, then SHARD_END.
    for merge in [false, true] {
        for writes in 0..4 {
            let world = World::new(2);
            let dead = world.worker("dead").await;
            world.until(SECOND, || dead.count() == 2).await;
            let parents: &[u32] = if merge { &[0, 1] } else { &[0] };
            if merge {
                world.kinesis.merge(0, 1);
            } else {
                world.kinesis.split(0);
            }
            let mut made = 0;
            world.store.rule(move |call| {
                let counts = call.operation == "PutItem"
                    || call.change.is_some_and(|c| c.children.is_some());
                made += usize::from(counts);
                (call.worker == "dead" && counts && made > writes).then_some(Fault::Hang)
            });
            for parent in parents {
                // The worker dies during the end.
                let _ = tokio::time::timeout(SECOND, dead.end(*parent)).await;
            }
            dead.crash();
            let ended = world.leases().await.iter().filter(|lease| lease.has_ended()).count();
            let heir = world.worker("heir").await;
            world.until(2 * DURATION, || heir.count() > 0).await;
            for parent in parents {
                if !world.lease(*parent).await.has_ended() {
                    world.until(2 * DURATION, || heir.shards().contains(&id(*parent))).await;
                    heir.end(*parent).await.unwrap();
                }
            }
            let open = if merge { 1 } else { 3 };
            world.until(2 * DURATION, || heir.count() == open).await;
            assert!(
                world.leases().await.len() == open + parents.len(),
                "merge: {merge}, writes: {writes}, ended: {ended}"
            );
            // At no time had a parent ended whose children were missing.
            let log = world.store.writes();
            for (n, (_, lease)) in
                log.iter().enumerate().filter(|(_, (_, lease))| lease.has_ended())
            {
                for child in lease.children.iter().filter(|_| !merge) {
                    assert!(log[..n].iter().any(|(_, l)| l.key.shard() == child));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_child_of_an_ended_parent_is_healed_within_ten_seconds() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.kinesis.split(0);
    a.end(0).await.unwrap();
    world.until(SECOND, || a.count() == 3).await;
    world.pass(5 * DURATION).await;
    let lease = world.lease(2).await;
    world.store.plain().delete(&key(2), &lease.fence()).await.unwrap();
    let grants = || {
        world.trace().iter().filter(|line| line.contains("granted shardId-000000000002")).count()
    };
    let took = world.until(DURATION, || grants() == 2).await;
    assert!(took < DURATION, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reshard_nobody_reads_to_its_end_creates_nothing_early() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.kinesis.split(0);
    world.pass(30 * DURATION).await;
    assert_eq!(world.leases().await.len(), 2);
    assert_eq!(a.count(), 2);
}

/// A scan shows the children before they had progressed, and no longer the parent that was cleaned up because they had.
#[tokio::test(start_paused = true)]
async fn a_parent_that_was_cleaned_up_is_not_read_again_because_of_an_old_scan() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.kinesis.split(0);
    a.end(0).await.unwrap();
    world.until(SECOND, || a.count() == 3).await;
    let parent = world.lease(0).await;
    let store = world.store.plain();
    store.delete(&key(0), &parent.fence()).await.unwrap();
    world.store.freeze_scans().await;
    for child in [2, 3] {
        let read = Position::at("5".parse().unwrap(), 0);
        a.grant(child).lease.checkpoint(read).await.unwrap();
    }
    // Nor does it learn better by taking one of them.
    let refused = Fault::Before(StoreErrorKind::Throttled);
    world.store.rule(move |call| (call.change.is_some() && call.worker == "b").then_some(refused));
    let _b = world.worker("b").await;
    world.pass(SECOND).await;
    assert_eq!(store.read(&key(0)).await.unwrap(), None);
}
