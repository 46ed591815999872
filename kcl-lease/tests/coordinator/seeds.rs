//! What seeds of the simulation found in the coordinator, each as a scenario of its own (the ledger is docs/simulation.md).

use std::time::Duration;

use kcl_core::StartFrom;
use kcl_lease::store::{Change, Consistency, LeaseStore};

use crate::faults::{Fault, UNCLEAR};
use crate::world::{DURATION, World, at, id, key};

const SECOND: Duration = Duration::from_secs(1);

/// Seed 779: the checkpoint of a processor that had checkpointed already waited for the next renewal.
#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_durable_already_is_answered_at_once() {
    let world = World::new(1);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 1).await;
    let lease = a.grant(0).lease.clone();
    lease.checkpoint(at(5)).await.unwrap();
    let (begun, writes) = (world.clock.now(), world.store.writes().len());
    lease.checkpoint(at(5)).await.unwrap();
    assert_eq!(world.clock.now() - begun, Duration::ZERO);
    assert_eq!(world.store.writes().len(), writes);
}

/// Seed 887: a worker with its share left the child of its own shard to others, who saw it with their next scan.
#[tokio::test(start_paused = true)]
async fn children_are_taken_at_once_also_above_the_share() {
    let world = World::new(3);
    let (a, b) = (world.worker("a").await, world.worker("b").await);
    world.until(DURATION, || a.count() + b.count() == 3 && a.count() > 0 && b.count() > 0).await;
    world.pass(SECOND / 2).await;
    let (full, other) = if a.count() == 2 { (&a, &b) } else { (&b, &a) };
    let shard = *[0, 1, 2].iter().find(|n| full.shards().contains(&id(**n))).unwrap();
    world.kinesis.split(shard);
    // Its share of the four that are left is two, and it has one.
    full.end(shard).await.unwrap();
    let took = world.until(SECOND, || full.count() == 3).await;
    assert!(took < SECOND / 10, "{took:?}");
    world.until(DURATION, || full.count() == 2 && other.count() == 2).await;
}

/// Seed 92: who ends the last parent of a merged shard did not know that the other one, a peer's, had ended.
#[tokio::test(start_paused = true)]
async fn a_merged_shard_starts_at_once_also_where_its_parents_have_two_owners() {
    let world = World::new(2);
    let (a, b) = (world.worker("a").await, world.worker("b").await);
    world.until(DURATION, || a.count() == 1 && b.count() == 1).await;
    world.kinesis.merge(0, 1);
    let (first, last) = if a.shards().contains(&id(0)) { (&a, &b) } else { (&b, &a) };
    first.end(0).await.unwrap();
    last.end(1).await.unwrap();
    let merged = || last.shards() == [id(2)].into() || first.shards() == [id(2)].into();
    let took = world.until(SECOND, merged).await;
    assert!(took < SECOND / 10, "{took:?}");
}

/// Seed 131: a worker that had seen no lease yet stood still while others read; then it took every open shard for forgotten.
#[tokio::test(start_paused = true)]
async fn a_worker_that_did_not_run_takes_no_shard_for_forgotten() {
    let mut world = World::new(1);
    world.start = StartFrom::Latest;
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 1).await;
    let b = world.worker("b").await;
    b.tasks.stall();
    world.kinesis.split(0); // 1, 2
    world.kinesis.split(1); // 3, 4
    world.pass(90 * SECOND).await;
    b.tasks.resume();
    world.pass(2 * DURATION).await;
    // Nothing but what the reader of shard 0 makes at its end.
    let keys: Vec<_> = world.leases().await.into_iter().map(|lease| lease.key).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    a.end(0).await.unwrap();
    world.until(SECOND, || a.count() == 2).await;
}

/// Seed 148: two workers found the application, the second with shards that it listed after a reshard. Those begin later than
/// the first one's, and what lies in between was nobody's.
#[tokio::test(start_paused = true)]
async fn a_second_founder_does_not_begin_where_the_first_has_records_before() {
    let mut world = World::new(1);
    world.start = StartFrom::Latest;
    // The second founder saw no lease, and is slow.
    world.store.freeze_scans().await;
    let mut scans = 0;
    world.store.rule(move |call| {
        let is_first_scan = call.worker == "late" && call.operation == "Scan" && scans == 0;
        scans += u32::from(is_first_scan);
        is_first_scan.then_some(Fault::Slow(2 * SECOND))
    });
    let (late, early) = tokio::join!(world.worker("late"), async {
        let early = world.worker("early").await;
        world.until(SECOND, || early.count() == 1).await;
        world.kinesis.split(0);
        world.store.thaw_scans();
        early
    });
    world.pass(2 * DURATION).await;
    let keys: Vec<_> = world.leases().await.into_iter().map(|lease| lease.key).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!((early.count(), late.count()), (1, 0));
}

