//! A processor that errs, panics or hangs blocks its own shard and no other (S1, L6).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kcl_core::{Batch, RecordProcessor, ShardContext, StartFrom, WorkerEvent, WorkerId};

use crate::oracle::Oracle;
use crate::world::{Running, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    Err,
    Panic,
    Hang,
}

/// Has a mishap on shard 0 as long as `mishaps` lasts; records deliveries otherwise.
struct Accident {
    oracle: Oracle,
    worker: WorkerId,
    mishap: Mishap,
    mishaps: Arc<AtomicU32>,
}

impl RecordProcessor for Accident {
    type Error = String;

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), String> {
        let bad = shard.shard_id().as_str() == "shardId-000000000000";
        let left = |left: u32| left.checked_sub(1);
        if bad && self.mishaps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() {
            match self.mishap {
                Mishap::Err => return Err("downstream is away".into()),
                Mishap::Panic => panic!("boom"),
                Mishap::Hang => std::future::pending().await,
            }
        }
        self.oracle.deliver(&self.worker, shard.shard_id(), &batch);
        Ok(())
    }
}

fn start(world: &World, id: &str, mishap: Mishap, mishaps: &Arc<AtomicU32>) -> Running {
    let (oracle, mishaps) = (world.oracle.clone(), mishaps.clone());
    let worker = WorkerId::new(id).unwrap();
    world.start_with(id, StartFrom::TrimHorizon, move |_| Accident {
        oracle: oracle.clone(),
        worker: worker.clone(),
        mishap,
        mishaps: mishaps.clone(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_for_a_while_is_delivered_in_the_end() {
    for mishap in [Mishap::Err, Mishap::Panic] {
        let world = World::new(2).await;
        world.put(10, 20).await;
        let worker = start(&world, "a", mishap, &Arc::new(AtomicU32::new(3)));
        let account = world.oracle.drained(Duration::from_secs(60)).await;
        assert_eq!(
            (account.lost, account.duplicates, account.out_of_order),
            (0, 0, 0),
            "{mishap:?}"
        );
        assert!(worker.stop().await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_fails_for_good_is_halted_and_nothing_of_it_is_skipped() {
    for mishap in [Mishap::Err, Mishap::Panic] {
        let world = World::new(2).await;
        world.put(10, 20).await;
        let mishaps = Arc::new(AtomicU32::new(u32::MAX));
        let worker = start(&world, "a", mishap, &mishaps);
        worker.wait_for(|event| matches!(event, WorkerEvent::Halted { .. })).await;
        world.put(10, 20).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        let granted =
            worker.events().iter().filter(|e| matches!(e, WorkerEvent::Granted { .. })).count();
        assert_eq!(granted, 2, "a halted shard is not taken again");
        assert!(
            world.oracle.delivered().iter().all(|d| d.shard.as_str() == "shardId-000000000001")
        );
        let report = worker.stop().await;
        assert_eq!(report.halted.len(), 1, "{report:?}");

        // Somebody mended the processor: the shard goes on where it stood.
        mishaps.store(0, Ordering::SeqCst);
        let mended = start(&world, "b", mishap, &mishaps);
        let account = world.oracle.drained(Duration::from_secs(60)).await;
        assert_eq!(
            (account.lost, account.duplicates, account.out_of_order),
            (0, 0, 0),
            "{mishap:?}"
        );
        mended.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_processor_does_not_keep_the_other_leases_from_being_renewed() {
    let world = World::new(4).await;
    world.put(20, 5).await;
    let hanging = start(&world, "a", Mishap::Hang, &Arc::new(AtomicU32::new(1)));
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.put(20, 1).await;
    }
    assert!(
        !hanging.events().iter().any(|event| matches!(event, WorkerEvent::Lost(_))),
        "leases were lost: {:?}",
        hanging.events()
    );
    let delivered = world.oracle.delivered();
    assert!(delivered.iter().any(|d| d.number >= 30), "the other shards stand still");
    let report = hanging.stop().await;
    assert_eq!((report.abandoned.len(), report.drained.len()), (1, 3), "{report:?}");

    let next = world.start("b");
    let account = world.oracle.drained(Duration::from_secs(60)).await;
    assert_eq!((account.lost, account.duplicates, account.out_of_order), (0, 0, 0));
    next.stop().await;
}
