//! Listings of shards that fail or lack some, and the figures of a quiet life.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kcl_core::kinesis::ApiErrorKind;
use kcl_core::leasing::LeasingError;
use kcl_core::{Position, metrics};
use kcl_lease::store::LeaseStore;

use crate::kinesis::Listing;
use crate::world::{DURATION, World, key};

const SECOND: Duration = Duration::from_secs(1);

/// As the Java KCL: three more looks, a second apart.
#[tokio::test(start_paused = true)]
async fn a_new_application_waits_for_a_listing_that_covers_all_hash_keys() {
    for bad in [1, 3] {
        let world = World::new(2);
        world.kinesis.next_listings(vec![Listing::Lacks; bad]);
        let a = world.worker("a").await;
        let took = (world.clock.now() - world.begun).as_secs();
        assert_eq!(took, bad as u64);
        world.until(SECOND, || a.count() == 2).await;
    }
    let world = World::new(2);
    world.kinesis.next_listings([Listing::Lacks; 4]);
    let joined = world.worker_with("a", None).await;
    assert!(matches!(joined, Err(LeasingError::ShardsIncomplete { .. })));
    assert!(world.leases().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_at_the_start_is_tried_again_where_that_helps() {
    let world = World::new(2);
    world.kinesis.next_listings([
        Listing::Fails(ApiErrorKind::Throttled),
        Listing::Fails(ApiErrorKind::Unavailable),
        Listing::Lacks,
    ]);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    assert!(world.clock.now() - world.begun < 3 * SECOND);

    for (kind, tries) in [(ApiErrorKind::Unavailable, 11), (ApiErrorKind::NotFound, 1)] {
        let world = World::new(2);
        world.kinesis.next_listings(vec![Listing::Fails(kind); tries]);
        let joined = world.worker_with("a", None).await;
        assert!(matches!(joined, Err(LeasingError::Unavailable(_))), "{kind:?}");
        assert!(world.kinesis.is_well(), "{kind:?}: fewer tries");
    }
}

/// L7.
#[tokio::test(start_paused = true)]
async fn a_hole_is_filled_although_listings_fail_at_first() {
    let world = World::new(2);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.pass(DURATION).await;
    let lease = world.lease(1).await;
    world.store.plain().delete(&key(1), &lease.fence()).await.unwrap();
    world.kinesis.next_listings([Listing::Fails(ApiErrorKind::Unavailable); 2]);
    world.until(DURATION, || a.count() == 1).await;
    world.until(2 * DURATION, || a.count() == 2).await;
    assert!(world.kinesis.is_well());
}

#[tokio::test(start_paused = true)]
async fn the_figures_are_those_of_the_calls_that_were_made() {
    let world = World::new(2);
    let (writes, scans) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (writes.clone(), scans.clone());
    world.store.rule(move |call| {
        match call.operation {
            "PutItem" | "UpdateItem" => counts.0.fetch_add(1, Ordering::SeqCst),
            "Scan" => counts.1.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
        None
    });
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    for sequence in ["5", "6", "7"] {
        let position = Position::at(sequence.parse().unwrap(), 0);
        a.grant(0).lease.checkpoint(position).await.unwrap();
    }
    assert_eq!(a.figures.sum(metrics::LEASES_HELD), 2.0);
    world.pass(3 * DURATION).await;
    a.control.leave(world.clock.now() + SECOND).await;
    assert_eq!(a.figures.sum(metrics::CHECKPOINTS), 3.0);
    assert_eq!(a.figures.sum(metrics::LEASES_HELD), 0.0);
    assert_eq!(a.figures.sum(metrics::LEASE_WRITES), writes.load(Ordering::SeqCst) as f64);
    assert_eq!(a.figures.sum(metrics::LEASE_SCANS), scans.load(Ordering::SeqCst) as f64);
    // Two created, two taken, three checkpoints, two freed; and two renewed in 30 s, every 3.6 to 4 s.
    let renewals = writes.load(Ordering::SeqCst) - 9;
    assert!((14..=16).contains(&renewals), "{renewals}");
}
