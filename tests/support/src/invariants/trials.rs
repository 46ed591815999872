//! Trials in a history, for the bounds that are measured on them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::{ShardId, WorkerId};

use super::Violation;
use crate::sim::history::{Event, History, Life, Turn, What, leases, short};
use crate::sim::schedule::Trial;

/// A trial: what was tried, and what happened from then on until it was over.
pub(super) struct Tried<'a> {
    pub(super) trial: Trial,
    /// The first event after its beginning, as a place in the history.
    pub(super) from: usize,
    pub(super) events: &'a [Event],
}

/// The trials that are over, in their order.
pub(super) fn of(history: &History) -> Vec<Tried<'_>> {
    let mut trials = Vec::new();
    let mut begun = None;
    for (at, event) in history.events.iter().enumerate() {
        match event.what {
            What::Tries(trial) => begun = Some((trial, at + 1)),
            What::Tried => trials.extend(begun.take().map(|(trial, from)| Tried {
                trial,
                from,
                events: &history.events[from..at],
            })),
            _ => {}
        }
    }
    trials
}

/// Who owns which lease that has not ended, before the event at this place.
pub(super) fn owners(history: &History, at: usize) -> BTreeMap<&ShardId, Option<&WorkerId>> {
    let leases = leases(&history.events[..at]).into_iter();
    let open = leases.filter(|(_, lease)| !lease.has_ended());
    open.map(|(shard, lease)| (shard, lease.owner.as_ref())).collect()
}

/// The workers that live before the event at this place.
pub(super) fn living(history: &History, at: usize) -> BTreeSet<u32> {
    let mut living: BTreeMap<u32, u32> = BTreeMap::new();
    for event in &history.events[..at] {
        match &event.what {
            What::Process(life, Turn::Starts) => {
                living.insert(life.worker, life.life);
            }
            What::Process(life, Turn::Crashes | Turn::IsAskedToStop) | What::Finished(life, _)
                if living.get(&life.worker) == Some(&life.life) =>
            {
                living.remove(&life.worker);
            }
            _ => {}
        }
    }
    living.into_keys().collect()
}

/// The processes that took this turn in the events, each with its place among them.
pub(super) fn turns(events: &[Event], wanted: Turn) -> Vec<(usize, Life)> {
    let turn = |(at, event): (usize, &Event)| match event.what {
        What::Process(life, turn) if turn == wanted && event.shard.is_none() => Some((at, life)),
        _ => None,
    };
    events.iter().enumerate().filter_map(turn).collect()
}

/// A violation for each shard that a process owned before it took this turn in a trial, and that no other process was granted
/// within the trial's bound. Trials without a bound are not looked at.
pub(super) fn regranted(
    history: &History,
    turn: Turn,
    invariant: &'static str,
    bound: impl Fn(&Tried<'_>) -> Option<Duration>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for tried in of(history) {
        let Some(bound) = bound(&tried) else { continue };
        for process in turns(tried.events, turn) {
            violations.extend(not_regranted(history, &tried, process, bound, invariant));
        }
    }
    violations
}

fn not_regranted(
    history: &History,
    tried: &Tried<'_>,
    (at, life): (usize, Life),
    bound: Duration,
    invariant: &'static str,
) -> Vec<Violation> {
    let turn = &tried.events[at];
    let owners = owners(history, tried.from + at);
    let owned = owners.iter().filter(|(_, owner)| owner.is_some_and(|owner| life.is(owner)));
    let mut violations = Vec::new();
    for (shard, _) in owned {
        let granted = |event: &&Event| match event.what {
            What::Granted(to, _) => to != life && event.shard.as_ref() == Some(shard),
            _ => false,
        };
        let again = tried.events[at..].iter().find(granted);
        let took = again.map(|event| event.at - turn.at);
        if took.is_none_or(|took| took > bound) {
            let what = format!(
                "shard {} of {life} is granted again after {took:?}, not within {bound:?}",
                short(shard)
            );
            violations.push(Violation::new(invariant, Some(turn), what));
        }
    }
    violations
}
