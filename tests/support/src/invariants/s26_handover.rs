//! S26, a lease that moves between the living is handed over: where a worker joins a calm fleet, nothing that was done is handed
//! out again by the next owner, who reads the shard soon. (Where processors checkpoint by themselves, what is repeated is theirs.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::{Position, ShardId};

use super::{Violation, trials};
use crate::sim::history::{Event, History, Life, Turn, What, Write};
use crate::sim::schedule::{Checkpoints, Trial};

/// From the write that hands it over until it is read: a look at it, and two calls.
const NOTICED: Duration = Duration::from_secs(2);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for tried in trials::of(history).iter().filter(|tried| tried.trial == Trial::Join) {
        if !is_calm(history, tried.from) {
            continue;
        }
        if history.terms.checkpoint == Checkpoints::Automatic {
            violations.extend(repeats(history, tried));
        }
        violations.extend(unread(tried));
    }
    violations
}

/// Whether nobody has crashed or stood still for so long that it may be taken for alive.
fn is_calm(history: &History, from: usize) -> bool {
    let now = history.events.get(from).map_or(Duration::MAX, |event| event.at);
    let since = now.saturating_sub(3 * history.terms.timing.lease_duration);
    let recent = history.events[..from].iter().rev().take_while(|event| event.at >= since);
    let upsets = |event: &Event| match &event.what {
        What::Process(_, Turn::Crashes | Turn::Stalls | Turn::Resumes) | What::Fault(..) => true,
        What::Wrote(write) => write.by.is_none(),
        _ => false,
    };
    !recent.into_iter().any(upsets)
}

fn repeats(history: &History, tried: &trials::Tried<'_>) -> Option<Violation> {
    // How far each shard was done when it moved.
    let mut moved: BTreeMap<&ShardId, Option<&Position>> = BTreeMap::new();
    let mut done: BTreeMap<&ShardId, &Position> = BTreeMap::new();
    let mut begun: BTreeSet<(&ShardId, Life)> = BTreeSet::new();
    let until = tried.from + tried.events.len();
    for (at, event) in history.events[..until].iter().enumerate() {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Done(_, _, last) => {
                done.insert(shard, last);
            }
            What::Wrote(write) if write.by.is_none() || write.after.is_none() => {
                done.remove(shard);
                moved.remove(shard);
            }
            What::Wrote(write) if at >= tried.from && moves(write) => {
                moved.insert(shard, done.get(shard).copied());
            }
            What::Granted(life, _) if moved.contains_key(shard) => {
                begun.insert((shard, *life));
            }
            What::Delivered(life, batch) if begun.contains(&(shard, *life)) => {
                let (Some(first), Some(Some(done))) = (batch.first(), moved.get(shard)) else {
                    continue;
                };
                if first.position <= **done {
                    let what = format!("{life} gets {} again after a move", first.position);
                    return Some(Violation::new("S26", Some(event), what));
                }
            }
            _ => {}
        }
    }
    None
}

/// From one worker to another.
fn moves(write: &Write) -> bool {
    match (&write.before, &write.after) {
        (Some(before), Some(after)) => {
            before.owner.is_some() && after.owner.is_some() && before.owner != after.owner
        }
        _ => false,
    }
}

/// A lease that was handed over and is not read.
fn unread(tried: &trials::Tried<'_>) -> Option<Violation> {
    let mut waiting: BTreeMap<&ShardId, &Event> = BTreeMap::new();
    for event in tried.events {
        let late = waiting.values().find(|given| given.at + NOTICED < event.at);
        if let Some(given) = late {
            let what = "it was handed over, and is not read".to_owned();
            return Some(Violation::new("S26", Some(given), what));
        }
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Wrote(write)
                if moves(write) && write.by.is_some_and(|by| gives_away(by, write)) =>
            {
                waiting.insert(shard, event);
            }
            What::Granted(..) => {
                waiting.remove(shard);
            }
            _ => {}
        }
    }
    None
}

fn gives_away(by: Life, write: &Write) -> bool {
    let owner = |lease: &Option<kcl_lease::Lease>| {
        lease.as_ref().and_then(|lease| lease.owner.as_ref()).is_some_and(|owner| by.is(owner))
    };
    owner(&write.before) && !owner(&write.after)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, BOB, Made, at, lease, made};
    use super::*;

    fn joins() -> Made {
        let begun = made().put(&[1, 2, 3]).taken(ANA);
        let begun = begun.on(0, What::Granted(ANA, Position::TrimHorizon)).done(ANA, &[1, 2]);
        begun.then(What::Tries(Trial::Join)).then(What::Process(BOB, Turn::Starts))
    }

    fn moved(made: Made, by: Life, to: Position) -> Made {
        let (before, after) = (lease(Some(ANA), 1, at(1)), lease(Some(BOB), 2, to.clone()));
        made.wrote(by, Some(before), Some(after)).on(0, What::Granted(BOB, to))
    }

    #[test]
    fn a_move_that_repeats_is_seen() {
        let over = |made: Made| made.then(What::Tried);
        let good = moved(joins(), ANA, at(2)).delivered(BOB, &[3]);
        assert_eq!(check(&over(good).history), []);
        let stolen = moved(joins(), BOB, at(1)).delivered(BOB, &[2, 3]);
        assert_eq!(check(&over(stolen).history).len(), 1);
    }

    #[test]
    fn a_lease_that_is_handed_over_and_not_read_is_seen() {
        let (before, after) = (lease(Some(ANA), 1, at(1)), lease(Some(BOB), 2, at(2)));
        let left = joins().wrote(ANA, Some(before), Some(after)).waits(4).then(What::Tried);
        assert_eq!(check(&left.history).len(), 1);
    }
}
