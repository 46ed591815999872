//! Streams that are added to a worker, and removed from it, while it runs.

use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use kcl_core::{Batch, RecordProcessor, ShardContext, ShardId, StartFrom, StreamSet, Worker};
use kcl_core::{WorkerEvent, WorkerId};

use crate::oracle::Oracle;
use crate::streams::{PAYMENTS, create_payments, items, pay};
use crate::world::{Recorder, Running, STREAM, World};

const MINUTE: Duration = Duration::from_secs(60);

fn start(world: &World, id: &str, streams: &StreamSet) -> Running {
    let (oracle, worker) = (world.oracle.clone(), WorkerId::new(id).unwrap());
    start_with(world, id, streams, move |_| Recorder {
        oracle: oracle.clone(),
        worker: worker.clone(),
    })
}

fn start_with<P: RecordProcessor>(
    world: &World,
    id: &str,
    streams: &StreamSet,
    processor: impl Fn(&ShardId) -> P + Send + Sync + 'static,
) -> Running {
    let worker = Worker::builder("orders-app").streams(streams.clone());
    world.launch(id, world.prepared(id, worker, processor))
}

fn of(streams: &[(&str, StartFrom)]) -> StreamSet {
    let set = StreamSet::new();
    for (stream, start) in streams {
        assert!(set.add(stream, *start).unwrap());
    }
    set
}

/// One record under a key of its own.
async fn pay_one(world: &World, key: &str) {
    let put = world.kinesis.put_record().stream_name(PAYMENTS).partition_key(key);
    put.data(Blob::new(world.oracle.next(key))).send().await.unwrap();
}

fn is_ready(event: &WorkerEvent) -> bool {
    matches!(event, WorkerEvent::StreamReady(stream) if stream.name().as_str() == PAYMENTS)
}

/// How many shards of the stream were drained so far.
fn drained(worker: &Running, stream: &str) -> usize {
    let is_drained = |event: &WorkerEvent| matches!(event, WorkerEvent::Drained(shard) if shard.stream.name().as_str() == stream);
    worker.events().iter().filter(|event| is_drained(event)).count()
}

/// How many leases of orders and of payments have an owner.
async fn owned(world: &World) -> [usize; 2] {
    let items = items(world).await;
    [STREAM, PAYMENTS].map(|stream| {
        let of_it = items.iter().filter(|(key, _)| key.contains(stream));
        of_it.filter(|(_, item)| item.contains_key("leaseOwner")).count()
    })
}

/// S1, S3, S6: from the moment when it is said to be read nothing is skipped, by whichever worker.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_added_is_read_from_then_on() {
    let world = World::new(2).await;
    create_payments(&world).await;
    let old = world.kinesis.put_record().stream_name(PAYMENTS).partition_key("old");
    old.data(Blob::new("old:0")).send().await.unwrap();
    tokio::time::sleep(MINUTE).await;

    let first_set = of(&[(STREAM, StartFrom::TrimHorizon)]);
    let first = start(&world, "first", &first_set);
    first.wait_for(|event| matches!(event, WorkerEvent::Ready)).await;
    world.put(8, 3).await;
    first_set.add(PAYMENTS, StartFrom::Latest).unwrap();
    first.wait_for(is_ready).await;
    pay(&world, 3).await;
    world.put(8, 3).await;

    let both = of(&[(STREAM, StartFrom::TrimHorizon), (PAYMENTS, StartFrom::Latest)]);
    let second = start(&world, "second", &both);
    pay(&world, 3).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.out_of_order, account.duplicates), (0, 0, 0), "{account:?}");
    first.kill().await;
    pay(&world, 3).await;
    world.put(8, 3).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.out_of_order), (0, 0), "{account:?}");
    assert!(second.stop().await.is_clean());
    assert!(world.oracle.delivered().iter().all(|delivered| delivered.key != "old"));
}

/// S1, S15: nothing of a removed stream is delivered, its leases are free, and adding it again repeats and skips nothing.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_removed_is_drained_and_goes_on_where_it_was_left() {
    let world = World::new(2).await;
    create_payments(&world).await;
    let set = of(&[(STREAM, StartFrom::TrimHorizon), (PAYMENTS, StartFrom::TrimHorizon)]);
    let worker = start(&world, "worker", &set);
    pay(&world, 3).await;
    world.oracle.drained(MINUTE).await;

    assert!(set.remove(PAYMENTS).unwrap());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(drained(&worker, PAYMENTS), 2);
    let delivered = world.oracle.delivered().len();
    pay(&world, 3).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(world.oracle.delivered().len(), delivered);
    assert_eq!(owned(&world).await, [2, 0]);

    // Where it begins has no meaning any more.
    assert!(set.add(PAYMENTS, StartFrom::Latest).unwrap());
    pay(&world, 3).await;
    world.put(8, 3).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.out_of_order, account.duplicates), (0, 0, 0), "{account:?}");
    let report = worker.stop().await;
    assert!(report.is_clean());
    assert_eq!(report.drained.len(), 4);
}

