//! Leases that are handed over between workers that live.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::metrics;
use kcl_core::{Position, WorkerId};
use kcl_lease::Lease;
use kcl_lease::store::{LeaseStore, Outcome, StoreErrorKind};

use crate::faults::{Fault, UNCLEAR};
use crate::world::{DURATION, Worker, World, at, key};

const SECOND: Duration = Duration::from_secs(1);

fn id(worker: &str) -> WorkerId {
    worker.parse().unwrap()
}

/// A world of two leases, both held by this worker, which has done something of each that is not durable.
async fn held_by_a(world: &World) -> Worker {
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    for n in [0, 1] {
        a.grant(n).lease.advance(at(7));
    }
    a
}

/// Whichever of the two it was.
fn moved(b: &Worker) -> u32 {
    u32::from(b.grants.lock().unwrap().contains_key(&key(1)))
}

/// One of the two is handed over before the deadline, with what was done of it, and stays.
async fn comes_in_time(world: &World, a: &Worker, b: &Worker, case: &str) {
    let took = world.until(2 * DURATION, || b.count() == 1).await;
    let what = format!("{case} {took:?} {:#?}", world.trace());
    assert!(took < DURATION, "{what}");
    assert_eq!(b.grant(moved(b)).position, at(7), "{what}");
    world.pass(2 * DURATION).await;
    assert_eq!((a.count(), b.count()), (1, 1), "{what}");
    assert_eq!(b.figures.sum(metrics::LEASES_STOLEN), 0.0, "{what}");
}

