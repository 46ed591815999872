//! Part B: shards that stood still at peers.

use std::time::Duration;

use kcl_testkit::sim::Tier;
use kcl_testkit::sim::history::{Event, Turn, What};
use kcl_testkit::sim::schedule::{Act, Checkpoints, Schedule, Trial};
use kcl_testkit::sim::weather::{Climate, Fate, Mood, Service};

use crate::facts::{Facts, Grant, owner};
use crate::{BOTH, crash, feel, fleet, holds, merge, next, outage, seconds, split};

#[test]
fn b1_a_fleet_that_is_killed_every_minute_goes_on_every_time() {
    let schedule = [20.0, 80.0, 140.0]
        .into_iter()
        .fold(fleet(1, 3, 6), |schedule, at| (0..3).fold(schedule, |s, _| s.at(at, crash(0, 1))))
        .putting(5, 0, 160)
        .then(Trial::CrashAllButOne);
    let facts = holds(Tier::Port, &schedule);
    assert_eq!(facts.turns(Turn::Crashes), 9 + 2);
    // Nothing waits for longer than a lease, a scan, and the restart.
    let slowest = facts.slowest(|_| true);
    assert!(slowest < seconds(16), "{slowest:?}");
}

/// The worker lives and reads; only the table is out of its reach.
#[test]
fn b2_a_worker_that_is_alive_but_wedged_keeps_nothing() {
    let schedule = fleet(2, 2, 4).at(20.0, outage(Some(0), Service::Store, 60)).putting(5, 0, 90);
    let facts = holds(Tier::Port, &schedule);
    let bound = seconds(20) + seconds(10 + 2) + Duration::from_millis(500);
    let granted = facts.grants();
    let taken = granted.iter().filter(|grant| grant.life.worker == 2 && grant.at > seconds(20));
    let taken: Vec<_> = taken.map(|grant| grant.at).collect();
    assert!(taken.len() >= 2 && taken[..2].iter().all(|at| *at < bound), "{taken:?}");
    assert_eq!(facts.turns_within(seconds(20)..seconds(40), Turn::LostIt), 2);
}

#[test]
fn b3_nobody_gives_a_lease_to_a_worker_that_is_gone() {
    let stop = Act::Stop { pick: 1, pause: seconds(40), same_id: false };
    let schedule = fleet(3, 3, 6)
        .at(20.0, stop)
        .at(40.0, crash(0, 40))
        .putting(5, 0, 60)
        .then(Trial::Stop)
        .then(Trial::Crash);
    let facts = holds(Tier::Port, &schedule);
    assert_eq!((facts.turns(Turn::IsAskedToStop), facts.turns(Turn::Crashes)), (2, 2));
    let mut taken = 0;
    for (at, shard, write) in facts.writes() {
        let (before, after) = (owner(&write.before), owner(&write.after));
        if let Some(owner) = after.filter(|_| before != after) {
            taken += 1;
            let asked = write.before.as_ref().and_then(|lease| lease.handoff_to.as_ref());
            let takes = write.by.is_some_and(|by| by.is(owner));
            assert!(takes || asked == Some(owner), "{shard} at {at:?} to {owner}");
        }
    }
    assert!(taken > 12, "{taken}");
}

#[test]
fn b4_clocks_that_are_a_day_apart_hold_nobody_up() {
    let skew = seconds(86_400);
    for seed in 1..4 {
        let schedule = fleet(seed, 4, 4)
            .under(Climate { skew, ..Climate::default() })
            .at(10.0, crash(0, 1))
            .putting(5, 0, 30)
            .then(Trial::Crash)
            .then(Trial::Join);
        let facts = holds(Tier::Port, &schedule);
        let clocks =
            facts.count(|what| matches!(what, What::Weather(what) if what.contains("clock")));
        assert!(clocks > 0, "every clock is right");
    }
}

