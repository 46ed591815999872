//! Whatever goes wrong with a subscription: it resumes exactly, and within AWS's limits.

use std::time::Duration;

use kcl_core::StartingPosition;
use kcl_core::metrics::{
    READ_FAILURES, READS_THROTTLED, RECORDS_LOST, SUBSCRIPTION_EVENTS, SUBSCRIPTIONS_BROKEN,
    SUBSCRIPTIONS_CONTESTED, SUBSCRIPTIONS_SILENT,
};
use kcl_emulator::Fault;

use crate::bench::{Bench, custom, exception, fault, is_silent, read};

const EVENTS: usize = 8;

/// One record an event, with heartbeats in between, over a first subscription with a fault: all come once, in order.
async fn resumes(bench: &Bench, what: &str) {
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    for number in 0..EVENTS {
        let ((), read) = tokio::join!(
            async {
                let gap = if number % 3 == 2 { 11_000 } else { 700 };
                bench.clock.sleep(Duration::from_millis(gap)).await;
                bench.put(number..number + 1, 0).await;
            },
            read(&mut reader, 1)
        );
        assert_eq!(read, [number], "{what}");
    }
    assert!(is_silent(&mut reader, 30).await, "{what}: something came again");
    bench.subscribe_calls();
    assert_eq!(bench.sum(RECORDS_LOST), 0.0, "{what}");
    drop(reader);
    assert_eq!(bench.budget.used(), 0, "{what}");
}

/// B7, C6: the connection breaks before the first event, after it, after the second, and so on.
#[tokio::test(start_paused = true)]
async fn b7_cut_at_every_event() {
    for events in 0..=EVENTS + 4 {
        let bench = Bench::new(1).await;
        bench.fault(fault(Fault::CutStream { events }).nth(1));
        resumes(&bench, &format!("cut after {events} events")).await;
        assert_eq!(bench.sum(SUBSCRIPTIONS_BROKEN), 1.0);
        assert_eq!(bench.requests("SubscribeToShard"), 2);
        assert_eq!(bench.sum(SUBSCRIPTIONS_CONTESTED), 0.0, "refused within five seconds");
    }
}

/// Every subscription breaks, after so many events.
#[tokio::test(start_paused = true)]
async fn b7_cut_again_and_again() {
    for events in 1..4 {
        let bench = Bench::new(1).await;
        bench.fault(fault(Fault::CutStream { events }));
        resumes(&bench, &format!("always cut after {events} events")).await;
        assert!(bench.sum(SUBSCRIPTIONS_BROKEN) >= 3.0);
        assert_eq!(bench.sum(SUBSCRIPTIONS_CONTESTED), 0.0);
        assert_eq!(bench.sum(READS_THROTTLED), 0.0);
    }
}

/// At any byte, also within a message and within its length.
#[tokio::test(start_paused = true)]
async fn b7_cut_at_every_byte() {
    for at in (0..1500).step_by(11) {
        let bench = Bench::new(1).await;
        bench.put(0..3, 0).await;
        bench.fault(fault(Fault::CutBody { at }).nth(1));
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        assert_eq!(read(&mut reader, 3).await, [0, 1, 2], "cut at {at}");
        assert!(is_silent(&mut reader, 4).await);
        bench.put(3..5, 0).await;
        let read = read(&mut reader, 2).await;
        assert_eq!(read, [3, 4], "cut at {at}");
        // Where the initial response was cut, the next calls come within the five seconds of the first.
        assert!(bench.subscribe_calls() <= 7);
        drop(reader);
        assert_eq!(bench.budget.used(), 0);
    }
}

/// B6: the connection stays and nothing more comes: found out ten seconds after the last event.
#[tokio::test(start_paused = true)]
async fn b6_silence_after_every_event() {
    for events in 0..=EVENTS {
        let bench = Bench::new(1).await;
        bench.fault(fault(Fault::Silence { events }).nth(1));
        resumes(&bench, &format!("silent after {events} events")).await;
        assert_eq!(bench.sum(SUBSCRIPTIONS_SILENT), 1.0);
        assert_eq!(bench.requests("SubscribeToShard"), 2);
    }
    for (events, limit) in [(0, 2), (2, 11)] {
        let bench = Bench::new(1).await;
        bench.fault(fault(Fault::Silence { events }).nth(1));
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        assert!(is_silent(&mut reader, 11).await);
        let begin = bench.clock.now();
        bench.put(0..1, 0).await;
        assert_eq!(read(&mut reader, 1).await, [0]);
        let took = bench.clock.now() - begin;
        assert!(took < Duration::from_secs(limit), "{events} events: {took:?}");
    }
}

