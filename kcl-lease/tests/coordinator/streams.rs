//! Several streams in one application, and tables of others.

use std::time::Duration;

use kcl_core::leasing::{LeasingError, Release};
use kcl_core::{Position, StartFrom};
use kcl_lease::store::{Change, LeaseStore, Outcome};
use kcl_lease::{Lease, LeaseKey};

use crate::world::{DURATION, Worker, World, id, key, stream};

const SECOND: Duration = Duration::from_secs(1);

fn world(shards: u32) -> World {
    let mut world = World::new(shards);
    world.more = vec![(stream("payments"), StartFrom::Latest)];
    world
}

fn of(name: &str, n: u32) -> LeaseKey {
    LeaseKey::multi(stream(name).id, id(n))
}

#[tokio::test(start_paused = true)]
async fn each_stream_begins_where_it_was_told_and_all_leases_are_shared_out() {
    let world = world(3);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 6).await;
    for n in 0..3 {
        let grants = a.grants.lock().unwrap();
        let (orders, payments) = (&grants[&of("orders", n)], &grants[&of("payments", n)]);
        assert_eq!((&orders.position, orders.started_at), (&Position::TrimHorizon, None));
        assert_eq!(payments.position, Position::Latest);
        assert!(payments.started_at.is_some());
        assert_eq!(payments.stream, stream("payments"));
    }
    let b = world.worker("b").await;
    let balanced = || [&a, &b].map(Worker::count) == [3, 3];
    world.until(DURATION, balanced).await;
}

/// The same shard id in two streams: the end, the parents and the holes of one are nothing to the other.
#[tokio::test(start_paused = true)]
async fn streams_do_not_see_each_others_shards() {
    let world = world(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 4).await;
    world.kinesis.split(0);
    let orders = a.grants.lock().unwrap().remove(&of("orders", 0)).unwrap();
    orders.lease.end(world.kinesis.children(&id(0))).await.unwrap();
    world.until(SECOND, || a.count() == 5).await;
    let store = world.store.plain();
    assert!(store.read(&of("orders", 2)).await.unwrap().is_some());
    assert!(store.read(&of("payments", 2)).await.unwrap().is_none());
    assert!(!store.read(&of("payments", 0)).await.unwrap().unwrap().has_ended());
    // A hole in one stream is filled in that stream.
    let lost = store.read(&of("payments", 1)).await.unwrap().unwrap();
    store.delete(&lost.key, &lost.fence()).await.unwrap();
    world.until(DURATION, || a.count() == 4).await;
    world.until(2 * DURATION, || a.count() == 5).await;
    assert!(store.read(&of("payments", 1)).await.unwrap().is_some());
    assert!(store.read(&of("payments", 2)).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn leases_of_a_dropped_stream_are_left_alone() {
    let world = world(1);
    let dropped = Lease::new(of("dropped", 0), Position::TrimHorizon);
    for lease in [&dropped, &Lease::new(of("orders", 0), Position::TrimHorizon)] {
        world.store.plain().create(lease).await.unwrap();
    }
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.pass(3 * DURATION).await;
    assert_eq!(world.store.plain().read(&dropped.key).await.unwrap(), Some(dropped));
}

#[tokio::test(start_paused = true)]
async fn a14_a_table_of_another_mode_is_refused_before_anything_is_written() {
    let world = world(1);
    world.store.plain().create(&Lease::new(key(0), Position::TrimHorizon)).await.unwrap();
    let Err(LeasingError::TableForeign { table, reason }) = world.worker_with("a", None).await
    else {
        panic!("joined");
    };
    assert_eq!(table, "orders-app");
    assert!(reason.contains("one stream"), "{reason}");
    assert_eq!(world.leases().await.len(), 1);
}

/// Two applications of several streams, and one table name.
#[tokio::test(start_paused = true)]
async fn a15_a_table_of_other_streams_is_refused_before_anything_is_written() {
    let world = world(1);
    let other = Lease::new(of("invoices", 0), Position::TrimHorizon);
    world.store.plain().create(&other).await.unwrap();
    let Err(LeasingError::TableForeign { reason, .. }) = world.worker_with("a", None).await else {
        panic!("joined");
    };
    assert!(reason.contains("choose another table"), "{reason}");
    assert_eq!(world.leases().await, [other]);
}

/// Ledger 25: a stop leaves no name behind, also not on a lease that was handed over, or written late, after its stream was
/// removed.
#[tokio::test(start_paused = true)]
async fn s22_what_comes_after_its_stream_was_left_is_free_at_the_stop() {
    let world = world(1);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    let (payments, store) = (of("payments", 0), world.store.plain());
    a.control.read_streams(vec![(stream("orders"), StartFrom::TrimHorizon)]);
    world.pass(SECOND).await;
    let grant = a.grants.lock().unwrap().remove(&payments).unwrap();
    grant.lease.release(Release::Wanted).await.unwrap();
    world.pass(SECOND).await;
    let owned = |owner: &str| Change {
        owner: Some(Some(owner.parse().unwrap())),
        cooperates: true,
        ..Change::default()
    };
    let left = store.read(&payments).await.unwrap().unwrap();
    assert_eq!(left.owner, None);
    let late = store.update(&payments, &left.fence(), &owned("a")).await.unwrap();
    assert_eq!(late, Outcome::Applied);
    assert_eq!(a.control.leave(world.clock.now() + 5 * SECOND).await, 0);
    assert_eq!(store.read(&payments).await.unwrap().unwrap().owner, None);
}
