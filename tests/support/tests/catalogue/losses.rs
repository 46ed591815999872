//! Part A: records that peers lost.

use std::time::Duration;

use kcl_testkit::sim::Tier;
use kcl_testkit::sim::history::{Event, Turn, What};
use kcl_testkit::sim::schedule::{Act, Checkpoints, Schedule, Start};
use kcl_testkit::sim::weather::{Climate, Fate, Mood};

use crate::facts::Facts;
use crate::{BOTH, crash, feel, fleet, holds, merge, next, seconds, split};

#[test]
fn a1_a_processor_that_throws_never_makes_us_skip() {
    for (attempts, halts) in [(None, 0), (Some(3), 1)] {
        let schedule = Schedule::calm(1)
            .with(|settings| settings.attempts = attempts)
            .at(10.0, feel(Mood::Fails, 3))
            .at(40.0, Act::Put { most: 5 })
            .putting(10, 0, 30);
        let facts = holds(Tier::Port, &schedule);
        assert_eq!((facts.failures(), facts.turns(Turn::HaltedIt)), (3, halts));
    }
}

#[test]
fn a2_a_failure_in_the_last_batch_ends_no_shard() {
    for mood in [Mood::Fails, Mood::Panics, Mood::Hangs] {
        let schedule = fleet(2, 1, 1)
            .at(10.0, Act::Put { most: 40 })
            .at(10.0, split(0))
            .at(10.0, feel(mood, 3))
            .at(150.0, Act::Put { most: 5 });
        let facts = holds(Tier::Port, &schedule);
        let closed = facts.when(|event| matches!(event.what, What::Closed)).unwrap();
        let in_vain = facts.when(|event| event.at > closed && is_delivery(event)).unwrap();
        let failed = facts.events().iter().rfind(|event| matches!(event.what, What::Failed(..)));
        let ended = facts.when(|event| matches!(event.what, What::Process(_, Turn::EndedIt)));
        assert_eq!(facts.failures(), 3);
        assert!(in_vain < failed.unwrap().at && failed.unwrap().at < ended.unwrap());
    }
}

#[test]
fn a3_a_batch_that_a_panic_a_stall_or_a_crash_swallows_comes_again() {
    let stall = Act::Stall { pick: 0, span: seconds(12) };
    let schedule = fleet(3, 2, 2)
        .at(5.0, feel(Mood::Panics, 5))
        .at(10.0, feel(Mood::Slow(seconds(2)), 2))
        .at(10.7, stall)
        .at(30.0, feel(Mood::Slow(seconds(2)), 2))
        .at(30.7, crash(0, 1))
        .putting(20, 0, 50);
    let facts = holds(Tier::Port, &schedule);
    assert_eq!(facts.failures(), 5);
    assert!(facts.turns(Turn::LostIt) > 0);
}

/// Every shard of the first listing ends, and most of them before Kinesis has said where to read it.
#[test]
fn a5_a_reshard_right_after_the_start_at_latest_loses_nothing() {
    let mut unread = 0;
    for (seed, at) in [10.01, 10.03, 10.06, 10.1, 10.3, 10.6].into_iter().enumerate() {
        let schedule = fleet(seed as u64, 0, 2)
            .with(|settings| settings.start = Start::Latest)
            .at(10.0, Act::Join)
            .at(10.0, next("GetShardIterator", Fate::Late(seconds(1)), 2))
            .at(at, Act::Put { most: 20 })
            .at(at, split(0))
            .at(at, split(2))
            .at(at + 0.001, Act::Put { most: 20 })
            .at(at + 5.0, merge(1))
            .putting(5, 9, 30);
        let facts = holds(Tier::Port, &schedule);
        let first = |wanted: fn(&Event) -> bool| facts.when(wanted).unwrap();
        let leased = first(|event| matches!(event.what, What::Wrote(_)));
        let closed = first(|event| matches!(event.what, What::Closed));
        assert!(closed < first(is_delivery) && facts.faults("Kinesis is slow") == 2);
        unread += usize::from(leased < closed);
    }
    assert!(unread > 1, "no reshard came between the leases and the first iterators");
}

/// The start of the application is durable before the first checkpoint: the second owner skips nothing and repeats nothing older.
#[test]
fn a6_an_application_at_latest_that_dies_before_it_checkpoints_does_not_replay_its_stream() {
    let schedule = fleet(6, 0, 2)
        .with(|settings| settings.start = Start::Latest)
        .at(10.0, Act::Join)
        .at(10.0, feel(Mood::Good, 2))
        .at(10.0, feel(Mood::Slow(seconds(20)), 2))
        .at(12.0, crash(0, 1))
        .putting(5, 5, 40);
    let facts = holds(Tier::Port, &schedule);
    assert!(facts.grants()[2..4].iter().all(|grant| !grant.position.has_progressed()));
    let old = facts.events().iter().take_while(|event| event.at < seconds(7));
    let old: Vec<_> = old
        .filter_map(|event| match &event.what {
            What::Put(seen) => Some((seen.key, seen.nth)),
            _ => None,
        })
        .collect();
    let replayed = facts.count(|what| match what {
        What::Delivered(_, batch) => batch.iter().any(|seen| old.contains(&(seen.key, seen.nth))),
        _ => false,
    });
    assert!(old.len() > 30 && replayed == 0, "{replayed} of {}", old.len());
}

