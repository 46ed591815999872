//! L4, heirs share: of the leases of a worker that has crashed, none is taken by a worker that has its share already. (Else one
//! takes all, and the others must take it back.)

use std::collections::BTreeSet;

use kcl_core::{ShardId, WorkerId};

use super::{Violation, trials};
use crate::sim::history::{Event, History, Life, Turn, What};
use crate::sim::schedule::Trial;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for tried in trials::of(history).iter().filter(|tried| tried.trial == Trial::Crash) {
        for (turn, dead) in trials::turns(tried.events, Turn::Crashes) {
            let left = trials::owners(history, tried.from + turn);
            let left: BTreeSet<&ShardId> = left
                .into_iter()
                .filter(|(_, owner)| owner.is_some_and(|owner| dead.is(owner)))
                .map(|(shard, _)| shard)
                .collect();
            for (at, event) in tried.events.iter().enumerate().skip(turn) {
                let Some(heir) = inherits(event, dead, &left) else { continue };
                let owners = trials::owners(history, tried.from + at + 1);
                let mine = owners.values().flatten().filter(|owner| heir.is(owner)).count();
                // Only who owns something is known to the others.
                let known: BTreeSet<&WorkerId> =
                    owners.values().flatten().copied().filter(|owner| !dead.is(owner)).collect();
                let share = owners.len().div_ceil(known.len().max(1));
                if mine > share {
                    let what = format!("{heir} takes it, has {mine} now, and its share is {share}");
                    violations.push(Violation::new("L4", Some(event), what));
                }
            }
        }
    }
    violations
}

/// Who takes one of these leases from a worker that is dead.
fn inherits(event: &Event, dead: Life, left: &BTreeSet<&ShardId>) -> Option<Life> {
    let What::Wrote(write) = &event.what else { return None };
    let owner = write.before.as_ref().and_then(|lease| lease.owner.as_ref());
    let is_left = left.contains(event.shard.as_ref()?) && owner.is_some_and(|id| dead.is(id));
    write.by.filter(|life| is_left && *life != dead)
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;
    use kcl_lease::{Lease, LeaseKey};

    use super::super::testing::{ANA, BOB, Made, lease, made, shard};
    use super::*;
    use crate::sim::history::Write;

    fn inherits(made: Made, number: u32, heir: Life) -> Made {
        let of = |owner, counter| Lease {
            key: LeaseKey::single(shard(number)),
            ..lease(Some(owner), counter, Position::TrimHorizon)
        };
        let (before, after) = (of(ANA, 1), of(heir, 2));
        let (issued, expected) = (std::time::Duration::ZERO, Some(before.fence()));
        let by = Some(heir);
        let write = Write { by, issued, expected, before: Some(before), after: Some(after) };
        made.on(number, What::Wrote(Box::new(write)))
    }

    #[test]
    fn an_heir_that_takes_all_is_seen() {
        let eve = Life { worker: 3, life: 1 };
        let begun = || {
            let owned = made().taken_of(1, ANA).taken_of(2, ANA).taken_of(3, BOB).taken_of(4, eve);
            owned.then(What::Tries(Trial::Crash)).then(What::Process(ANA, Turn::Crashes))
        };
        let shared = inherits(inherits(begun(), 1, BOB), 2, eve).then(What::Tried);
        assert_eq!(check(&shared.history), []);
        let greedy = inherits(inherits(begun(), 1, BOB), 2, BOB).then(What::Tried);
        assert_eq!(check(&greedy.history).len(), 1);
    }
}
