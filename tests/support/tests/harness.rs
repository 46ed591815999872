//! A processor of a user, tested with [`Harness`]: each test is an example.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{Batch, Checkpoint, FailurePolicy, Position, RecordProcessor, ShardContext};
use kcl_testkit::Harness;

/// The quickstart's processor in small: writes what it gets into a ledger.
#[derive(Debug, Clone, Default)]
struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    deliveries: BTreeMap<String, u32>,
    lost: u32,
    ended: u32,
}

struct Orders(Ledger);

impl RecordProcessor for Orders {
    type Error = std::io::Error;

    async fn process_records(
        &mut self,
        batch: Batch,
        _: &mut ShardContext,
    ) -> Result<(), Self::Error> {
        for record in &batch {
            let order = String::from_utf8_lossy(record.data()).into_owned();
            match &*order {
                "poison" => return Err(std::io::Error::other("cannot be read")),
                "bug" => panic!("index out of range"),
                "slow" => std::future::pending::<()>().await,
                _ => {}
            }
            *self.0.0.lock().unwrap().deliveries.entry(order).or_default() += 1;
        }
        Ok(())
    }

    async fn shard_ended(&mut self, _: &mut ShardContext) -> Result<(), Self::Error> {
        self.0.0.lock().unwrap().ended += 1;
        Ok(())
    }

    async fn lease_lost(&mut self) {
        self.0.0.lock().unwrap().lost += 1;
    }
}

async fn orders(ledger: &Ledger) -> Harness {
    let ledger = ledger.clone();
    Harness::new(move |_| Orders(ledger.clone())).await
}

#[tokio::test(start_paused = true)]
async fn what_was_processed_is_checkpointed() {
    let ledger = Ledger::default();
    let mut harness = orders(&ledger).await;
    assert_eq!(harness.checkpoint(), Position::TrimHorizon);
    let positions = harness.feed([("ana", "a"), ("bob", "b")]).await.unwrap();
    harness.assert_checkpoint(&positions[1]);
    let parts = harness.feed_aggregate([("ana", "c"), ("ana", "d")]).await.unwrap();
    harness.assert_checkpoint(&parts[1]);
    assert_eq!(harness.processed_records(), 4);
    let report = harness.shutdown().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    harness.assert_checkpoint(&parts[1]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_told_and_its_next_owner_goes_on() {
    let ledger = Ledger::default();
    let mut harness = orders(&ledger).await;
    harness.feed([("ana", "a")]).await.unwrap();
    harness.lose_lease().await;
    assert_eq!(ledger.0.lock().unwrap().lost, 1);
    harness.grant().await;
    harness.feed([("ana", "b")]).await.unwrap();
    let deliveries = ledger.0.lock().unwrap().deliveries.clone();
    assert_eq!(deliveries, BTreeMap::from([("a".into(), 1), ("b".into(), 1)]));
}

#[tokio::test(start_paused = true)]
async fn failures_are_seen_and_nothing_is_skipped() {
    for (order, failure) in [
        ("poison", "process_records: cannot be read"),
        ("bug", "process_records: panicked"),
        ("slow", "process_records: was dropped"),
    ] {
        let ledger = Ledger::default();
        let made = ledger.clone();
        let limit = FailurePolicy::attempts(3).time_limit(Duration::from_secs(60));
        let mut harness =
            Harness::with(move |_| Orders(made.clone()), move |worker| worker.on_failure(limit))
                .await;
        let before = harness.feed([("ana", "a")]).await.unwrap();
        let unfinished = harness.feed([("ana", order)]).await.unwrap_err();
        assert_eq!(unfinished.failures, [failure; 3]);
        harness.assert_checkpoint(&before[0]);
        let report = harness.shutdown().await.unwrap();
        assert_eq!(report.halted.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_shard_is_checkpointed_with_its_children() {
    let ledger = Ledger::default();
    let mut harness = orders(&ledger).await;
    harness.feed([("ana", "a")]).await.unwrap();
    harness.end_shard(&[1, 2]).await.unwrap();
    harness.assert_checkpoint(&Position::ShardEnd);
    assert_eq!(ledger.0.lock().unwrap().ended, 1);
    assert_eq!(harness.children().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn with_manual_checkpoints_nothing_is_written_unasked() {
    let ledger = Ledger::default();
    let made = ledger.clone();
    let mut harness = Harness::with(
        move |_| Orders(made.clone()),
        |worker| worker.checkpoint(Checkpoint::manual()),
    )
    .await;
    harness.feed([("ana", "a")]).await.unwrap();
    harness.assert_checkpoint(&Position::TrimHorizon);
    harness.lose_lease().await;
    harness.grant().await;
    harness.feed([("ana", "b")]).await.unwrap();
    assert_eq!(ledger.0.lock().unwrap().deliveries["a"], 2); // nothing was durable: it came again
}
