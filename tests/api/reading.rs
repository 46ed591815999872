//! Reading: everything once, from where it was asked.

use std::time::Duration;

use kcl_core::{Aggregation, StartFrom, WorkerEvent};

use crate::world::{Recorder, STREAM, World};

const MINUTE: Duration = Duration::from_secs(60);

/// S1, S6: every record, once, in order.
#[tokio::test(start_paused = true)]
async fn one_worker_reads_everything_in_order() {
    reads_everything_in_order(World::new(4).await).await;
}

pub(crate) async fn reads_everything_in_order(world: World) {
    world.put_many(20, 100).await;
    let worker = world.start("a");
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.duplicates, account.out_of_order), (0, 0, 0));
    let report = worker.stop().await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.drained.len(), 4);
}

/// L4: shards spread, and each is read by one worker at a time.
#[tokio::test(start_paused = true)]
async fn three_workers_share_the_shards() {
    share_the_shards(World::new(6).await).await;
}

pub(crate) async fn share_the_shards(world: World) {
    let workers = [world.start("a"), world.start("b"), world.start("c")];
    for _ in 0..40 {
        world.put(20, 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.out_of_order), (0, 0), "{account:?}");
    let late = world.oracle.delivered();
    let late = &late[late.len() - 40..];
    for worker in &workers {
        let reads = late.iter().filter(|delivered| delivered.worker == worker.id).count();
        assert!(reads > 0, "{} reads nothing", worker.id);
    }
    for worker in workers {
        assert!(worker.stop().await.is_clean());
    }
}

/// A record is handed over within one poll interval: the longest is 1 s on a silent shard.
#[tokio::test(start_paused = true)]
async fn a_record_on_an_idle_shard_is_handed_over_within_a_poll_interval() {
    let world = World::new(2).await;
    let worker = world.start("a");
    worker.wait_for(|event| matches!(event, WorkerEvent::Granted { .. })).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(7_300)).await;
        #[expect(clippy::disallowed_methods, reason = "the test stands outside of the library")]
        let put_at = tokio::time::Instant::now();
        world.put(1, 1).await;
        world.oracle.drained(MINUTE).await;
        let delivered = world.oracle.delivered().last().unwrap().at;
        assert!(delivered - put_at <= Duration::from_millis(1_050), "{:?}", delivered - put_at);
    }
    worker.stop().await;
}

/// S10: `LATEST` skips what is older than the application, and nothing that is newer than `Ready`, also when the first
/// worker dies before it saw a record.
#[tokio::test(start_paused = true)]
async fn latest_is_sticky() {
    latest_skips_nothing_new(World::new(2).await).await;
}

pub(crate) async fn latest_skips_nothing_new(world: World) {
    for _ in 0..50 {
        let old = world.kinesis.put_record().stream_name(STREAM).partition_key("old");
        old.data(aws_sdk_kinesis::primitives::Blob::new("old:0")).send().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let start = |id: &str| {
        let (oracle, worker) = (world.oracle.clone(), id.parse().unwrap());
        let worker: kcl_core::WorkerId = worker;
        world.start_with(id, StartFrom::Latest, move |_| Recorder {
            oracle: oracle.clone(),
            worker: worker.clone(),
        })
    };
    let first = start("a");
    first.wait_for(|event| matches!(event, WorkerEvent::Ready)).await;
    first.kill().await;
    world.put(5, 4).await; // while nobody reads
    let second = start("b");
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.put, account.lost, account.duplicates), (20, 0, 0));
    assert!(world.oracle.delivered().iter().all(|delivered| delivered.key != "old"));
    second.stop().await;
}

/// S14: the user records of an aggregate arrive one by one; a checkpoint inside resumes after it.
#[tokio::test(start_paused = true)]
async fn aggregates_are_unpacked_and_resumed_in_the_middle() {
    resumes_inside_an_aggregate(World::new(1).await).await;
}

pub(crate) async fn resumes_inside_an_aggregate(world: World) {
    use kcl_core::{Batch, RecordProcessor, ShardContext};
    use std::sync::{Arc, Mutex};

    #[derive(Clone)]
    struct Half(Arc<Mutex<Vec<(u64, Aggregation)>>>);
    impl RecordProcessor for Half {
        type Error = kcl_core::leasing::CheckpointError;
        async fn process_records(
            &mut self,
            batch: Batch,
            shard: &mut ShardContext,
        ) -> Result<(), Self::Error> {
            let fresh = *shard.resumed_after() == kcl_core::Position::TrimHorizon;
            for record in &batch {
                self.0.lock().unwrap().push((record.sub_sequence_number(), record.aggregation()));
                if fresh && record.sub_sequence_number() == 2 {
                    shard.checkpointer().checkpoint_at(record).await?;
                    std::future::pending::<()>().await;
                }
            }
            Ok(())
        }
    }

    let mut aggregator = kcl_core::aggregation::Aggregator::new(100_000);
    for n in 0..5 {
        assert!(aggregator.push("key", None, format!("key:{n}").as_bytes()));
    }
    let aggregate = aggregator.finish().unwrap();
    let put = world.kinesis.put_record().stream_name(STREAM).partition_key(aggregate.partition_key);
    let data = aws_sdk_kinesis::primitives::Blob::new(aggregate.data.to_vec());
    put.data(data).send().await.unwrap();

    let seen = Half(Arc::default());
    let for_first = seen.clone();
    let first = world.start_with("a", StartFrom::TrimHorizon, move |_| for_first.clone());
    tokio::time::sleep(Duration::from_secs(5)).await;
    first.kill().await;
    let for_second = seen.clone();
    let second = world.start_with("b", StartFrom::TrimHorizon, move |_| for_second.clone());
    tokio::time::sleep(MINUTE).await;
    second.stop().await;
    let subs: Vec<u64> = seen.0.lock().unwrap().iter().map(|(sub, _)| *sub).collect();
    assert_eq!(subs, [0, 1, 2, 3, 4]);
}