/// L1: a worker may begin with nothing, and waits for what does not exist yet; its other streams do not.
#[tokio::test(start_paused = true)]
async fn an_added_stream_that_does_not_exist_yet_is_waited_for() {
    let world = World::new(2).await;
    let set = StreamSet::new();
    let worker = start(&world, "worker", &set);
    worker.wait_for(|event| matches!(event, WorkerEvent::Ready)).await;
    set.add(PAYMENTS, StartFrom::Latest).unwrap();
    tokio::time::sleep(5 * MINUTE).await;
    set.add(STREAM, StartFrom::TrimHorizon).unwrap();
    world.put(8, 3).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.duplicates), (0, 0), "{account:?}");

    create_payments(&world).await;
    worker.wait_for(is_ready).await;
    pay(&world, 3).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.duplicates), (0, 0), "{account:?}");
    assert!(worker.stop().await.is_clean());
}

/// A15: the progress of an earlier stream of the name is not taken for that of this one, and the worker goes on with its others.
#[tokio::test(start_paused = true)]
async fn a15_an_added_stream_that_was_made_anew_waits_for_its_old_leases_to_go() {
    let world = World::new(1).await;
    create_payments(&world).await;
    let set = of(&[(STREAM, StartFrom::TrimHorizon), (PAYMENTS, StartFrom::TrimHorizon)]);
    let worker = start(&world, "worker", &set);
    pay(&world, 1).await;
    world.oracle.drained(MINUTE).await;
    set.remove(PAYMENTS).unwrap();
    world.kinesis.delete_stream().stream_name(PAYMENTS).send().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    create_payments(&world).await;
    let before = items(&world).await.len();

    set.add(PAYMENTS, StartFrom::TrimHorizon).unwrap();
    world.put(8, 3).await;
    pay_one(&world, "new").await;
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(items(&world).await.len(), before);
    assert!(!worker.events().iter().any(is_ready));
    assert_eq!(world.oracle.account().lost, 1, "only what waits for the operator");

    let dynamo = aws_sdk_dynamodb::Client::new(&world.emulator.sdk_config());
    for key in items(&world).await.into_keys().filter(|key| key.contains(PAYMENTS)) {
        let key = aws_sdk_dynamodb::types::AttributeValue::S(key);
        let delete = dynamo.delete_item().table_name("orders-app").key("leaseKey", key);
        delete.send().await.unwrap();
    }
    worker.wait_for(is_ready).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!(account.lost, 0, "{account:?}");
    assert!(worker.stop().await.is_clean());
}

/// Hangs on the records of one stream.
struct Hanging(Oracle);

impl RecordProcessor for Hanging {
    type Error = std::convert::Infallible;

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), Self::Error> {
        if batch.iter().any(|record| record.partition_key().starts_with(PAYMENTS)) {
            std::future::pending::<()>().await;
        }
        self.0.deliver(&WorkerId::new("worker").unwrap(), shard.shard_id(), &batch);
        Ok(())
    }
}

/// L6: what hangs when its stream is removed is dropped as it is when the worker stops, and its lease is free.
#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_does_not_keep_the_lease_of_a_removed_stream() {
    let world = World::new(2).await;
    create_payments(&world).await;
    let set = of(&[(STREAM, StartFrom::TrimHorizon), (PAYMENTS, StartFrom::TrimHorizon)]);
    let oracle = world.oracle.clone();
    let worker = start_with(&world, "worker", &set, move |_| Hanging(oracle.clone()));
    pay_one(&world, &format!("{PAYMENTS}-0")).await;
    tokio::time::sleep(MINUTE).await;
    set.remove(PAYMENTS).unwrap();
    tokio::time::sleep(MINUTE).await;
    assert!(worker.events().iter().any(|event| matches!(event, WorkerEvent::Abandoned(_))));
    assert_eq!(owned(&world).await, [2, 0]);
    world.put(8, 3).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(world.oracle.account().lost, 1, "only the one that hangs");
    assert!(worker.stop().await.is_clean());
}

/// S1, S2, S15: two workers whose streams come and go at odd moments.
#[tokio::test(start_paused = true)]
async fn streams_come_and_go_at_odd_moments() {
    let mut rng = fastrand::Rng::with_seed(5);
    for seed in 0..4 {
        let world = World::seeded(seed, 2).await;
        create_payments(&world).await;
        let start_of_all = [(STREAM, StartFrom::TrimHorizon), (PAYMENTS, StartFrom::TrimHorizon)];
        let sets = [of(&start_of_all), of(&start_of_all)];
        let workers = [start(&world, "first", &sets[0]), start(&world, "second", &sets[1])];
        for _ in 0..40 {
            let (set, (stream, start)) = (rng.usize(..2), start_of_all[rng.usize(..2)]);
            let in_set = sets[set].streams().iter().any(|s| s.0.to_string() == stream);
            let _ = if in_set { sets[set].remove(stream) } else { sets[set].add(stream, start) };
            if rng.bool() {
                pay(&world, 1).await;
                world.put(4, 1).await;
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(..8_000))).await;
        }
        for set in &sets {
            for (stream, start) in start_of_all {
                let _ = set.add(stream, start);
            }
        }
        world.put(4, 1).await;
        let account = world.oracle.drained(2 * MINUTE).await;
        assert_eq!((account.lost, account.out_of_order), (0, 0), "seed {seed}: {account:?}");
        let duplicates = account.duplicates;
        assert!(duplicates <= 20, "seed {seed}: {duplicates} repeated, though nobody died");
        for worker in workers {
            assert!(worker.stop().await.is_clean());
        }
    }
}