/// A newcomer steals its share, and one of the two dies at ever other steps of it.
#[test]
fn b5_a_crash_at_any_step_of_a_move_leaves_no_lease_behind() {
    let stop = Act::Stop { pick: 0, pause: seconds(3), same_id: false };
    let schedule = (0..16_u32)
        .fold(fleet(5, 2, 6), |schedule, nth| {
            let begun = 20.0 * f64::from(nth + 1);
            let at = begun + 3.0 + 0.2 * f64::from(nth);
            schedule.at(begun, stop).at(begun + 3.0, Act::Put { most: 5 }).at(at, crash(nth, 4))
        })
        .putting(3, 0, 350);
    let facts = holds(Tier::Port, &schedule);
    assert!(facts.moves() > 16, "{}", facts.moves());
    let slowest = facts.slowest(|_| true);
    assert!(slowest < seconds(16), "{slowest:?}");
}

/// The first calls fail, and then every byte of the budget is taken by calls that take their time.
#[test]
fn b8_a_full_budget_and_first_calls_that_fail_stop_no_consumer() {
    let schedule = fleet(8, 1, 8)
        .with(|settings| settings.large = true)
        .at(0.0, next("GetShardIterator", Fate::Before, 20))
        .at(0.0, next("GetRecords", Fate::Before, 20))
        .at(5.0, feel(Mood::Slow(seconds(20)), 16))
        .putting(40, 0, 30)
        .at(80.0, Act::Put { most: 30 });
    let facts = holds(Tier::Port, &schedule);
    assert_eq!(facts.faults("Kinesis fails"), 40);
    let held = facts.events().iter().filter_map(|event| match event.what {
        What::Holds(_, bytes) => Some(bytes),
        _ => None,
    });
    let held = held.max().unwrap();
    assert!(held > 15 << 20, "{held} bytes at the most");
    let granted: std::collections::BTreeSet<_> = facts.grants().iter().map(|g| g.shard).collect();
    let read: std::collections::BTreeSet<_> = facts
        .events()
        .iter()
        .filter(|event| matches!(event.what, What::Done(..)))
        .filter_map(|event| event.shard.as_ref())
        .collect();
    assert_eq!((granted.len(), read), (8, granted));
}

#[test]
fn b11_a_renewal_that_fails_once_stops_no_reader() {
    use Fate::{After, Before, HangAfter, HangBefore, Late, Throttled};
    let fates = [Throttled, Before, After, HangBefore, HangAfter, Late(seconds(2))];
    let schedule = fates.into_iter().enumerate().fold(fleet(11, 1, 3), |schedule, (nth, fate)| {
        schedule.at(10.0 * (nth + 1) as f64, next("UpdateItem", fate, 1))
    });
    for tier in BOTH {
        let facts = holds(tier, &schedule.clone().putting(5, 0, 80));
        let faults = facts.count(|what| matches!(what, What::Fault(..)));
        assert_eq!((faults, facts.turns(Turn::LostIt), facts.grants().len()), (6, 0, 3));
        let slowest = facts.slowest(|_| true);
        assert!(slowest < Duration::from_millis(1_500), "{slowest:?}");
    }
}

#[test]
fn b13_leases_that_an_operator_deletes_come_back_and_nothing_is_lost() {
    let schedule = (0..15_u32)
        .fold(fleet(13, 2, 4), |schedule, nth| {
            let schedule = schedule.at(10.0 + 3.0 * f64::from(nth), Act::DeleteLease { pick: nth });
            if nth % 5 == 2 {
                schedule
                    .at(10.4 + 3.0 * f64::from(nth), Act::Reshard { pick: nth, merge: nth == 7 })
            } else {
                schedule
            }
        })
        .putting(5, 0, 60);
    for tier in BOTH {
        let facts = holds(tier, &schedule);
        assert_eq!(deletions(&facts), 15);
    }
}

fn deletions(facts: &Facts) -> usize {
    facts.writes().filter(|(_, _, write)| write.by.is_none() && write.after.is_none()).count()
}

