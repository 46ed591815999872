//! Slow processors, small budgets, many shards.

use std::time::Duration;

use futures_util::future::join_all;
use kcl_core::metrics::{SUBSCRIPTIONS_CONTESTED, SUBSCRIPTIONS_SILENT, SUBSCRIPTIONS_SLOW};
use kcl_core::retrieval::{ByteBudget, Fetched, MAX_REPLY_BYTES, RecordSource};
use kcl_core::{RawRecord, StartingPosition};

use crate::bench::{Bench, is_silent, next, numbers, read, reads_only};

/// B9, D4: a processor that takes nothing for ten seconds costs the connection nothing more; the reader goes on exactly
/// after what it returned.
#[tokio::test(start_paused = true)]
async fn b9_a_slow_processor_loses_its_subscription_and_no_record() {
    for slow in [3, 9, 11, 60, 299, 301, 3600] {
        let bench = Bench::new(1).await;
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        let mut expected = 0;
        for _ in 0..5 {
            bench.put(expected..expected + 3, 0).await;
            assert_eq!(read(&mut reader, 3).await, Vec::from_iter(expected..expected + 3));
            expected += 3;
            bench.pass(slow).await;
            assert_eq!(bench.live_subscriptions(), usize::from(slow < 10), "after {slow} s");
        }
        let given_up = if slow > 10 { 4.0 } else { 0.0 };
        assert_eq!(bench.sum(SUBSCRIPTIONS_SLOW), given_up, "{slow} s");
        assert_eq!(bench.sum(SUBSCRIPTIONS_CONTESTED) + bench.sum(SUBSCRIPTIONS_SILENT), 0.0);
        bench.subscribe_calls();
    }
}

/// The watch ends with its subscription and its reader.
#[tokio::test(start_paused = true)]
async fn a_reader_leaves_no_task_and_no_subscription_behind() {
    let bench = Bench::new(1).await;
    let open = bench.shard(0, StartingPosition::TrimHorizon);
    let tasks = open.tasks.clone();
    let mut reader = bench.source.open(open);
    assert!(is_silent(&mut reader, 1000).await);
    assert_eq!(tasks.len(), 1);
    drop(reader);
    tokio::task::yield_now().await;
    assert_eq!(tasks.len(), 0);
    assert_eq!(bench.live_subscriptions(), 0);
    // A worker that stops drops its tasks; the reader still works, only nobody watches it.
    let open = bench.shard(0, StartingPosition::TrimHorizon);
    open.tasks.stop();
    let mut reader = bench.source.open(open);
    bench.put(0..3, 0).await;
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
}

/// S16: sixteen shards of records of 250 kB and a budget of 10 MiB: never more than that, and all come.
#[tokio::test(start_paused = true)]
async fn s16_a_small_budget_holds_for_many_shards() {
    const SHARDS: usize = 16;
    let mut bench = Bench::with(16, reads_only()).await;
    bench.budget = ByteBudget::new(MAX_REPLY_BYTES);
    bench.put(0..240, 250_000).await;
    let mut readers: Vec<_> =
        (0..SHARDS).map(|shard| bench.open(shard, StartingPosition::TrimHorizon)).collect();
    let most = std::cell::Cell::new(0);
    let read = join_all(readers.iter_mut().map(|reader| async {
        let mut read = Vec::new();
        while let Ok(fetched) = tokio::time::timeout(Duration::from_secs(90), reader.next()).await {
            let Fetched::Records { records, permit, behind } = fetched.unwrap() else { panic!() };
            let bytes: usize = records.iter().map(RawRecord::size).sum();
            assert_eq!(permit.bytes(), bytes);
            most.set(bench.budget.used().max(most.get()));
            bench.clock.sleep(Duration::from_millis(300)).await; // a processor
            read.extend(numbers(Fetched::Records { records, permit, behind }));
        }
        assert!(read.is_sorted());
        read
    }));
    let mut read: Vec<usize> = read.await.concat();
    read.sort_unstable();
    assert_eq!(read, Vec::from_iter(0..240));
    assert!(most.get() <= MAX_REPLY_BYTES && most.get() > MAX_REPLY_BYTES / 2);
    assert_eq!(bench.budget.used(), 0);
    bench.subscribe_calls();
}

/// B8: a budget that is used up for a minute: subscriptions are given up, not taken for silent ones, and nobody is stuck.
#[tokio::test(start_paused = true)]
async fn b8_a_full_budget_gives_subscriptions_up_and_takes_them_up_again() {
    let mut bench = Bench::new(4).await;
    bench.budget = ByteBudget::new(MAX_REPLY_BYTES);
    let mut readers: Vec<_> =
        (0..4).map(|shard| bench.open(shard, StartingPosition::TrimHorizon)).collect();
    let waited = join_all(readers.iter_mut().map(|reader| is_silent(reader, 12)));
    assert!(waited.await.into_iter().all(|silent| silent));
    assert_eq!(bench.live_subscriptions(), 4);
    let all = bench.budget.take(MAX_REPLY_BYTES).await;
    bench.put(0..40, 0).await;
    let starved = join_all(readers.iter_mut().map(|reader| is_silent(reader, 60)));
    assert!(starved.await.into_iter().all(|silent| silent));
    assert_eq!(bench.sum(SUBSCRIPTIONS_SLOW), 4.0);
    assert_eq!(bench.sum(SUBSCRIPTIONS_SILENT), 0.0);
    assert_eq!(bench.live_subscriptions(), 0);
    drop(all);
    let read = join_all(readers.iter_mut().map(|reader| async {
        let mut read = Vec::new();
        while let Ok(fetched) = tokio::time::timeout(Duration::from_secs(30), reader.next()).await {
            read.extend(numbers(fetched.unwrap()));
        }
        read
    }));
    let mut read: Vec<usize> = read.await.concat();
    read.sort_unstable();
    assert_eq!(read, Vec::from_iter(0..40));
}

/// S16: a thousand idle shards hold next to nothing, and open within a budget for a handful of calls.
#[tokio::test(start_paused = true)]
async fn s16_a_thousand_idle_shards_hold_nothing() {
    let mut bench = Bench::new(1000).await;
    bench.budget = ByteBudget::new(MAX_REPLY_BYTES);
    let mut readers: Vec<_> =
        (0..1000).map(|shard| bench.open(shard, StartingPosition::TrimHorizon)).collect();
    let waited = join_all(readers.iter_mut().map(|reader| is_silent(reader, 40)));
    assert!(waited.await.into_iter().all(|silent| silent));
    assert_eq!(bench.live_subscriptions(), 1000);
    assert!(bench.budget.used() < 200_000, "{}", bench.budget.used());
    assert_eq!(bench.sum(SUBSCRIPTIONS_SLOW) + bench.sum(SUBSCRIPTIONS_SILENT), 0.0);
    assert_eq!(bench.subscribe_calls(), 1000);
    bench.put(0..1, 0).await;
    let one =
        futures_util::future::select_all(readers.iter_mut().map(|reader| Box::pin(next(reader))));
    assert_eq!(numbers(one.await.0.unwrap()), [0]);
}
