//! Part C: duplicates, writes from the past, checkpoints that went back.

use std::time::Duration;

use kcl_core::WorkerId;
use kcl_testkit::sim::Tier;
use kcl_testkit::sim::history::{Turn, What};
use kcl_testkit::sim::schedule::{Act, Checkpoints, Schedule, Trial};
use kcl_testkit::sim::weather::{Climate, Fate, Mood, Service};

use crate::facts::owner;
use crate::losses::refused_of;
use crate::{BOTH, crash, feel, fleet, holds, next, seconds, split};

/// Writes of every kind take effect and their answers are lost, or come when nobody waits any more.
#[test]
fn c1_writes_whose_answers_are_lost_cost_no_lease_and_repeat_nothing() {
    for fate in [Fate::After, Fate::HangAfter, Fate::Late(seconds(4))] {
        let schedule = fleet(1, 1, 2)
            .at(0.0, next("PutItem", fate, 2))
            .at(0.0, next("UpdateItem", fate, 2))
            .at(20.0, next("UpdateItem", fate, 2))
            .at(30.0, split(0))
            .at(30.0, next("PutItem", fate, 2))
            .at(31.0, next("UpdateItem", fate, 2))
            .putting(5, 0, 60);
        for tier in BOTH {
            let facts = holds(tier, &schedule);
            let faults = facts.count(|what| matches!(what, What::Fault(..)));
            let lost = facts.turns(Turn::LostIt);
            assert!(faults >= 8, "{fate:?} {faults}");
            assert_eq!((lost, facts.repeats()), (0, 0), "{fate:?}");
        }
    }
}

/// What was done but is not durable is repeated, and nothing else is.
#[test]
fn c2_a_checkpoint_whose_write_failed_is_not_believed() {
    for (fate, repeats) in [(Fate::Before, true), (Fate::After, false)] {
        let schedule = Schedule::calm(2)
            .at(11.0, next("UpdateItem", fate, 50))
            .at(11.5, Act::Put { most: 30 })
            .at(19.0, crash(0, 1))
            .at(19.5, next("UpdateItem", Fate::Clear, 1))
            .at(50.0, Act::Put { most: 5 });
        let facts = holds(Tier::Port, &schedule);
        assert_eq!(facts.repeats() > 0, repeats, "{fate:?}");
    }
}

/// In the middle of a batch, from a blink to an hour.
#[test]
fn c4_a_process_that_was_stopped_for_any_time_does_no_harm_when_it_goes_on() {
    for span in [1, 5, 8, 10, 12, 60, 3_600] {
        let schedule = fleet(span, 2, 2)
            .at(10.0, Act::Put { most: 20 })
            .at(10.0, feel(Mood::Slow(seconds(3)), 2))
            .at(11.0, Act::Stall { pick: 0, span: seconds(span) })
            .at(12.0, Act::Put { most: 20 })
            .at(12.0 + span as f64, Act::Put { most: 20 })
            .at(30.0 + span as f64, Act::Put { most: 20 });
        let facts = holds(Tier::Port, &schedule);
        let lost = facts.turns_within(seconds(11)..Duration::MAX, Turn::LostIt);
        assert_eq!(lost > 0, span > 7, "{span} s: {lost} leases lost");
    }
}

/// A dead worker's lease is free when its counter has stood still for the lease duration, not when some clock says so.
#[test]
fn c5_a_clock_that_is_wrong_takes_no_lease_early() {
    for seed in 1..6 {
        let schedule = fleet(seed, 3, 3)
            .under(Climate { skew: seconds(86_400), ..Climate::default() })
            .putting(5, 0, 20)
            .then(Trial::Crash);
        let facts = holds(Tier::Port, &schedule);
        let crashed = facts.events().iter().find_map(|event| match event.what {
            What::Process(life, Turn::Crashes) => Some((event.at, life)),
            _ => None,
        });
        let (crashed, dead) = crashed.unwrap();
        let is_dead = |owner: Option<&WorkerId>| owner.is_some_and(|owner| dead.is(owner));
        let mut renewed = None;
        let mut taken = 0;
        for (at, _, write) in facts.writes() {
            if write.by == Some(dead) {
                renewed = Some(at);
            } else if at > crashed && is_dead(owner(&write.before)) {
                taken += 1;
                assert!(at - renewed.unwrap() > seconds(10), "taken {at:?}");
            }
        }
        assert_eq!(taken, 1, "seed {seed}");
    }
}

