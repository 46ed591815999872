//! The reader when all goes well: every record once, in order, from every start, for hours.

use std::time::Duration;

use kcl_core::StartingPosition;
use kcl_core::metrics::{
    READ_FAILURES, READS_THROTTLED, RECORDS_LOST, SUBSCRIPTION_EVENTS, SUBSCRIPTIONS_CONTESTED,
    SUBSCRIPTIONS_ENDED,
};
use kcl_core::retrieval::Fetched;

use crate::bench::{Bench, fault, is_silent, next, numbers, read, reads_only};
use kcl_emulator::Fault;

#[tokio::test(start_paused = true)]
async fn every_starting_position() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    bench.pass(60).await;
    let middle = bench.clock.wall();
    bench.pass(1).await;
    bench.put(3..6, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    let Fetched::Records { records, .. } = next(&mut reader).await.unwrap() else {
        panic!("no records");
    };
    assert_eq!(records[4].partition_key, "4");
    let number = records[4].sequence_number.clone();
    let table = [
        (StartingPosition::TrimHorizon, 0),
        (StartingPosition::AtTimestamp(middle), 3),
        (StartingPosition::AtSequenceNumber(number.clone()), 4),
        (StartingPosition::AfterSequenceNumber(number), 5),
    ];
    drop(reader);
    for (from, first) in table {
        bench.pass(10).await;
        let mut reader = bench.open(0, from.clone());
        assert_eq!(read(&mut reader, 6 - first).await, Vec::from_iter(first..6), "{from:?}");
    }
    bench.pass(60).await;
    let mut reader = bench.open(0, StartingPosition::Latest);
    assert!(is_silent(&mut reader, 60).await);
    bench.put(6..8, 0).await;
    assert_eq!(read(&mut reader, 2).await, [6, 7]);
    assert_eq!(bench.requests("RegisterStreamConsumer"), 1);
    bench.subscribe_calls();
}

/// A reader at LATEST that lost its first subscription before it heard a word goes on by time.
#[tokio::test(start_paused = true)]
async fn s10_latest_is_sticky() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    bench.pass(60).await;
    bench.fault(fault(Fault::LostAfter).nth(1));
    bench.fault(fault(Fault::CutStream { events: 0 }).nth(2));
    let mut reader = bench.open(0, StartingPosition::Latest);
    assert!(is_silent(&mut reader, 1).await);
    bench.put(3..6, 0).await;
    assert_eq!(read(&mut reader, 3).await, [3, 4, 5]);
    assert!(is_silent(&mut reader, 60).await);
}

/// The five-minute mark, 36 times: no gap, no repeat, one call each.
#[tokio::test(start_paused = true)]
async fn three_hours_of_renewals() {
    let bench = Bench::new(1).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    for number in 0..1800 {
        let ((), read) = tokio::join!(
            async {
                bench.clock.sleep(Duration::from_millis(6007)).await;
                bench.put(number..number + 1, 0).await;
            },
            read(&mut reader, 1)
        );
        assert_eq!(read, [number]);
    }
    assert_eq!(bench.sum(SUBSCRIPTIONS_ENDED), 36.0);
    assert_eq!(bench.subscribe_calls(), 37);
    for metric in [SUBSCRIPTIONS_CONTESTED, READS_THROTTLED, READ_FAILURES, RECORDS_LOST] {
        assert_eq!(bench.sum(metric), 0.0, "{metric:?}");
    }
}

/// An idle shard for longer than the retention period: the continuation of its events moves on, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_day_and_an_hour_of_nothing_lose_no_record() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    assert!(is_silent(&mut reader, 25 * 3600).await);
    assert!(bench.sum(SUBSCRIPTION_EVENTS) > 17_000.0);
    bench.put(3..4, 0).await;
    assert_eq!(read(&mut reader, 1).await, [3]);
    assert_eq!(bench.sum(RECORDS_LOST), 0.0);
    assert!(bench.subscribe_calls() <= 301);
}

/// What is put is with the caller at once, not at the next poll.
#[tokio::test(start_paused = true)]
async fn a_record_is_pushed() {
    let bench = Bench::new(1).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert!(is_silent(&mut reader, 7).await);
    let ((), (read, at)) = tokio::join!(
        async {
            bench.pass(1).await;
            bench.put(0..1, 0).await;
        },
        async { (read(&mut reader, 1).await, bench.clock.now()) }
    );
    assert_eq!(read, [0]);
    assert!(bench.clock.now() - at < Duration::from_millis(1));
}

/// 30 MB at 2 MiB a second, never throttled.
#[tokio::test(start_paused = true)]
async fn a_backlog_comes_as_fast_as_aws_gives_it() {
    let bench = Bench::with(1, reads_only()).await;
    bench.put(0..120, 250_000).await;
    let begin = bench.clock.now();
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 120).await, Vec::from_iter(0..120));
    let took = bench.clock.now() - begin;
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(bench.sum(READS_THROTTLED), 0.0);
    assert_eq!(bench.subscribe_calls(), 1);
    assert_eq!(bench.budget.used(), 0);
}

/// Dropping `next` anywhere loses nothing: it is dropped every 17 ms here, over slow calls, waits and events.
#[tokio::test(start_paused = true)]
async fn a_future_dropped_anywhere_loses_nothing() {
    let bench = Bench::new(1).await;
    bench.fault(fault(Fault::Latency(Duration::from_millis(5))));
    bench.fault(fault(Fault::LateEvents(Duration::from_millis(3))));
    bench.fault(fault(Fault::CutStream { events: 3 }).chance(0.7));
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    let (mut read, mut put) = (Vec::new(), 0);
    while read.len() < 200 {
        if put < 200 && put <= read.len() + 3 {
            bench.put(put..put + 1, 0).await;
            put += 1;
        }
        let patience = Duration::from_millis(17);
        if let Ok(fetched) = tokio::time::timeout(patience, reader.next()).await {
            read.extend(numbers(fetched.unwrap()));
        }
    }
    assert_eq!(read, Vec::from_iter(0..200));
    bench.subscribe_calls();
    drop(reader);
    assert_eq!(bench.budget.used(), 0);
}
