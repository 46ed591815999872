//! Items of the table that are no readable leases.

use std::time::Duration;

use kcl_core::metrics;

use crate::log::Warnings;
use crate::world::{DURATION, World};

const SECOND: Duration = Duration::from_secs(1);
const DAMAGED: &str = "damaged leases are left alone";

/// Java's rows 40 and 57, D9: counted at every scan, told once each time that there are new ones.
#[tokio::test(start_paused = true)]
async fn damaged_and_foreign_items_are_counted_and_told_once() {
    let (warnings, _guard) = Warnings::collect();
    let world = World::new(2);
    world.store.litter(&[("shardId-7", "checkpoint is not"), ("shardId-8", "the same")], 3);
    let a = world.worker("a").await;
    world.until(SECOND, || a.count() == 2).await;
    world.pass(3 * DURATION).await;
    assert_eq!((warnings.with(DAMAGED), warnings.with("count=2")), (1, 1));
    world.store.litter(&[("shardId-7", "checkpoint is not"), ("shardId-9", "leaseOwner")], 3);
    world.pass(3 * DURATION).await;
    assert_eq!((warnings.with(DAMAGED), warnings.with("shardId-9")), (2, 1));
    let (damaged, foreign) =
        (a.figures.sum(metrics::LEASES_UNREADABLE), a.figures.sum(metrics::LEASE_ITEMS_FOREIGN));
    assert!(damaged >= 40.0 && damaged / 2.0 == foreign / 3.0, "{damaged} {foreign}");
    assert_eq!(a.figures.sum(metrics::LEASES_LOST), 0.0);
}