/// Seed 929: by an old scan the lease was free, an earlier process of the same id had taken it since, and the take failed: what
/// was found looked like its effect, and was older.
#[tokio::test(start_paused = true)]
async fn a_take_of_an_earlier_life_is_not_mistaken_for_an_unclear_one() {
    let world = World::new(1);
    let founder = world.worker("founder").await;
    world.until(SECOND, || founder.count() == 1).await;
    founder.release(0, kcl_core::leasing::Release::Stopping).await;
    founder.crash();
    world.store.freeze_scans().await;
    let first = world.worker("a").await;
    world.until(SECOND, || first.count() == 1).await;
    first.crash();
    let taken = world.lease(0).await.counter;
    world.pass(3 * SECOND).await;
    let mut writes = 0;
    world.store.rule(move |call| {
        writes += u32::from(call.operation == "UpdateItem");
        (call.operation == "UpdateItem" && writes == 1).then_some(Fault::Before(UNCLEAR))
    });
    let again = world.worker("a").await;
    world.until(SECOND, || again.count() == 1).await;
    assert!(world.lease(0).await.counter > taken, "its own write must prove the lease");
    let scan = world.store.plain().scan(Consistency::Strong).await.unwrap();
    assert_eq!(scan.leases.len(), 1);
}

/// Seeds 814, 1422: while one lease of a dead worker was being taken, the other one expired, and was only seen by the next scan.
#[tokio::test(start_paused = true)]
async fn a_lease_that_expires_while_another_is_taken_is_taken_next() {
    let world = World::new(3);
    let gone = world.worker("gone").await;
    world.until(SECOND, || gone.count() == 3).await;
    gone.crash();
    let free = Change { owner: Some(None), ..Change::default() };
    let last = world.lease(2).await;
    world.store.plain().update(&last.key, &last.fence(), &free).await.unwrap();
    let heir = world.worker("heir").await;
    world.until(SECOND, || heir.shards() == [id(2)].into()).await; // its share, were the other one alive
    world.pass(SECOND).await;
    // A last sign of life of the second one, which the next scan shows: it expires two seconds after the first one.
    let last = world.lease(1).await;
    let renewal = Change::default();
    world.store.plain().update(&last.key, &last.fence(), &renewal).await.unwrap();
    world.pass(DURATION - 3 * SECOND / 2).await;
    let mut scans = 0;
    world.store.rule(move |call| match (call.operation, call.key) {
        ("Scan", _) => {
            scans += 1;
            (scans == 1).then_some(Fault::Slow(SECOND))
        }
        ("UpdateItem", Some(of)) if *of == key(0) => Some(Fault::Slow(3 * SECOND / 2)),
        _ => None,
    });
    world.until(5 * SECOND, || heir.count() >= 2).await;
    let took = world.until(SECOND, || heir.count() == 3).await;
    assert!(took < SECOND / 5, "{took:?}: {:#?}", world.trace());
}

/// Seed 523: a worker that had stood still sent a renewal whose answer was lost. A later process of its id had taken the lease
/// meanwhile, which looked like the renewal's effect.
#[tokio::test(start_paused = true)]
async fn a_take_by_a_twin_is_not_mistaken_for_an_unclear_renewal() {
    let world = World::new(1);
    let first = world.worker("a").await;
    world.until(SECOND, || first.count() == 1).await;
    let grant = first.grant(0);
    // What the first one writes from now on fails after the other has taken the lease.
    world.store.rule(|call| {
        let renews =
            call.operation == "UpdateItem" && call.change.is_some_and(|c| c.owner.is_none());
        renews.then_some(Fault::Before(UNCLEAR))
    });
    let twin = world.worker_as("twin", "a", None).await.unwrap();
    world.until(SECOND, || twin.count() == 1).await;
    world.until(DURATION / 2, || grant.lease.lost().is_cancelled()).await;
}

/// Seed 302604: a founder stood still after it had seen that there are no leases.
#[tokio::test(start_paused = true)]
async fn a_founder_that_stood_still_looks_again() {
    let mut world = World::new(1);
    world.start = StartFrom::Latest;
    let mut scans = 0;
    world.store.rule(move |call| {
        scans += u32::from(call.worker == "late" && call.operation == "Scan");
        // The first is for what the table holds at all.
        let stands_still = call.worker == "late" && call.operation == "Scan" && scans == 2;
        stands_still.then_some(Fault::Slow(DURATION / 2))
    });
    let (late, early) = tokio::join!(world.worker("late"), async {
        world.pass(SECOND).await;
        world.kinesis.split(0);
        let early = world.worker("early").await;
        world.until(SECOND, || early.count() == 2).await;
        early
    });
    let keys: Vec<_> = world.leases().await.into_iter().map(|lease| lease.key).collect();
    assert_eq!(keys, [key(1), key(2)]);
    assert_eq!((early.count(), late.count()), (2, 0));
}
