//! Polling that turns to fan-out and back.

use std::time::Duration;

use kcl_core::StartingPosition;
use kcl_core::metrics::{GET_RECORDS, READ_BY_FAN_OUT, READING_CHANGED, SUBSCRIBE_CALLS};
use kcl_core::retrieval::{Polling, RecordSource, ShardReader};
use kcl_emulator::{Fault, Rule};
use kcl_fanout::Auto;

use crate::bench::{
    Bench, collect_until, custom, fault, is_silent, next, numbers, read, read_to_end, reads_only,
};

const S: Duration = Duration::from_secs(1);

impl Bench {
    fn auto(&self, change: impl FnOnce(Auto) -> Auto) -> Box<dyn ShardReader> {
        let polling = Polling::new(&self.emulator.sdk_config());
        let auto = change(Auto::new(polling, self.source.clone()));
        auto.open(self.shard(0, StartingPosition::TrimHorizon))
    }

    /// Puts a record each second, for so long, and reads until some time later.
    async fn go_on(
        &self,
        reader: &mut Box<dyn ShardReader>,
        from: usize,
        seconds: usize,
    ) -> Vec<usize> {
        let end = self.clock.now() + S * (seconds as u32 + 12);
        let put = async {
            for nth in 0..seconds {
                self.pass(1).await;
                self.put(from + nth..from + nth + 1, 0).await;
            }
        };
        tokio::join!(put, collect_until(self, reader, end)).1
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_polling_serves_well_is_polled() {
    let bench = Bench::new(1).await;
    let mut reader = bench.auto(|auto| auto);
    assert_eq!(bench.go_on(&mut reader, 0, 300).await.len(), 300);
    assert_eq!((bench.sum(SUBSCRIBE_CALLS), bench.sum(READING_CHANGED)), (0.0, 0.0));
    assert_eq!(bench.requests("RegisterStreamConsumer"), 0);
}

/// Others throttle the polls: from half a minute on the shard is read by fan-out, without a gap or a repeat.
#[tokio::test(start_paused = true)]
async fn a_crowded_shard_is_read_by_fan_out() {
    let bench = Bench::new(1).await;
    bench.fault(Rule::new(Fault::Throttle).operation("GetRecords").chance(0.5));
    let mut reader = bench.auto(|auto| auto);
    let read = bench.go_on(&mut reader, 0, 120).await;
    assert_eq!(read, Vec::from_iter(0..120));
    assert_eq!((bench.sum(READ_BY_FAN_OUT), bench.sum(READING_CHANGED)), (1.0, 1.0));
    let polls = bench.sum(GET_RECORDS);
    assert_eq!(bench.go_on(&mut reader, 120, 60).await.len(), 60);
    assert_eq!(bench.sum(GET_RECORDS), polls, "not polled any more");
}

/// A backlog that polling works off at two megabytes a second is worth it; one that the processor is slow with is not.
#[tokio::test(start_paused = true)]
async fn a_backlog_is_read_by_fan_out_unless_the_processor_is_slow() {
    for (slow, changes) in [(Duration::ZERO, 1.0), (S * 4, 0.0)] {
        let bench = Bench::with(1, reads_only()).await;
        bench.put(0..60, 900_000).await;
        bench.pass(60).await;
        let mut reader = bench.auto(|auto| auto.patience(S * 5));
        let mut read = Vec::new();
        while read.len() < 60 {
            let fetched = next(&mut reader).await.unwrap();
            read.extend(numbers(fetched));
            bench.clock.sleep(slow).await;
        }
        assert_eq!(read, Vec::from_iter(0..60));
        assert_eq!(bench.sum(READING_CHANGED), changes, "{slow:?}");
    }
}

/// Where there is no consumer to be had polling goes on, and fan-out is tried again after a while.
#[tokio::test(start_paused = true)]
async fn without_a_consumer_polling_goes_on() {
    let bench = Bench::new(1).await;
    bench.fault(Rule::new(Fault::Throttle).operation("GetRecords").chance(0.5));
    let denied = |operation| Rule::new(custom("AccessDeniedException")).operation(operation);
    bench.fault(denied("RegisterStreamConsumer").first(1));
    let mut reader = bench.auto(|auto| auto);
    assert_eq!(bench.go_on(&mut reader, 0, 300).await, Vec::from_iter(0..300));
    assert_eq!(bench.sum(READING_CHANGED), 0.0);
    assert_eq!(bench.go_on(&mut reader, 300, 120).await, Vec::from_iter(300..420));
    assert_eq!(bench.sum(READING_CHANGED), 1.0, "after five minutes");
}

/// Fan-out that fails for a minute is left; it is not tried again for five.
#[tokio::test(start_paused = true)]
async fn failing_fan_out_is_left_for_polling() {
    let bench = Bench::new(1).await;
    let crowd = Rule::new(Fault::Throttle).operation("GetRecords").chance(0.5);
    bench.fault(crowd);
    bench.fault(fault(Fault::CutStream { events: 20 }).first(1));
    let mut reader = bench.auto(|auto| auto);
    assert_eq!(bench.go_on(&mut reader, 0, 45).await, Vec::from_iter(0..45));
    assert_eq!(bench.sum(READ_BY_FAN_OUT), 1.0);
    bench.fault(fault(Fault::ErrorBefore(500)));
    let read = bench.go_on(&mut reader, 45, 240).await;
    assert_eq!(read, Vec::from_iter(45..285));
    assert_eq!(bench.sum(READING_CHANGED), 2.0);
}

/// LATEST: what is put after the reader was opened is read also when it changes before the first record.
#[tokio::test(start_paused = true)]
async fn latest_survives_a_change_without_a_record() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    bench.pass(60).await;
    bench.fault(Rule::new(Fault::ErrorBefore(500)).operation("GetRecords"));
    let polling = Polling::new(&bench.emulator.sdk_config());
    let auto = Auto::new(polling, bench.source.clone());
    let mut reader = auto.open(bench.shard(0, StartingPosition::Latest));
    let read = bench.go_on(&mut reader, 3, 120).await;
    assert_eq!(read, Vec::from_iter(3..123));
    assert_eq!(bench.sum(READING_CHANGED), 1.0);
}

/// Emulators that break the connection where a closed shard ends: the rest is polled, and the end comes.
#[tokio::test(start_paused = true)]
async fn an_end_that_subscriptions_do_not_bring_is_polled() {
    for before in [0, 3] {
        let bench = Bench::new(1).await;
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        bench.put(0..before, 0).await;
        let mut all = read(&mut reader, before).await;
        bench.fault(fault(Fault::CutStream { events: 0 }));
        bench.pass(20).await; // given up: nobody asks
        bench.put(before..10, 0).await;
        bench.split(0).await;
        let (rest, children) = read_to_end(&mut reader).await;
        all.extend(rest);
        assert_eq!((all, children.len()), (Vec::from_iter(0..10), 2));
        assert_eq!(bench.sum(READING_CHANGED), 1.0);
    }
}

/// On an open shard breaking connections change nothing.
#[tokio::test(start_paused = true)]
async fn connections_that_break_on_an_open_shard_are_renewed() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    bench.fault(fault(Fault::CutStream { events: 1 }));
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    assert!(is_silent(&mut reader, 600).await);
    bench.put(3..6, 0).await;
    assert_eq!(read(&mut reader, 3).await, [3, 4, 5]);
    assert_eq!(bench.sum(READING_CHANGED), 0.0);
    bench.subscribe_calls();
}