#[test]
fn c8_a_durable_end_whose_write_goes_wrong_neither_goes_back_nor_blocks_the_children() {
    let fates = [Fate::Before, Fate::After, Fate::HangAfter, Fate::Late(seconds(6))];
    for fate in fates {
        for tenth in [0, 7, 14, 21, 28] {
            let at = 10.0 + f64::from(tenth) / 10.0;
            let schedule = Schedule::calm(8)
                .at(at, Act::Put { most: 20 })
                .at(at, split(0))
                .at(at, next("UpdateItem", fate, 2))
                .putting(5, 0, 25);
            let facts = holds(Tier::Port, &schedule);
            let closed = facts.when(|event| matches!(event.what, What::Closed)).unwrap();
            let fault = |at| facts.when(|e| e.at > at && matches!(e.what, What::Fault(..)));
            let children = facts.grants()[1..].iter().map(|grant| grant.at - closed).max();
            assert!(fault(closed).is_some(), "{fate:?}");
            assert!(children.unwrap() < seconds(9), "{fate:?} {children:?}");
        }
    }
}

/// The processor wakes up with a batch, ends it, and checkpoints what is no longer its own.
#[test]
fn c9_a_checkpoint_after_the_lease_has_gone_is_refused() {
    for seed in 1..6 {
        let schedule = Schedule::calm(seed)
            .with(|settings| settings.checkpoint = Checkpoints::Manual)
            .at(5.0, Act::Join)
            .at(10.0, Act::Put { most: 20 })
            .at(10.0, feel(Mood::Slow(seconds(3)), 1))
            .at(11.5, Act::Stall { pick: 0, span: seconds(20) })
            .putting(5, 0, 50);
        let facts = holds(Tier::Port, &schedule);
        let grants = facts.grants();
        let [first, second] = grants.as_slice() else { panic!("{} grants", grants.len()) };
        let woken = facts.count(
            |what| matches!(what, What::Process(life, Turn::Resumes) if *life == first.life),
        );
        let late =
            facts.writes().filter(|(at, _, write)| *at > second.at && write.by == Some(first.life));
        assert_eq!((woken, late.count()), (1, 0), "seed {seed}");
    }
}

/// From one to the other and back, while each sleeps with a batch in hand.
#[test]
fn c10_a_lease_that_comes_back_starts_a_consumer_of_its_own() {
    let stall = |span| Act::Stall { pick: 0, span: seconds(span) };
    let schedule = Schedule::calm(10)
        .at(5.0, Act::Join)
        .at(10.0, feel(Mood::Slow(seconds(3)), 1))
        .at(11.0, stall(20))
        .at(24.0, feel(Mood::Slow(seconds(3)), 1))
        .at(25.0, stall(30))
        .putting(5, 0, 80);
    let facts = holds(Tier::Port, &schedule);
    let owners: Vec<u32> = facts.grants().iter().map(|grant| grant.life.worker).collect();
    assert_eq!(owners, [1, 2, 1]);
    assert_eq!(facts.turns(Turn::LostIt), 2);
}

#[test]
fn c11_a_fleet_that_grows_and_shrinks_moves_no_lease_in_vain() {
    let stop = Act::Stop { pick: 0, pause: seconds(15), same_id: false };
    let rounds = 8_u32;
    let schedule = (0..rounds)
        .fold(fleet(11, 3, 6), |schedule, nth| schedule.at(30.0 * f64::from(nth + 1), stop))
        .putting(3, 0, 30 * u64::from(rounds + 1));
    let facts = holds(Tier::Port, &schedule);
    // Two for each that joins: its share.
    let moves = facts.moves();
    assert!((2 * 8..=2 * 8 + 6).contains(&moves), "{moves}");
}

#[test]
fn c12_a_release_that_arrives_after_the_lease_was_taken_frees_nothing() {
    for tier in BOTH {
        let schedule = Schedule::calm(12)
            .at(20.0, next("UpdateItem", Fate::Late(seconds(25)), 1))
            .at(20.0, Act::Stop { pick: 0, pause: Duration::ZERO, same_id: false })
            .putting(5, 0, 60);
        let facts = holds(tier, &schedule);
        let taken = facts.grants()[1].at;
        let refused = facts.when(|event| event.at > taken && refused_of(event, 1));
        assert!(refused.is_some(), "the release did not arrive after {taken:?}");
        assert_eq!(facts.grants().len(), 2);
    }
}

/// A process that was stopped sends a renewal whose answer is lost; its successor under the same id has taken the lease since, by
/// what would look just like that renewal if both counted by one.
#[test]
fn a_renewal_of_a_twin_is_not_mistaken_for_the_own() {
    let schedule = Schedule::calm(1)
        .at(3.5, Act::Zombie { pick: 0, span: seconds(8) })
        .at(3.8, Act::Stall { pick: 0, span: seconds(20) })
        .at(11.4, next("UpdateItem", Fate::Before, 1))
        .at(11.535, Act::Outage { pick: Some(0), service: Service::Store, span: seconds(4) })
        .putting(5, 0, 16);
    holds(Tier::Port, &schedule);
}
