//! Several streams in one worker, and tables that belong to something else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::primitives::Blob;
use kcl_core::leasing::LeasingError;
use kcl_core::retrieval::Polling;
use kcl_core::{
    Clock, RunError, ShardId, ShutdownReport, StartFrom, Worker, WorkerEvent, WorkerId,
};
use kcl_lease::DynamoLeases;

use crate::world::{Recorder, Running, STREAM, World};

const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const PAYMENTS: &str = "payments";

/// A worker of "orders" from its oldest record and of "payments" from now on.
fn start(world: &World, id: &str) -> Running {
    let (oracle, worker) = (world.oracle.clone(), WorkerId::new(id).unwrap());
    let processor = move |_: &ShardId| Recorder { oracle: oracle.clone(), worker: worker.clone() };
    world.start_set(id, StartFrom::TrimHorizon, processor, |set| {
        set.stream(PAYMENTS, StartFrom::Latest)
    })
}

pub(crate) async fn create_payments(world: &World) {
    let create = world.kinesis.create_stream().stream_name(PAYMENTS).shard_count(2);
    create.send().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
}

/// Puts `count` records under each of 8 keys, which no other stream has.
pub(crate) async fn pay(world: &World, count: u32) {
    for n in 0..count * 8 {
        let key = format!("{PAYMENTS}-{}", n % 8);
        let data = Blob::new(world.oracle.next(&key));
        let put = world.kinesis.put_record().stream_name(PAYMENTS);
        put.partition_key(key).data(data).send().await.unwrap();
    }
}

/// The lease table as it is, by key.
pub(crate) async fn items(world: &World) -> BTreeMap<String, BTreeMap<String, AttributeValue>> {
    let dynamo = aws_sdk_dynamodb::Client::new(&world.emulator.sdk_config());
    let scan = dynamo.scan().table_name("orders-app").send().await.unwrap();
    let items = scan.items.unwrap().into_iter();
    items
        .map(|item| (item["leaseKey"].as_s().unwrap().clone(), item.into_iter().collect()))
        .collect()
}

/// The identity of a stream as the Java KCL writes it.
async fn identity(world: &World, name: &str) -> String {
    let described = world.kinesis.describe_stream_summary().stream_name(name).send().await.unwrap();
    let summary = described.stream_description_summary.unwrap();
    let account = summary.stream_arn().split(':').nth(4).unwrap();
    format!("{account}:{name}:{}", summary.stream_creation_timestamp.secs())
}

/// S1, S6, S10, S15: each stream begins where it was told, both share one table through a reshard, a crash and graceful stops.
#[tokio::test(start_paused = true)]
async fn two_streams_share_a_table_and_begin_where_each_was_told() {
    let world = World::new(2).await;
    create_payments(&world).await;
    world.put(8, 3).await;
    let old = world.kinesis.put_record().stream_name(PAYMENTS).partition_key("old");
    old.data(Blob::new("old:0")).send().await.unwrap();
    tokio::time::sleep(MINUTE).await;

    let first = start(&world, "first");
    first.wait_for(|event| matches!(event, WorkerEvent::Ready)).await;
    pay(&world, 3).await;
    let second = start(&world, "second");
    world.put(8, 3).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.out_of_order), (0, 0), "{account:?}");

    world.split("shardId-000000000000").await;
    pay(&world, 3).await;
    world.put(8, 3).await;
    first.kill().await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.out_of_order), (0, 0), "{account:?}");
    assert!(second.stop().await.is_clean());

    let duplicates = world.oracle.account().duplicates;
    let third = start(&world, "third");
    pay(&world, 3).await;
    world.put(8, 3).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.duplicates), (0, duplicates), "{account:?}");
    assert!(third.stop().await.is_clean());
    assert!(world.oracle.delivered().iter().all(|delivered| delivered.key != "old"));
}

