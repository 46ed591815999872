//! Part D: storms of calls, memory, outages.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_testkit::sim::Tier;
use kcl_testkit::sim::history::{Turn, What};
use kcl_testkit::sim::schedule::{Act, Trial};
use kcl_testkit::sim::weather::{Chances, Climate, Fate, Mood};

use crate::facts::Facts;
use crate::{crash, feel, fleet, holds, next, seconds, split};

/// How many calls went wrong in the worst second.
fn worst_second(facts: &Facts) -> usize {
    let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
    for event in facts.events().iter().filter(|event| matches!(event.what, What::Fault(..))) {
        *seconds.entry(event.at.as_secs()).or_default() += 1;
    }
    seconds.into_values().max().unwrap_or_default()
}

/// That nobody calls more often than Kinesis allows is S17.
#[test]
fn d1_first_calls_that_fail_and_empty_shards_make_no_storm() {
    let schedule = fleet(1, 1, 4)
        .at(0.0, next("GetShardIterator", Fate::Throttled, 20))
        .at(0.0, next("GetRecords", Fate::Before, 60))
        .at(60.0, split(0))
        .at(60.0, next("GetRecords", Fate::Throttled, 20))
        .at(90.0, Act::Put { most: 5 });
    let facts = holds(Tier::Port, &schedule);
    assert_eq!((facts.faults("Kinesis throttles"), facts.faults("Kinesis fails")), (40, 60));
    assert!(worst_second(&facts) <= 4 * 5, "{}", worst_second(&facts));
}

#[test]
fn d2_a_throttled_table_costs_no_lease_until_nearly_every_call_is_throttled() {
    for throttled in [10, 100, 300, 500, 900, 990] {
        let store = Chances { throttled, ..Chances::default() };
        let schedule =
            fleet(2, 2, 4).under(Climate { store, ..Climate::default() }).putting(5, 0, 120);
        let facts = holds(Tier::Port, &schedule);
        let lost = facts.turns_within(seconds(20)..Duration::MAX, Turn::LostIt);
        let throttles = facts.faults("store throttles");
        assert!(worst_second(&facts) <= 30, "{}", worst_second(&facts));
        assert!(throttles > 0 && (lost == 0 || throttled >= 900), "{throttled}: {lost} lost");
    }
}

#[test]
fn d3_two_hundred_workers_that_start_at_once_ask_for_the_shards_with_restraint() {
    let schedule =
        fleet(3, 200, 40).at(0.0, next("ListShards", Fate::Throttled, 300)).putting(10, 0, 20);
    let facts = holds(Tier::Port, &schedule);
    assert_eq!(facts.faults("Kinesis throttles"), 300);
    let mut most: BTreeMap<_, usize> = BTreeMap::new();
    for event in facts.events() {
        if let What::Rate(life, "ListShards", calls) = event.what {
            most.insert(life, calls);
        }
    }
    assert!(most.len() == 200 && most.values().all(|calls| *calls <= 4), "{most:?}");
}

#[test]
fn d6_credentials_that_expire_for_half_an_hour_cost_one_worker_its_leases_until_then() {
    let span = seconds(1_800);
    let schedule = fleet(6, 2, 2)
        .at(20.0, Act::Expire { pick: Some(0), span })
        .putting(2, 0, 60)
        .at(1_900.0, Act::Put { most: 5 });
    let facts = holds(Tier::Port, &schedule);
    let granted: Vec<_> = facts
        .grants()
        .iter()
        .filter(|grant| grant.life.worker == 1)
        .map(|grant| grant.at)
        .collect();
    assert!(granted.iter().any(|at| *at > span), "{granted:?}");
    assert!(granted.iter().all(|at| *at < seconds(20) || *at > span), "{granted:?}");
    // Refused calls of the table and of two shards: a few at once, and then one in two seconds.
    let refused = facts.count(|what| matches!(what, What::Fault(..)));
    assert!(worst_second(&facts) <= 10 && (400..1_200).contains(&refused), "{refused}");
}

/// Every byte of the budget is taken while processors stand still.
#[test]
fn d7_large_records_and_slow_processors_keep_to_the_budget_and_go_on() {
    let schedule = fleet(7, 1, 8)
        .with(|settings| settings.large = true)
        .at(5.0, feel(Mood::Slow(seconds(20)), 16))
        .putting(40, 0, 30);
    let facts = holds(Tier::Port, &schedule);
    let held = facts.events().iter().filter_map(|event| match event.what {
        What::Holds(_, bytes) => Some(bytes),
        _ => None,
    });
    let held = held.max().unwrap();
    assert!(held > 15 << 20, "{held} bytes at the most");
}

#[test]
fn d9_items_that_are_no_leases_disturb_nobody() {
    let schedule = fleet(9, 2, 3)
        .at(5.0, Act::Strew)
        .at(10.0, crash(0, 1))
        .at(15.0, split(0))
        .putting(5, 0, 30)
        .then(Trial::DeleteLease);
    let facts = holds(Tier::Wire, &schedule);
    assert_eq!(facts.turns(Turn::Crashes), 1);
}

#[test]
fn d12_two_hours_without_a_table_end_in_seconds_and_without_a_herd() {
    let span = seconds(7_200);
    let schedule = fleet(12, 4, 4).putting(5, 0, 10).then(Trial::StoreOutage(span));
    let facts = holds(Tier::Port, &schedule);
    // Of four workers with a lease each: one in two seconds, and never all at once.
    let refused = facts.count(|what| matches!(what, What::Fault(..)));
    let calls = 4 * 7_200;
    assert!((calls / 4..calls).contains(&refused), "{refused}");
    assert!(worst_second(&facts) <= 4 * 8, "{}", worst_second(&facts));
}
