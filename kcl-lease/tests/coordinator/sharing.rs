//! Joining, sharing, dying, leaving.

use std::time::Duration;

use kcl_core::leasing::Release;
use kcl_core::metrics;
use kcl_core::{Position, StartFrom};
use kcl_lease::store::{Change, LeaseStore, Outcome, StoreErrorKind};

use crate::faults::Fault;
use crate::world::{DURATION, Worker, World, at, id, key};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_new_application_is_granted_its_shards_at_once() {
    for start in [StartFrom::TrimHorizon, StartFrom::Latest] {
        let mut world = World::new(4);
        world.start = start;
        let worker = world.worker("a").await;
        let took = world.until(SECOND, || worker.count() == 4).await;
        assert!(took < Duration::from_millis(100), "{took:?}");
        for lease in world.leases().await {
            assert_eq!(lease.owner, Some("a".parse().unwrap()));
            assert!(lease.hash_range.is_some());
            assert_eq!(lease.started_at.is_some(), start == StartFrom::Latest);
        }
        assert_eq!(worker.grant(0).shard, id(0));
        assert_eq!(worker.grant(0).position, start.position());
        world.pass(3 * DURATION).await;
        assert_eq!(worker.count(), 4, "{:#?}", world.trace());
        assert_eq!(worker.figures.sum(metrics::LEASES_CREATED), 4.0);
        assert_eq!(worker.figures.sum(metrics::LEASES_TAKEN), 4.0);
        assert_eq!(worker.figures.sum(metrics::LEASES_LOST), 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn workers_that_join_get_their_share_and_then_nothing_moves() {
    let world = World::new(12);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 12).await;
    let b = world.worker("b").await;
    let took = world.until(5 * SECOND, || b.count() == 6).await;
    assert!(took < world.timing.scan_interval + SECOND, "{took:?}");
    assert_eq!(a.count(), 6);
    let c = world.worker("c").await;
    world.until(5 * SECOND, || [&a, &b, &c].iter().all(|w| w.count() == 4)).await;
    assert_eq!(b.figures.sum(metrics::LEASES_ASKED_FOR), 6.0);
    assert_eq!(c.figures.sum(metrics::LEASES_ASKED_FOR), 4.0);
    for worker in [&a, &b, &c] {
        assert_eq!(worker.figures.sum(metrics::LEASES_STOLEN), 0.0);
        assert_eq!(worker.figures.sum(metrics::LEASES_LOST), 0.0);
    }
    let owners = world.owners().await;
    world.pass(6 * DURATION).await;
    assert_eq!(world.owners().await, owners);
}

#[tokio::test(start_paused = true)]
async fn workers_that_start_together_share_evenly() {
    let world = World::new(10);
    let (a, b, c) = tokio::join!(world.worker("a"), world.worker("b"), world.worker("c"));
    let workers = [&a, &b, &c];
    let balanced = || {
        let counts = workers.map(Worker::count);
        counts.iter().sum::<usize>() == 10 && counts.iter().all(|n| (3..=4).contains(n))
    };
    world.until(10 * SECOND, balanced).await;
    assert_eq!(world.leases().await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_dead_workers_leases_are_taken_within_the_lease_duration_and_a_scan() {
    let world = World::new(6);
    let a = world.worker("a").await;
    let b = world.worker("b").await;
    world.until(10 * SECOND, || a.count() == 3 && b.count() == 3).await;
    world.pass(DURATION * 3 / 2).await;
    b.crash();
    let took = world.until(2 * DURATION, || a.count() == 6).await;
    assert!(took > DURATION / 2, "{took:?}");
    let limit = DURATION + world.timing.scan_interval;
    assert!(took <= limit, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_under_the_same_id_takes_its_leases_back_at_once() {
    let world = World::new(4);
    let before = world.worker("a").await;
    world.until(SECOND, || before.count() == 4).await;
    before.grant(0).lease.checkpoint(at(5)).await.unwrap();
    let token = before.grant(0).lease.fencing_token();
    before.crash();
    let after = world.worker("a").await;
    let took = world.until(SECOND, || after.count() == 4).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(after.grant(0).position, at(5));
    assert!(after.grant(0).lease.fencing_token() > token);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_worker_that_wakes_up_changes_nothing() {
    let world = World::new(2);
    let zombie = world.worker("zombie").await;
    world.until(SECOND, || zombie.count() == 2).await;
    world.pass(DURATION).await;
    let grant = zombie.grant(0);
    zombie.tasks.stall();
    let valid_until = grant.lease.valid_until();
    let heir = world.worker("heir").await;
    world.until(2 * DURATION, || heir.count() == 2).await;
    assert!(valid_until < world.clock.now(), "the zombie can tell that its time is over");
    let checkpoint = tokio::spawn({
        let grant = grant.clone();
        async move { grant.lease.checkpoint(at(7)).await }
    });
    zombie.tasks.resume();
    checkpoint.await.unwrap().unwrap_err();
    assert!(grant.lease.lost().is_cancelled());
    // It joins in again as anyone; what its earlier life wanted is not written.
    world.until(DURATION, || zombie.count() == 1 && heir.count() == 1).await;
    for lease in world.leases().await {
        assert_eq!(lease.position, Position::TrimHorizon, "{:#?}", world.trace());
    }
}

#[tokio::test(start_paused = true)]
async fn max_leases_is_kept_and_others_take_the_rest() {
    let world = World::new(6);
    let a = world.worker_with("a", Some(2)).await.unwrap();
    let b = world.worker("b").await;
    world.until(4 * DURATION, || a.count() == 2 && b.count() == 4).await;
    b.crash();
    world.pass(4 * DURATION).await;
    assert_eq!(a.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn leaving_frees_everything_and_others_start_at_once() {
    let world = World::new(4);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 4).await;
    a.control.stop_taking();
    let b = world.worker("b").await;
    a.grant(0).lease.advance(at(5));
    a.grant(1).lease.advance(at(6));
    a.release(0, Release::Stopping).await;
    let held = a.grant(1);
    let unfreed = a.control.leave(world.clock.now() + SECOND).await;
    assert_eq!(unfreed, 0);
    assert!(held.lease.lost().is_cancelled());
    assert!(!a.tasks.is_empty() || a.count() == 0);
    let took = world.until(DURATION, || b.count() == 4).await;
    assert!(took <= world.timing.scan_interval + SECOND / 10, "{took:?}");
    // A release carries the watermark; leaving moves no checkpoint.
    assert_eq!(b.grant(0).position, at(5));
    assert_eq!(b.grant(1).position, Position::TrimHorizon);
    assert!(world.trace().iter().any(|line| line.ends_with("a left")));
}

/// Whether the table is back when the worker leaves, and how many leases it could not free.
#[tokio::test(start_paused = true)]
async fn what_was_lost_for_silence_is_freed_by_leaving() {
    for (is_back, unfreed) in [(true, 0), (false, 1)] {
        let world = World::new(1);
        let a = world.worker("a").await;
        world.until(SECOND, || a.count() == 1).await;
        a.control.stop_taking();
        let grant = a.grant(0);
        world.store.rule(|call| {
            let writes = call.operation == "UpdateItem";
            writes.then_some(Fault::Before(StoreErrorKind::Throttled))
        });
        world.until(2 * DURATION, || grant.lease.lost().is_cancelled()).await;
        if is_back {
            world.store.rule(|_| None);
        }
        assert_eq!(a.control.leave(world.clock.now() + SECOND).await, unfreed);
        assert_eq!(world.lease(0).await.owner.is_none(), is_back);
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_ends_at_its_deadline() {
    let world = World::new(3);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 3).await;
    world.store.rule(|_| Some(Fault::Hang));
    let begun = world.clock.now();
    assert_eq!(a.control.leave(begun + SECOND).await, 3);
    assert_eq!(world.clock.now() - begun, SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_halted_shard_goes_to_others_and_never_back() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    a.release(0, Release::Halted).await;
    world.pass(5 * DURATION).await;
    assert_eq!(a.shards(), [id(1)].into());
    let b = world.worker("b").await;
    world.until(SECOND, || b.count() == 1).await;
    assert_eq!(b.shards(), [id(0)].into());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_grant_frees_its_lease() {
    let world = World::new(1);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 1).await;
    a.control.stop_taking();
    a.crash_consumer(0);
    world.pass(SECOND).await;
    assert_eq!(world.lease(0).await.owner, None);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_lost_and_comes_back() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    a.grant(1).lease.checkpoint(at(3)).await.unwrap();
    let lease = world.lease(0).await;
    world.store.plain().delete(&key(0), &lease.fence()).await.unwrap();
    world.until(DURATION, || a.count() == 1).await;
    let took = world.until(DURATION, || a.count() == 2).await;
    assert!(took <= DURATION, "{took:?}");
    assert_eq!(a.grant(0).position, Position::TrimHorizon);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_trace() {
    async fn trace() -> Vec<String> {
        let world = World::new(7);
        let (a, b, c) = tokio::join!(world.worker("a"), world.worker("b"), world.worker("c"));
        world.pass(DURATION).await;
        world.kinesis.split(0);
        let owner = [&a, &b, &c].into_iter().find(|w| w.shards().contains(&id(0))).unwrap();
        owner.end(0).await.unwrap();
        world.pass(DURATION).await;
        a.crash();
        world.pass(3 * DURATION).await;
        drop((b, c));
        world.trace()
    }
    let first = trace().await;
    assert!(first.len() > 10, "{first:#?}");
    assert_eq!(first, trace().await);
}

/// Which of the two leases the survivor tries first is chance; one of them is somebody else's, which its scan does not show.
#[tokio::test(start_paused = true)]
async fn a_worker_that_lost_a_race_takes_another_lease_at_once() {
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let world = World::new(2);
        let (one, two) = (world.worker("one").await, world.worker("two").await);
        world.until(DURATION, || one.count() == 1 && two.count() == 1).await;
        one.crash();
        two.crash();
        let survivor = world.worker_with(name, Some(1)).await.unwrap();
        world.store.freeze_scans().await;
        let rival = Some(Some("rival".parse().unwrap()));
        let take = Change { owner: rival, ..Change::default() };
        let seen = world.lease(0).await.fence();
        let taken = world.store.plain().update(&key(0), &seen, &take).await;
        assert_eq!(taken.unwrap(), Outcome::Applied);
        let took = world.until(2 * DURATION, || survivor.count() == 1).await;
        assert_eq!(survivor.shards(), [id(1)].into());
        assert!(took < DURATION + SECOND / 10, "{name}: {took:?}");
    }
}