#[test]
fn a7_a_hundred_shards_that_are_scaled_while_workers_die_are_all_read() {
    let schedule = [5.15, 5.3, 5.5, 5.8, 6.3, 7.0]
        .into_iter()
        .fold(fleet(7, 3, 100).at(5.0, Act::Scale { percent: 200 }), |schedule, at| {
            schedule.at(at, next("PutItem", Fate::Before, 5)).at(at, crash(at as u32, 0))
        })
        .putting(20, 0, 30);
    let facts = holds(Tier::Port, &schedule);
    assert_eq!((facts.closed().len(), facts.ended().len()), (100, 100));
    assert_eq!(facts.turns(Turn::Crashes), 6);
}

/// And A9: half a reply in three is strange, on shards that are open and on shards that are closed.
fn strange(seed: u64) -> Schedule {
    fleet(seed, 2, 2)
        .under(Climate { oddities: 300, ..Climate::default() })
        .at(10.0, split(0))
        .at(20.0, merge(1))
        .at(30.0, split(1))
        .putting(10, 0, 40)
}

#[test]
fn a8_a_shard_that_is_not_found_once_has_not_ended() {
    for tier in BOTH {
        let facts = holds(tier, &strange(8));
        assert!(facts.faults("Kinesis does not find the shard") > 5);
        ended_only_what_was_closed(&facts);
    }
}

#[test]
fn a9_a_reply_without_iterator_or_children_ends_nothing() {
    for tier in BOTH {
        let facts = holds(tier, &strange(9));
        assert!(facts.faults("Kinesis leaves out the iterator or children") > 5);
        ended_only_what_was_closed(&facts);
    }
}

fn ended_only_what_was_closed(facts: &Facts) {
    assert_eq!(facts.closed().len(), 4);
    assert_eq!(facts.ended(), facts.closed());
}

/// The pages of this seed have three entries.
#[test]
fn a10_a_listing_of_many_pages_whose_tokens_expire_misses_no_shard() {
    let schedule = fleet(12, 1, 6)
        .under(Climate { oddities: 300, ..Climate::default() })
        .at(5.0, Act::Scale { percent: 150 })
        .at(5.0, next("ListShards", Fate::Throttled, 3))
        .at(15.0, Act::Scale { percent: 50 })
        .putting(5, 0, 25);
    let facts = holds(Tier::Wire, &schedule);
    let expired = facts.faults("Kinesis says the token has expired");
    assert!(expired > 5, "{expired}");
    assert_eq!(facts.ended(), facts.closed());
}

#[test]
fn a11_checkpoints_within_batches_never_cover_what_is_still_at_work() {
    let schedule = fleet(11, 2, 2)
        .with(|settings| settings.checkpoint = Checkpoints::Manual)
        .under(Climate { moods: (200, 100, 50, 0), ..Climate::default() })
        .at(20.0, crash(0, 1))
        .at(40.0, crash(1, 1))
        .putting(20, 0, 60);
    let facts = holds(Tier::Port, &schedule);
    let mut hands = std::collections::BTreeMap::new();
    let mut within = 0;
    for event in facts.events() {
        match &event.what {
            What::Delivered(life, batch) => {
                hands.insert((&event.shard, *life), batch.last());
            }
            What::Done(life, _, last) => {
                let end = hands.get(&(&event.shard, *life)).copied().flatten();
                within += usize::from(end.is_some_and(|end| end.position != *last));
            }
            _ => {}
        }
    }
    assert!(within > 10 && facts.failures() > 10, "{within} {}", facts.failures());
}

#[test]
fn a12_a_write_that_arrives_after_its_lease_was_taken_changes_nothing() {
    for tier in BOTH {
        let late = Fate::Late(seconds(30));
        let schedule = Schedule::calm(12)
            .at(10.0, next("UpdateItem", late, 1))
            .at(13.5, crash(0, 1))
            .putting(5, 0, 60);
        let facts = holds(tier, &schedule);
        let taken = facts.grants()[1].at;
        let refused = facts.when(|event| event.at > taken && refused_of(event, 1));
        assert!(refused.is_some(), "the write of the dead did not arrive after {taken:?}");
    }
}

pub(crate) fn refused_of(event: &Event, worker: u32) -> bool {
    matches!(event.what, What::Refused(life) if life.worker == worker)
}

/// Thirty stops, each at another moment of polling, delivery, processing and renewal.
#[test]
fn a13_a_stop_at_any_moment_keeps_what_was_in_flight() {
    let schedule = (0..30_u32)
        .fold(fleet(13, 1, 4), |schedule, nth| {
            let at = 4.0 + 3.037 * f64::from(nth);
            let pause = Duration::ZERO;
            let stop = Act::Stop { pick: 0, pause, same_id: nth % 2 == 0 };
            schedule.at(at - 0.9, feel(Mood::Slow(Duration::from_millis(900)), 3)).at(at, stop)
        })
        .putting(10, 0, 100);
    let facts = holds(Tier::Port, &schedule);
    let clean = facts.count(|what| matches!(what, What::Finished(_, how) if how == "clean"));
    assert!(clean >= 30, "{clean}");
    assert_eq!(facts.repeats(), 0);
}

fn is_delivery(event: &Event) -> bool {
    matches!(event.what, What::Delivered(..))
}