#[tokio::test(start_paused = true)]
async fn a_handover_repeats_nothing() {
    let mut world = World::new(2);
    world.drain = Some(SECOND);
    let a = held_by_a(&world).await;
    let b = world.worker("b").await;
    let took = world.until(DURATION, || b.count() == 1).await;
    assert!(took <= world.timing.scan_interval + 2 * SECOND, "{took:?}");
    let shard = moved(&b);
    assert_eq!(b.grant(shard).position, at(7));
    let lease = world.lease(shard).await;
    assert_eq!(
        (lease.owner, lease.cooperator, lease.handoff_to),
        (Some(id("b")), Some(id("b")), None)
    );
    // Never in the hands of both, and never without an owner.
    let trace = world.trace();
    let place = |what: String| trace.iter().position(|line| line.contains(&what)).unwrap();
    let drained = place(format!("a drained {}", key(shard)));
    assert!(drained < place(format!("b granted {}", key(shard))), "{trace:#?}");
    let writes = world.store.writes().into_iter().filter(|(_, l)| l.key == key(shard));
    assert!(writes.skip(1).all(|(_, lease)| lease.owner.is_some()));
    assert_eq!(a.figures.sum(metrics::LEASES_HANDED_OVER), 1.0);
    assert_eq!(a.figures.sum(metrics::LEASES_LOST), 0.0);
    world.pass(4 * DURATION).await;
    assert_eq!((a.count(), b.count()), (1, 1), "{:#?}", world.trace());
    assert_eq!(world.grants_of(0) + world.grants_of(1), 3);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_react_is_stolen_from_at_the_deadline() {
    let mut world = World::new(2);
    world.drain = None;
    let a = held_by_a(&world).await;
    let b = world.worker("b").await;
    let took = world.until(2 * DURATION, || b.count() == 1).await;
    assert!(took >= DURATION, "{took:?}");
    assert!(took <= DURATION + SECOND, "{took:?}");
    assert_eq!(b.figures.sum(metrics::LEASES_STOLEN), 1.0);
    assert_eq!(world.lease(moved(&b)).await.handoff_to, None);
    world.until(DURATION, || a.count() == 1).await;
    world.pass(4 * DURATION).await;
    assert_eq!((a.count(), b.count()), (1, 1), "{:#?}", world.trace());
}

/// Java renews and knows nothing of requests; what it took from one of ours still carries that one's word.
#[tokio::test(start_paused = true)]
async fn a_java_owner_is_stolen_from_at_once() {
    for cooperator in [None, Some(id("z"))] {
        let world = World::new(2);
        for n in [0, 1] {
            let new = Lease::new(key(n), Position::TrimHorizon);
            let cooperator = cooperator.clone();
            let lease = Lease { owner: Some(id("java")), counter: 1, cooperator, ..new };
            assert!(world.store.plain().create(&lease).await.unwrap());
        }
        let b = world.worker("b").await;
        let took = world.until(DURATION, || b.count() == 1).await;
        assert!(took < SECOND / 10, "{took:?}");
        assert_eq!(b.figures.sum(metrics::LEASES_ASKED_FOR), 0.0);
        assert_eq!(b.figures.sum(metrics::LEASES_STOLEN), 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_dies_before_it_hands_over_expires_as_usual() {
    let mut world = World::new(2);
    world.drain = Some(2 * SECOND);
    let a = held_by_a(&world).await;
    let b = world.worker("b").await;
    world.pass(3 * SECOND).await;
    assert_eq!((a.count(), b.count()), (2, 0), "{:#?}", world.trace());
    a.crash();
    let took = world.until(2 * DURATION, || b.count() == 2).await;
    assert!(took <= DURATION + world.timing.scan_interval, "{took:?}");
    world.pass(2 * DURATION).await;
    assert_eq!(b.count(), 2);
}

/// The lease is its own when it has died; it expires, and its old owner takes it back.
#[tokio::test(start_paused = true)]
async fn a_taker_that_dies_expires_as_usual() {
    let mut world = World::new(2);
    world.drain = Some(2 * SECOND);
    let a = held_by_a(&world).await;
    let b = world.worker("b").await;
    world.pass(3 * SECOND).await;
    b.crash();
    world.until(DURATION, || a.count() == 1).await;
    let took = world.until(2 * DURATION, || a.count() == 2).await;
    assert!(took <= DURATION + 2 * world.timing.scan_interval, "{took:?}");
    let positions = [a.grant(0).position.clone(), a.grant(1).position.clone()];
    assert!(positions.contains(&at(7)), "{positions:?}");
}

/// Who stops while it waits takes its request back, and leaves nothing with its name.
#[tokio::test(start_paused = true)]
async fn a_taker_that_stops_wants_nothing_more() {
    for waits in [SECOND / 2, 3 * SECOND] {
        let mut world = World::new(2);
        world.drain = Some(2 * SECOND);
        let a = held_by_a(&world).await;
        let b = world.worker("b").await;
        world.pass(waits).await;
        assert_eq!(b.count(), 0);
        b.control.stop_taking();
        assert_eq!(b.control.leave(world.clock.now() + SECOND).await, 0);
        let requests = world.leases().await.into_iter().filter_map(|lease| lease.handoff_to);
        assert_eq!(requests.count(), 0);
        // What it has drained already is free, and soon its own again.
        world.pass(DURATION).await;
        assert_eq!(a.count(), 2, "{:#?}", world.trace());
        assert!(world.leases().await.iter().all(|lease| lease.owner == Some(id("a"))));
    }
}

/// Whatever becomes of the call that asks: at most one lease moves, and nothing is stolen.
#[tokio::test(start_paused = true)]
async fn unclear_answers_of_the_request() {
    for fault in [Fault::Before(UNCLEAR), Fault::After(UNCLEAR), Fault::Hang, Fault::DieAfter] {
        for read_fails in [false, true] {
            let world = World::new(2);
            let a = held_by_a(&world).await;
            let (mut asked, mut read) = (0, !read_fails);
            world.store.rule(move |call| match call.operation {
                "Ask" => {
                    asked += 1;
                    (asked == 1).then_some(fault)
                }
                "GetItem" if asked == 1 && !std::mem::replace(&mut read, true) => {
                    Some(Fault::Before(StoreErrorKind::Throttled))
                }
                _ => None,
            });
            let b = world.worker("b").await;
            comes_in_time(&world, &a, &b, &format!("{fault:?} {read_fails}")).await;
        }
    }
}

/// The write that hands over applies once, whatever is heard of it.
#[tokio::test(start_paused = true)]
async fn unclear_answers_of_the_transfer() {
    for fault in [
        Fault::Before(UNCLEAR),
        Fault::After(UNCLEAR),
        Fault::Before(StoreErrorKind::Throttled),
        Fault::Hang,
        Fault::DieAfter,
    ] {
        let world = World::new(2);
        let a = held_by_a(&world).await;
        let mut hit = false;
        world.store.rule(move |call| {
            let hands_over = call.change.is_some_and(|change| change.hands_over);
            (hands_over && !std::mem::replace(&mut hit, true)).then_some(fault)
        });
        let b = world.worker("b").await;
        comes_in_time(&world, &a, &b, &format!("{fault:?}")).await;
    }
}

/// An owner that has drained for a request that was taken back, or that another one has made since.
#[tokio::test(start_paused = true)]
async fn what_nobody_asks_for_any_more_is_freed() {
    for other in [None, Some(id("c"))] {
        let mut world = World::new(1);
        world.drain = Some(SECOND);
        let a = world.worker("a").await;
        world.until(SECOND, || a.count() == 1).await;
        a.grant(0).lease.advance(at(7));
        let plain = world.store.plain();
        let seen = world.lease(0).await;
        assert_eq!(plain.ask(&seen, Some(&id("b"))).await.unwrap(), Outcome::Applied);
        let first = Arc::new(AtomicBool::new(true));
        let owner = other.clone();
        // Just before the write that hands it over.
        let (store, is_first) = (plain.clone(), first.clone());
        world.store.rule(move |call| {
            if call.change.is_some_and(|change| change.hands_over)
                && is_first.swap(false, Ordering::SeqCst)
            {
                let (store, owner) = (store.clone(), owner.clone());
                futures_util::FutureExt::now_or_never(async move {
                    let seen = store.read(&key(0)).await.unwrap().unwrap();
                    store.ask(&seen, owner.as_ref()).await.unwrap();
                });
            }
            None
        });
        world.until(DURATION, || a.count() == 0).await;
        a.control.stop_taking();
        world.pass(SECOND / 10).await;
        assert!(!first.load(Ordering::SeqCst));
        let writes = world.store.writes();
        let (_, last) = writes.last().unwrap();
        assert_eq!((&last.owner, &last.position), (&other, &at(7)), "{writes:#?}");
    }
}

/// Another one's request is respected, and its leases are counted as its own.
#[tokio::test(start_paused = true)]
async fn workers_that_ask_at_once_share_without_a_steal() {
    let world = World::new(12);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 12).await;
    let (b, c, d) = tokio::join!(world.worker("b"), world.worker("c"), world.worker("d"));
    let workers = [&a, &b, &c, &d];
    world.until(2 * DURATION, || workers.iter().all(|worker| worker.count() == 3)).await;
    for worker in workers {
        assert_eq!(worker.figures.sum(metrics::LEASES_STOLEN), 0.0);
        assert_eq!(worker.figures.sum(metrics::LEASES_LOST), 0.0);
    }
    let granted: usize = (0..12).map(|n| world.grants_of(n)).sum();
    assert!(granted <= 12 + 2 * 9, "{granted}: {:#?}", world.trace());
    let owners = world.owners().await;
    world.pass(4 * DURATION).await;
    assert_eq!(world.owners().await, owners);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_asked_for_than_max_leases() {
    let world = World::new(8);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 8).await;
    let b = world.worker_with("b", Some(2)).await.unwrap();
    world.until(DURATION, || b.count() == 2).await;
    world.pass(2 * DURATION).await;
    assert_eq!((a.count(), b.count()), (6, 2));
    assert_eq!(b.figures.sum(metrics::LEASES_ASKED_FOR), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_owner_ends_a_request() {
    let world = World::new(2);
    let a = held_by_a(&world).await;
    let seen = world.lease(0).await;
    let plain = world.store.plain();
    assert_eq!(plain.ask(&seen, Some(&id("gone"))).await.unwrap(), Outcome::Applied);
    a.crash();
    let after = world.worker("a").await;
    world.until(SECOND, || after.count() == 2).await;
    assert_eq!(world.lease(0).await.handoff_to, None);
    world.pass(DURATION).await;
    assert_eq!(after.count(), 2);
}

/// What has come is no longer waited for: the worker that stops then neither frees it while it is read, nor looks for it without
/// end (seed 1320).
#[tokio::test(start_paused = true)]
async fn what_came_before_a_stop_is_kept_until_the_worker_leaves() {
    let world = World::new(2);
    let _a = held_by_a(&world).await;
    let b = world.worker("b").await;
    world.until(DURATION, || b.count() == 1).await;
    b.control.stop_taking();
    world.pass(2 * DURATION).await;
    assert_eq!(b.count(), 1, "{:#?}", world.trace());
    assert_eq!(b.control.leave(world.clock.now() + SECOND).await, 0);
}