/// B6: a call that is taken and never answered.
#[tokio::test(start_paused = true)]
async fn b6_a_call_without_an_answer_is_given_up() {
    for late in [
        Fault::Latency(Duration::from_secs(120)),
        Fault::LateReply(Duration::from_secs(120)),
        Fault::LateEvents(Duration::from_secs(120)),
    ] {
        let bench = Bench::new(1).await;
        bench.put(0..1, 0).await;
        bench.fault(fault(late.clone()).nth(1));
        let begin = bench.clock.now();
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        assert_eq!(read(&mut reader, 1).await, [0]);
        let took = bench.clock.now() - begin;
        assert!(took < Duration::from_secs(36), "{late:?}: {took:?}");
        bench.subscribe_calls();
    }
}

/// B8: each error at the call, for a while.
#[tokio::test(start_paused = true)]
async fn b8_the_first_calls_may_fail() {
    let faults = [
        Fault::Throttle,
        Fault::ErrorBefore(500),
        Fault::ErrorBefore(503),
        Fault::ErrorAfter,
        Fault::LostBefore,
        Fault::LostAfter,
        custom("LimitExceededException"),
        custom("ResourceInUseException"),
        custom("ResourceNotFoundException"),
        custom("AccessDeniedException"),
        custom("ExpiredTokenException"),
        custom("KMSThrottlingException"),
        custom("InvalidArgumentException"),
        custom("NobodyKnowsException"),
    ];
    for failing in faults {
        let bench = Bench::new(1).await;
        bench.fault(fault(failing.clone()).first(7));
        resumes(&bench, &format!("{failing:?} seven times")).await;
        let failures = bench.sum(READ_FAILURES) + bench.sum(READS_THROTTLED);
        assert!(failures + bench.sum(SUBSCRIPTIONS_CONTESTED) >= 7.0, "{failing:?}");
    }
}

/// Each exception in the middle, after each event.
#[tokio::test(start_paused = true)]
async fn b7_an_exception_of_each_kind_after_every_event() {
    for error in [
        "InternalFailureException",
        "ResourceInUseException",
        "ResourceNotFoundException",
        "KMSThrottlingException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "NobodyKnowsException",
    ] {
        for events in 0..EVENTS {
            let bench = Bench::new(1).await;
            bench.fault(fault(exception(events, error)).nth(1));
            resumes(&bench, &format!("{error} after {events} events")).await;
            assert_eq!(bench.sum(SUBSCRIPTIONS_BROKEN), 1.0);
        }
    }
}

/// C6: what the old subscription still sends, after a new one was opened for its silence, goes nowhere.
#[tokio::test(start_paused = true)]
async fn c6_late_events_of_an_old_subscription_touch_nothing() {
    for late in [6, 9, 11, 14] {
        let bench = Bench::new(1).await;
        bench.fault(fault(Fault::LateEvents(Duration::from_secs(late))).nth(1));
        resumes(&bench, &format!("events {late} s late")).await;
    }
}

/// All of it by chance.
#[tokio::test(start_paused = true)]
async fn s1_s17_faults_of_every_kind_neither_lose_nor_repeat() {
    let bench = Bench::new(1).await;
    let faults = [
        Fault::Throttle,
        Fault::ErrorBefore(503),
        Fault::ErrorAfter,
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::CutBody { at: 700 },
        Fault::CutStream { events: 1 },
        Fault::CutStream { events: 2 },
        Fault::Silence { events: 1 },
        Fault::LateEvents(Duration::from_millis(400)),
        Fault::Latency(Duration::from_secs(45)),
        exception(1, "InternalFailureException"),
        exception(2, "ResourceNotFoundException"),
        custom("ExpiredTokenException"),
        custom("ResourceNotFoundException"),
        custom("ResourceInUseException"),
    ];
    for failing in &faults {
        bench.fault(fault(failing.clone()).chance(0.08));
    }
    bench.fault(fault(Fault::CutStream { events: 3 })); // what was spared
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    for number in 0..400 {
        let ((), read) = tokio::join!(
            async {
                bench.clock.sleep(Duration::from_millis(2300)).await;
                bench.put(number..number + 1, 0).await;
            },
            read(&mut reader, 1)
        );
        assert_eq!(read, [number]);
    }
    assert!(bench.emulator.faults().counts().len() >= 10, "{:?}", bench.emulator.faults().counts());
    assert!(bench.subscribe_calls() > 100);
    assert!(bench.sum(SUBSCRIPTION_EVENTS) > 200.0);
    assert_eq!(bench.sum(RECORDS_LOST), 0.0);
}
