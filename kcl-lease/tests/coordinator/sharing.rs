//! Joining, sharing, dying, leaving.

use std::time::Duration;

use crate::world::{DURATION, World, id, key};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_new_application_is_granted_its_shards_at_once() {
    let world = World::new(4);
    let worker = world.worker("a").await;
    let took = world.until(SECOND, || worker.count() == 4).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    for lease in world.leases().await {
        assert_eq!(lease.owner, Some("a".parse().unwrap()));
        assert!(lease.hash_range.is_some());
    }
    assert_eq!(worker.grant(0).shard, id(0));
    assert_eq!(world.lease(0).await.key, key(0));
    world.pass(3 * DURATION).await;
    assert_eq!(worker.count(), 4, "{:#?}", world.trace());
}