/// Faults of both ways, and rules that change at the least cause: whatever changes, each record comes once, in order.
#[tokio::test(start_paused = true)]
async fn any_change_is_without_a_gap_or_a_repeat() {
    let mut changes = 0.0;
    for seed in 0..20 {
        let bench = Bench::new(1).await;
        bench.pass(seed).await;
        let polls = |failing, chance| Rule::new(failing).operation("GetRecords").chance(chance);
        bench.fault(polls(Fault::Throttle, 0.3));
        bench.fault(polls(Fault::ErrorBefore(500), 0.2));
        bench.fault(fault(Fault::ErrorBefore(500)).chance(0.4));
        bench.fault(fault(Fault::CutStream { events: (seed % 4) as usize }).chance(0.7));
        let mut reader = bench.auto(|auto| {
            let auto = auto.lag_limit(S).patience(S * 2).failing_limit(S * 4);
            auto.retry_after(S * 5)
        });
        let read = bench.go_on(&mut reader, 0, 150).await;
        let rest = bench.go_on(&mut reader, 150, 30).await;
        let all = [read, rest].concat();
        assert_eq!(all, Vec::from_iter(0..all.len()), "seed {seed}");
        assert!(all.len() > 100, "seed {seed}: {}", all.len());
        changes += bench.sum(READING_CHANGED);
        bench.subscribe_calls();
    }
    assert!(changes > 50.0, "{changes}");
}
