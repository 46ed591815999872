//! Two live workers under one id, which must not be.

use std::time::Duration;

use crate::log::Warnings;
use crate::world::{DURATION, World};

const SECOND: Duration = Duration::from_secs(1);
const TWIN: &str = "another live worker has the same id";

#[tokio::test(start_paused = true)]
async fn a_worker_whose_id_another_one_uses_says_so_once() {
    let (warnings, _guard) = Warnings::collect();
    let world = World::new(4);
    let one = world.worker_as("one", "same", None).await.unwrap();
    world.until(SECOND, || one.count() == 4).await;
    let _two = world.worker_as("two", "same", None).await.unwrap();
    world.pass(6 * DURATION).await;
    assert_eq!(warnings.with(TWIN), 2, "once each");
}

#[tokio::test(start_paused = true)]
async fn a_restart_under_the_same_id_is_no_twin() {
    let (warnings, _guard) = Warnings::collect();
    let world = World::new(4);
    for _ in 0..3 {
        let worker = world.worker("same").await;
        world.until(SECOND, || worker.count() == 4).await;
        world.pass(DURATION).await;
        worker.crash();
    }
    assert_eq!(warnings.with(TWIN), 0);
}
