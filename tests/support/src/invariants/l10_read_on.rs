//! L10, a deploy is hardly felt: while workers stop and are replaced one after another in good weather, a shard whose records
//! wait is read soon after each time it is granted, though by enhanced fan-out AWS refuses its new owner for a while.

use std::time::Duration;

use kcl_core::ShardId;

use super::{Violation, trials, waiting};
use crate::sim::history::{Event, History, Life, Turn, What, short};
use crate::sim::schedule::Trial;

/// A subscription that was made just before has the shard for itself for five seconds. The last refused call was one before that, and
/// the next comes up to 1.6 s later.
const BOUND: Duration = Duration::from_secs(7);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for tried in trials::of(history).iter().filter(|tried| tried.trial == Trial::Deploy) {
        for (at, event) in tried.events.iter().enumerate() {
            let (What::Granted(life, _), Some(shard)) = (&event.what, &event.shard) else {
                continue;
            };
            let (before, after) = tried.events.split_at(at);
            let of_shard = before.iter().filter(|event| event.shard.as_ref() == Some(shard));
            if !waiting(of_shard).is_empty() && stands_still(after, shard, *life) {
                let what = format!("{life} does not read shard {} within {BOUND:?}", short(shard));
                violations.push(Violation::new("L10", Some(event), what));
            }
        }
    }
    violations
}

/// Whether these events begin with a grant after which the shard is not read in time, and its owner stays. False if they end before.
fn stands_still(events: &[Event], shard: &ShardId, life: Life) -> bool {
    let Some(end) = events.first().map(|granted| granted.at + BOUND) else { return false };
    let goes_on = |event: &Event| match &event.what {
        What::Delivered(by, _) => *by == life && event.shard.as_ref() == Some(shard),
        // It or its consumer ends.
        What::Process(who, turn) => {
            *who == life
                && *turn != Turn::StreamIsReady
                && event.shard.as_ref().is_none_or(|of| of == shard)
        }
        _ => false,
    };
    let mut in_time = events.iter().take_while(|event| event.at <= end);
    let over = events.last().is_some_and(|event| event.at > end);
    over && !in_time.any(goes_on)
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, BOB, made};
    use super::*;

    #[test]
    fn a_shard_that_waits_for_its_new_owner_is_seen() {
        let granted = |waits| {
            let begun = made().then(What::Tries(Trial::Deploy)).put(&[1]).waits(waits);
            begun.on(0, What::Granted(BOB, Position::TrimHorizon))
        };
        let read = |waits| granted(0).waits(waits).delivered(BOB, &[1]).waits(9).then(What::Tried);
        assert_eq!(check(&read(6).history), []);
        assert_eq!(check(&read(7).history).len(), 1);
        let cut_off = granted(0).waits(6).then(What::Tried);
        assert_eq!(check(&cut_off.history), []);
        let stopped = granted(0).waits(5).then(What::Process(BOB, Turn::IsAskedToStop));
        assert_eq!(check(&stopped.waits(9).then(What::Tried).history), []);
        let other = granted(0).waits(5).then(What::Process(ANA, Turn::IsAskedToStop));
        assert_eq!(check(&other.waits(9).then(What::Tried).history).len(), 1);
        let nothing_waits = made().then(What::Tries(Trial::Deploy)).put(&[1]).done(ANA, &[1]);
        let nothing_waits = nothing_waits.on(0, What::Granted(BOB, Position::TrimHorizon));
        assert_eq!(check(&nothing_waits.waits(9).then(What::Tried).history), []);
    }
}
