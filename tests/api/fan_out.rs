//! The same worker and the same processors, fed by SubscribeToShard. Random histories by fan-out are with the others.

use std::time::Duration;

use kcl_core::{StartFrom, WorkerEvent};

use crate::world::{Reading, Recorder, World};
use crate::{reading, reshards};

const MINUTE: Duration = Duration::from_secs(60);

async fn world(shards: i32) -> World {
    World::new(shards).await.by(Reading::FanOut)
}

/// S1, S6, S15.
#[tokio::test(start_paused = true)]
async fn one_worker_reads_everything_in_order_by_fan_out() {
    reading::reads_everything_in_order(world(4).await).await;
}

/// L4, D5.
#[tokio::test(start_paused = true)]
async fn three_workers_share_the_shards_by_fan_out() {
    reading::share_the_shards(world(6).await).await;
}

/// S10.
#[tokio::test(start_paused = true)]
async fn latest_is_sticky_by_fan_out() {
    reading::latest_skips_nothing_new(world(2).await).await;
}

/// S14.
#[tokio::test(start_paused = true)]
async fn a_checkpoint_inside_an_aggregate_is_resumed_by_fan_out() {
    reading::resumes_inside_an_aggregate(world(1).await).await;
}

/// S7, S8, S9.
#[tokio::test(start_paused = true)]
async fn a_split_and_a_merge_in_a_backlog_lose_nothing_by_fan_out() {
    reshards::reshards_in_a_backlog(world(4).await).await;
}

/// L3.
#[tokio::test(start_paused = true)]
async fn children_begin_within_a_second_by_fan_out() {
    reshards::children_begin_soon(world(1).await).await;
}

/// S15, D5: a stop in order repeats nothing, though the next owner must wait for the five seconds of the last subscription.
#[tokio::test(start_paused = true)]
async fn s15_a_stop_in_order_repeats_nothing_by_fan_out() {
    let world = world(3).await;
    let first = world.start("a");
    first.wait_for(|event| matches!(event, WorkerEvent::Granted { .. })).await;
    for round in 0..4 {
        world.put(10, 3).await;
        tokio::time::sleep(Duration::from_secs(2 * round)).await;
    }
    assert!(first.stop().await.is_clean());
    world.put(10, 3).await;
    #[expect(clippy::disallowed_methods, reason = "the test stands outside of the library")]
    let begun = tokio::time::Instant::now();
    let second = world.start("b");
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.duplicates, account.out_of_order), (0, 0, 0));
    let took = world.oracle.delivered().last().unwrap().at - begun;
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(second.stop().await.is_clean());
}

/// B9: a processor that takes twenty seconds for a batch, while others read on.
#[tokio::test(start_paused = true)]
async fn b9_a_slow_processor_reads_all_by_fan_out() {
    use kcl_core::{Batch, RecordProcessor, ShardContext};

    struct Slow(Recorder);
    impl RecordProcessor for Slow {
        type Error = std::convert::Infallible;
        async fn process_records(
            &mut self,
            batch: Batch,
            shard: &mut ShardContext,
        ) -> Result<(), Self::Error> {
            tokio::time::sleep(Duration::from_secs(20)).await;
            self.0.process_records(batch, shard).await
        }
    }

    let world = world(2).await;
    let (oracle, worker) = (world.oracle.clone(), kcl_core::WorkerId::new("a").unwrap());
    let running = world.start_with("a", StartFrom::TrimHorizon, move |_| {
        Slow(Recorder { oracle: oracle.clone(), worker: worker.clone() })
    });
    for _ in 0..30 {
        world.put(6, 1).await;
        tokio::time::sleep(Duration::from_secs(7)).await;
    }
    let account = world.oracle.drained(3 * MINUTE).await;
    assert_eq!((account.lost, account.duplicates, account.out_of_order), (0, 0, 0));
    running.stop().await;
}