/// One parent is still at work when the lease of one of the two is deleted: the one at work, or the one that has ended.
#[test]
fn b14_a_merged_shard_does_not_wait_for_ever_for_a_parent_without_a_lease() {
    for pick in [0, 1] {
        let schedule = fleet(14, 2, 2)
            .at(9.0, Act::Put { most: 20 })
            .at(9.0, feel(Mood::Slow(seconds(8)), 1))
            .at(9.0, merge(0))
            .at(12.0, Act::DeleteLease { pick })
            .putting(5, 0, 30);
        let facts = holds(Tier::Port, &schedule);
        let deleted = facts.writes().find(|(_, _, write)| write.after.is_none());
        let (deleted, parent, _) = deleted.unwrap();
        assert!(facts.closed().contains(parent));
        let child = facts.grants().into_iter().find(|grant| !facts.closed().contains(grant.shard));
        assert!(child.is_some_and(|child| child.at > deleted && child.at < seconds(40)));
    }
}

/// Three workers of two shards each: the two that are left are balanced before they take anything. In some seeds both
/// reach for the same lease first, and the other one must not wait for the next scan.
#[test]
fn b15_the_leases_of_a_dead_worker_are_taken_although_the_others_are_balanced() {
    for seed in [15, 108, 136, 8_015] {
        let schedule = fleet(seed, 3, 6).putting(5, 0, 10).then(Trial::Crash);
        let facts = holds(Tier::Port, &schedule);
        let crashed = facts.when(|event| matches!(event.what, What::Process(_, Turn::Crashes)));
        let taken = facts.grants().into_iter().filter(|grant| Some(grant.at) > crashed).count();
        assert_eq!(taken, 2);
    }
}

/// The call never returns, and its lease is lost meanwhile. It gets a lease duration of grace, for which no other shard waits.
#[test]
fn b16_a_call_that_hangs_on_a_lost_lease_holds_up_nobody() {
    let schedule = fleet(16, 1, 3)
        .at(10.0, feel(Mood::Hangs, 1))
        .at(12.0, outage(None, Service::Store, 12))
        .putting(5, 0, 60);
    let facts = holds(Tier::Port, &schedule);
    let hung = facts.events().iter().find(|event| matches!(event.what, What::Failed(_, "hangs")));
    let hung = hung.unwrap();
    let lost = |event: &Event| {
        event.shard == hung.shard
            && event.at > hung.at
            && matches!(event.what, What::Process(_, Turn::LostIt))
    };
    let lost = facts.when(lost).unwrap();
    // The last renewal is no later than the outage; what it proves, the grace, and a second.
    assert!(lost < seconds(12 + 9 + 10 + 1), "{lost:?}");
    let again = |grant: &Grant<'_>| Some(grant.shard) == hung.shard.as_ref() && grant.at >= lost;
    assert!(facts.grants().iter().find(|grant| again(grant)).unwrap().at < lost + seconds(3));
    let others = facts.slowest(|put| put.shard != hung.shard);
    assert!(others < seconds(9), "{others:?}");
}

#[test]
fn b17_a_hole_is_found_within_ten_seconds() {
    let schedule = fleet(17, 2, 4).putting(5, 0, 10).then(Trial::DeleteLease);
    for tier in BOTH {
        assert_eq!(deletions(&holds(tier, &schedule)), 1);
    }
}

#[test]
fn b18_a_processor_that_never_checkpoints_a_shards_end_ends_it_all_the_same() {
    for seed in 18..22 {
        let schedule = Schedule::calm(seed)
            .with(|settings| settings.checkpoint = Checkpoints::Manual)
            .at(10.0, Act::Put { most: 30 })
            .at(10.0, split(0))
            .at(15.0, merge(0))
            .at(20.0, split(0))
            .putting(5, 0, 25);
        let facts = holds(Tier::Port, &schedule);
        assert_eq!((facts.closed().len(), facts.ended().len()), (4, 4));
    }
}
