//! Reshards: parents before children, both parents before a merged child, and nothing lost in between (S7, S8, S9, L3).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::{ShardId, WorkerEvent};

use crate::world::{STREAM, World};

const MINUTE: Duration = Duration::from_secs(60);

/// Every delivery of a child comes after every delivery of each of its parents.
async fn assert_parents_first(world: &World) {
    let shards = world.kinesis.list_shards().stream_name(STREAM).send().await.unwrap();
    let mut parents: BTreeMap<ShardId, BTreeSet<ShardId>> = BTreeMap::new();
    for shard in shards.shards() {
        let named = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
        let named = named.into_iter().flatten().map(|id| ShardId::new(id).unwrap());
        parents.insert(ShardId::new(shard.shard_id()).unwrap(), named.collect());
    }
    let delivered = world.oracle.delivered();
    let mut begun = BTreeSet::new();
    for delivery in &delivered {
        begun.insert(delivery.shard.clone());
        let child = begun.iter().find(|shard| parents[*shard].contains(&delivery.shard));
        assert_eq!(child, None, "{} was read after a child of it had begun", delivery.shard);
    }
}

#[tokio::test(start_paused = true)]
async fn a_split_and_a_merge_in_a_backlog_lose_nothing() {
    reshards_in_a_backlog(World::new(4).await).await;
}

pub(crate) async fn reshards_in_a_backlog(world: World) {
    world.put_many(20, 60).await;
    world.split("shardId-000000000000").await;
    world.put_many(20, 30).await;
    world.merge("shardId-000000000002", "shardId-000000000003").await;
    world.put_many(20, 30).await;
    let workers = [world.start("a"), world.start("b")];
    world.put_many(20, 10).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.out_of_order), (0, 0), "{account:?}");
    assert_parents_first(&world).await;
    for worker in workers {
        worker.stop().await;
    }
}

/// L3: the children of a shard that ends while it is read begin within a second.
#[tokio::test(start_paused = true)]
async fn children_begin_within_a_second_of_their_parents_end() {
    children_begin_soon(World::new(1).await).await;
}

pub(crate) async fn children_begin_soon(world: World) {
    let worker = world.start("a");
    world.put(4, 2).await;
    world.oracle.drained(MINUTE).await;
    world.split("shardId-000000000000").await;
    worker.wait_for(|event| matches!(event, WorkerEvent::Ended(_))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let granted =
        worker.events().iter().filter(|e| matches!(e, WorkerEvent::Granted { .. })).count();
    assert_eq!(granted, 3, "{:?}", worker.events());
    world.put(4, 2).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.duplicates, account.out_of_order), (0, 0, 0));
    worker.stop().await;
}

/// Random reshards while workers come and go: the backbone of at-least-once.
#[tokio::test(start_paused = true)]
async fn random_reshards_with_crashes_lose_nothing() {
    for seed in 0..12 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let world = World::new(3).await;
        let mut workers = vec![world.start("w0"), world.start("w1")];
        for step in 0..12 {
            world.put(10, rng.u32(1..4)).await;
            let open = open_shards(&world).await;
            let pick = rng.usize(..open.len());
            match rng.u32(..5) {
                0 if open.len() < 8 => world.split(&open[pick].0).await,
                1 if pick + 1 < open.len() => world.merge(&open[pick].0, &open[pick + 1].0).await,
                2 => {
                    let worker = workers.swap_remove(rng.usize(..workers.len()));
                    worker.kill().await;
                    workers.push(world.start(&format!("w{step}-{seed}")));
                }
                3 => {
                    let worker = workers.swap_remove(rng.usize(..workers.len()));
                    worker.stop().await;
                    workers.push(world.start(&format!("w{step}-{seed}")));
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(0..6_000))).await;
        }
        let account = world.oracle.drained(3 * MINUTE).await;
        assert_eq!((account.lost, account.out_of_order), (0, 0), "seed {seed}: {account:?}");
        for worker in workers {
            worker.stop().await;
        }
    }
}

/// Open shards by their lowest hash key.
pub(crate) async fn open_shards(world: &World) -> Vec<(String, u128)> {
    let shards = world.kinesis.list_shards().stream_name(STREAM).send().await.unwrap();
    let mut open: Vec<(String, u128)> = shards
        .shards()
        .iter()
        .filter(|s| s.sequence_number_range().unwrap().ending_sequence_number().is_none())
        .map(|s| {
            let start = s.hash_key_range().unwrap().starting_hash_key();
            (s.shard_id().to_owned(), start.parse().unwrap())
        })
        .collect();
    open.sort_by_key(|(_, start)| *start);
    open
}
