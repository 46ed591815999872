//! L4, shards are shared, and then nothing moves: soon after everything is done, no lease changes its owner any more; a worker
//! that joins a fleet at rest has its share within seconds, by as few moves as that takes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Violation, trials};
use crate::sim::history::{Event, History, Turn, What};
use crate::sim::schedule::Trial;

/// From everything done to rest: a worker that starts may wait for 30 s for a call that was sent before healing, and then
/// takes its share.
const UNREST: Duration = Duration::from_secs(45);

/// From its start until a worker has its share.
const SHARING: Duration = Duration::from_secs(10);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = rest(history);
    let tries = trials::of(history);
    let joins = tries.iter().filter(|tried| tried.trial == Trial::Join);
    violations.extend(joins.filter_map(|tried| shares(history, tried)));
    violations
}

/// The loads of all workers differ by one at the most, and only what the newcomer lacked was moved.
fn shares(history: &History, tried: &trials::Tried<'_>) -> Option<Violation> {
    let (at, _) = *trials::turns(tried.events, Turn::Starts).first()?;
    let until = tried.events[at].at + SHARING;
    let end = tried.from + tried.events.partition_point(|event| event.at <= until);
    let owners = trials::owners(history, end);
    let living = trials::living(history, end);
    let mut loads: BTreeMap<u32, usize> = living.iter().map(|worker| (*worker, 0)).collect();
    for owner in owners.values().copied().flatten() {
        let number = owner.as_str().trim_start_matches('w').parse().unwrap_or_default();
        *loads.entry(number).or_default() += 1;
    }
    let (most, least) = (loads.values().max()?, loads.values().min()?);
    let moves = history.events[tried.from..end].iter().filter(|event| is_move(event)).count();
    let needed = owners.len() / loads.len().max(1);
    if most - least <= 1 && moves <= needed {
        return None;
    }
    let what = format!(
        "{SHARING:?} after a worker joined the loads are {loads:?} by {moves} moves, where {needed} are needed"
    );
    Some(Violation::new("L4", Some(&tried.events[at]), what))
}

/// From one worker to another.
fn is_move(event: &Event) -> bool {
    match &event.what {
        What::Wrote(write) => match (&write.before, &write.after) {
            (Some(before), Some(after)) => {
                before.owner.is_some() && after.owner.is_some() && before.owner != after.owner
            }
            _ => false,
        },
        _ => false,
    }
}

fn rest(history: &History) -> Vec<Violation> {
    let drained = history.first(|what| matches!(what, What::Drained));
    let over = history.first(|what| matches!(what, What::Stopping | What::Tries(_)));
    let (Some(drained), Some(over)) = (drained, over) else {
        return Vec::new();
    };
    // Who stood still may go on after healing, and a process whose id another one has ends then.
    let turns = history.events.iter().filter(|event| event.at < over).filter_map(|event| {
        let turns = matches!(event.what, What::Process(_, Turn::Resumes | Turn::Crashes));
        turns.then_some(event.at)
    });
    let rest = turns.fold(drained, Duration::max) + UNREST..over;
    let moves = |what: &What| match what {
        What::Wrote(write) => match (&write.before, &write.after) {
            (before, Some(after)) => {
                before.as_ref().and_then(|lease| lease.owner.as_ref()) != after.owner.as_ref()
            }
            // Ended leases are cleaned up.
            (_, None) => false,
        },
        _ => false,
    };
    let moved =
        history.events.iter().filter(|event| rest.contains(&event.at) && moves(&event.what));
    moved.map(|event| Violation::new("L4", Some(event), "a lease still moves")).collect()
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, BOB, lease, made};
    use super::*;

    #[test]
    fn a_worker_that_gets_no_share_or_more_than_it_needs_is_seen() {
        let held = |owner, counter| Some(lease(Some(owner), counter, Position::TrimHorizon));
        let shards = |count: u32| {
            let began = made().then(What::Process(ANA, Turn::Starts)).taken(ANA);
            (1..count).fold(began, |made, number| made.taken_of(number, ANA))
        };
        let joins = |count| {
            shards(count).then(What::Tries(Trial::Join)).then(What::Process(BOB, Turn::Starts))
        };
        let over = |made: super::super::testing::Made| made.waits(20).then(What::Tried);
        assert_eq!(check(&over(joins(2)).history).len(), 1);
        let shared = joins(2).wrote(BOB, held(ANA, 1), held(BOB, 2));
        assert_eq!(check(&over(shared).history), []);
        let back_and_forth = joins(2)
            .wrote(BOB, held(ANA, 1), held(BOB, 2))
            .wrote(ANA, held(BOB, 2), held(ANA, 3))
            .wrote(BOB, held(ANA, 3), held(BOB, 4));
        assert_eq!(check(&over(back_and_forth).history).len(), 1);
    }

    #[test]
    fn a_lease_that_moves_in_the_end_is_seen() {
        let lease = |owner| Some(lease(Some(owner), 1, Position::TrimHorizon));
        let wait = |seconds| {
            (0..seconds)
                .fold(made().then(What::Drained), |made, _| made.then(What::Weather("fine".into())))
        };
        for (seconds, bad) in [(30, 0), (60, 1)] {
            let moved = wait(seconds).wrote(BOB, lease(ANA), lease(BOB)).then(What::Stopping);
            assert_eq!(check(&moved.history).len(), bad);
            let renewed = wait(seconds).wrote(ANA, lease(ANA), lease(ANA)).then(What::Stopping);
            assert_eq!(check(&renewed.history), []);
        }
    }
}
