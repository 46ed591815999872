use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Call, Fault, Faults, Rule, Verdict};
use crate::{Protocol, Service};

const RENEWAL: Call<'_> = Call {
    service: Service::DynamoDb,
    operation: "UpdateItem",
    protocol: Protocol::Json,
    caller: Some("worker-1"),
    body: br#"{"Key":{"leaseKey":{"S":"shardId-000000000001"}}}"#,
    source: None,
};
const READ: Call<'_> = Call {
    service: Service::Kinesis,
    operation: "GetRecords",
    protocol: Protocol::Json,
    caller: None,
    body: b"{}",
    source: None,
};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn acts(rule: Rule, calls: &[(u64, Call<'_>)]) -> Vec<bool> {
    let faults = Faults::new(1);
    faults.add(rule);
    calls.iter().map(|(now, call)| faults.judge(at(*now), call) != Verdict::default()).collect()
}

#[test]
fn conditions_pick_requests() {
    let both = [(0, RENEWAL), (0, READ)];
    let fault = || Rule::new(Fault::Throttle);
    assert_eq!(acts(fault(), &both), [true, true]);
    assert_eq!(acts(fault().service(Service::Kinesis), &both), [false, true]);
    assert_eq!(acts(fault().operation("UpdateItem"), &both), [true, false]);
    assert_eq!(acts(fault().body_contains("shardId-000000000001"), &both), [true, false]);
    assert_eq!(acts(fault().body_contains("shardId-000000000002"), &both), [false, false]);
    assert_eq!(acts(fault().caller("worker-1"), &both), [true, false]);
    assert_eq!(acts(fault().caller("worker-2"), &both), [false, false]);
}

#[test]
fn faults_of_streams_befall_subscriptions_only() {
    let subscribe = Call { operation: "SubscribeToShard", ..READ };
    let both = [(0, READ), (0, subscribe)];
    for fault in [
        Fault::CutStream { events: 1 },
        Fault::Silence { events: 1 },
        Fault::LateEvents(Duration::from_secs(1)),
    ] {
        assert_eq!(acts(Rule::new(fault), &both), [false, true]);
    }
    assert_eq!(acts(Rule::new(Fault::CutBody { at: 1 }), &both), [true, true]);
}

#[test]
fn triggers_count_only_what_fits() {
    let calls = [(0, READ), (1, RENEWAL), (2, READ), (3, READ)];
    let fault = || Rule::new(Fault::Throttle).operation("GetRecords");
    assert_eq!(acts(fault().nth(2), &calls), [false, false, true, false]);
    assert_eq!(acts(fault().first(2), &calls), [true, false, true, false]);
    assert_eq!(acts(fault().chance(0.0), &calls), [false; 4]);
    assert_eq!(acts(fault().chance(1.0), &calls), [true, false, true, true]);
    assert_eq!(acts(fault().during(at(1)..at(3)), &calls), [false, false, true, false]);
    assert_eq!(acts(fault().during(at(1)..at(4)).nth(2), &calls), [false, false, false, true]);
}

#[test]
fn delays_add_up_and_the_first_other_fault_wins() {
    let faults = Faults::new(1);
    faults.add(Rule::new(Fault::Latency(Duration::from_secs(1))));
    faults.add(Rule::new(Fault::LostAfter));
    faults.add(Rule::new(Fault::Throttle));
    faults.add(Rule::new(Fault::Latency(Duration::from_secs(2))));
    faults.add(Rule::new(Fault::LateReply(Duration::from_secs(4))));
    let verdict = faults.judge(at(0), &READ);
    let expected = Verdict {
        latency: Duration::from_secs(3),
        late_reply: Duration::from_secs(4),
        late_events: Duration::ZERO,
        fault: Some(Fault::LostAfter),
    };
    assert_eq!(verdict, expected);
    assert_eq!(
        Vec::from_iter(faults.counts()),
        [("late_reply", 1), ("latency", 2), ("lost_after", 1)]
    );
    faults.clear();
    assert_eq!(faults.judge(at(0), &READ), Verdict::default());
}

#[test]
fn chance_follows_the_seed_and_not_the_neighbours() {
    let draws = |seed, neighbour: bool| {
        let faults = Faults::new(seed);
        faults.add(Rule::new(Fault::Throttle).operation("GetRecords").chance(0.3));
        if neighbour {
            faults.add(Rule::new(Fault::LostAfter).operation("UpdateItem").chance(0.5));
        }
        let draw = |_| {
            faults.judge(at(0), &RENEWAL);
            faults.judge(at(0), &READ) != Verdict::default()
        };
        (0..200).map(draw).collect::<Vec<_>>()
    };
    assert_eq!(draws(7, false), draws(7, true));
    assert_ne!(draws(7, false), draws(8, false));
    let hits = draws(7, false).into_iter().filter(|hit| *hit).count();
    assert!((35..=85).contains(&hits), "{hits} of 200 at 0.3");
}