/// S13: the stream with its creation time is in every key, and in the attributes that the Java KCL reads.
#[tokio::test(start_paused = true)]
async fn leases_of_several_streams_are_as_java_writes_them() {
    let world = World::new(2).await;
    create_payments(&world).await;
    let worker = start(&world, "worker");
    worker.wait_for(|event| matches!(event, WorkerEvent::Granted { .. })).await;
    let items = items(&world).await;
    let mut expected = BTreeSet::new();
    for (name, sentinel) in [(STREAM, "TRIM_HORIZON"), (PAYMENTS, "LATEST")] {
        let stream = identity(&world, name).await;
        for n in 0..2 {
            let shard = format!("shardId-{n:012}");
            let key = format!("{stream}:{shard}");
            let item = &items[&key];
            assert_eq!(item["streamName"], AttributeValue::S(stream.clone()));
            assert_eq!(item["shardId"], AttributeValue::S(shard));
            assert_eq!(item["checkpoint"], AttributeValue::S(sentinel.to_owned()));
            expected.insert(key);
        }
    }
    assert_eq!(items.into_keys().collect::<BTreeSet<_>>(), expected);
    worker.stop().await;
}

/// A14, A15: progress that is there under other keys is not taken for none.
#[tokio::test(start_paused = true)]
async fn a14_a_table_of_another_mode_or_an_earlier_stream_is_refused() {
    let world = World::new(1).await;
    create_payments(&world).await;
    let worker = start(&world, "worker");
    worker.wait_for(|event| matches!(event, WorkerEvent::Granted { .. })).await;
    assert!(worker.stop().await.is_clean());
    let before = items(&world).await;

    assert_refused(run(&world, &[STREAM]).await, "several streams");
    world.kinesis.delete_stream().stream_name(PAYMENTS).send().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    create_payments(&world).await;
    assert_refused(run(&world, &[STREAM, PAYMENTS]).await, "earlier stream");
    assert_eq!(items(&world).await, before, "nothing was written");
}

/// With one stream the key does not name it; without a look at that, an ended lease would keep a new shard of the same number
/// from ever being read.
#[tokio::test(start_paused = true)]
async fn a15_a_table_of_another_or_an_earlier_stream_is_refused_to_one_stream_too() {
    let world = World::new(1).await;
    create_payments(&world).await;
    assert!(run(&world, &[STREAM]).await.unwrap().is_clean());
    let before = items(&world).await;

    assert_refused(run(&world, &[PAYMENTS]).await, "are of stream");
    world.kinesis.delete_stream().stream_name(STREAM).send().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    world.kinesis.create_stream().stream_name(STREAM).shard_count(1).send().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_refused(run(&world, &[STREAM]).await, "earlier stream");
    assert_eq!(items(&world).await, before, "nothing was written");
}

/// Runs a worker for a minute.
async fn run(world: &World, streams: &[&str]) -> Result<ShutdownReport, RunError> {
    let aws = world.emulator.sdk_config();
    let oracle = world.oracle.clone();
    let [first, more @ ..] = streams else { panic!("no stream") };
    let mut worker = Worker::builder("orders-app").stream(*first, StartFrom::Latest);
    for stream in more {
        worker = worker.stream(*stream, StartFrom::Latest);
    }
    let worker = worker
        .leases(DynamoLeases::new(&aws))
        .source(Polling::new(&aws))
        .processor(move |_: &ShardId| Recorder {
            oracle: oracle.clone(),
            worker: WorkerId::new("refused").unwrap(),
        })
        .clock(Clock::starting_at(world.emulator.clock().now()));
    worker.build().unwrap().run(tokio::time::sleep(MINUTE)).await
}

fn assert_refused(outcome: Result<ShutdownReport, RunError>, why: &str) {
    match outcome {
        Err(RunError::Leasing(LeasingError::TableForeign { table, reason })) => {
            assert_eq!(table, "orders-app");
            assert!(reason.contains(why), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
