//! Streams that change while they are read: parents to their end, then children, nothing twice.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::StartFrom;

use crate::differences::Difference;
use crate::member::{Log, Member, Way};
use crate::place::{Place, on_endpoint};
use crate::table;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_and_a_merge_by_polling() {
    on_endpoint(|place| a_split_and_a_merge(place, Way::Polling)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_and_a_merge_by_fan_out() {
    on_endpoint(|place| a_split_and_a_merge(place, Way::FanOut)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shard_count_is_doubled_and_halved_by_polling() {
    on_endpoint(|place| the_shard_count_is_doubled_and_halved(place, Way::Polling)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shard_count_is_doubled_and_halved_by_fan_out() {
    on_endpoint(|place| the_shard_count_is_doubled_and_halved(place, Way::FanOut)).await;
}

/// S1, S6, S7, S11.
async fn a_split_and_a_merge(place: Arc<Place>, way: Way) {
    let (world, app, log) = (place.stream(2).await, place.application(), Log::default());
    let mut producer = world.produce(20, 40);
    let member = Member::start(&world, &app, 1, way, StartFrom::TrimHorizon, &log);
    member.ready(&place).await;
    let mut rng = fastrand::Rng::new();
    world.split(&mut rng).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.merge(&mut rng).await;
    producer.stop().await;
    let span = patience(&place, way, 2);
    log.drained(&place, &world, span).await;
    table::ended(&place, &app, 3, span).await;
    member.stop().await;
    let account = log.account(&world);
    assert_eq!((account.lost, account.duplicates), (0, 0), "{account:?}");
}

/// The same by UpdateShardCount, which splits and merges on its own account.
async fn the_shard_count_is_doubled_and_halved(place: Arc<Place>, way: Way) {
    let (world, app, log) = (place.stream(2).await, place.application(), Log::default());
    let mut producer = world.produce(20, 40);
    let member = Member::start(&world, &app, 1, way, StartFrom::TrimHorizon, &log);
    member.ready(&place).await;
    world.update_shard_count(4).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.update_shard_count(2).await;
    producer.stop().await;
    let span = patience(&place, way, 2);
    log.drained(&place, &world, span).await;
    table::ended(&place, &app, 4, span).await;
    member.stop().await;
    let account = log.account(&world);
    assert_eq!((account.lost, account.duplicates), (0, 0), "{account:?}");
}

/// So long the last child of so many generations may take on the emulator.
fn patience(place: &Place, way: Way, generations: u32) -> Duration {
    let seconds =
        if way == Way::FanOut && Difference::NoChildShards.is_met_by(place) { 15 } else { 5 };
    Duration::from_secs(10) + Duration::from_secs(seconds) * generations
}
