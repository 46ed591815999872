//! L3, children start at once: in calm weather a shard is asked for within a second of the durable end of its last parent.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::ShardId;
use kcl_lease::Lease;

use super::{Violation, trials};
use crate::sim::history::{History, What, short};
use crate::sim::schedule::Trial;

const BOUND: Duration = Duration::from_secs(1);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let shards = history.shards();
    let tries = trials::of(history);
    let mut violations = Vec::new();
    for tried in tries.iter().filter(|tried| tried.trial == Trial::Reshard) {
        let mut ended: BTreeMap<&ShardId, Duration> = BTreeMap::new();
        let mut read: BTreeMap<&ShardId, Duration> = BTreeMap::new();
        for event in tried.events {
            match (&event.shard, &event.what) {
                (Some(shard), What::Wrote(write))
                    if write.after.as_ref().is_some_and(Lease::has_ended) =>
                {
                    ended.entry(shard).or_insert(event.at);
                }
                (Some(shard), What::Reads(_)) => {
                    read.entry(shard).or_insert(event.at);
                }
                _ => {}
            }
        }
        for (child, (parents, _)) in &shards {
            let last = parents.iter().filter_map(|parent| ended.get(parent)).max();
            let Some(last) = last else { continue };
            let took = read.get(child).map(|at| at.saturating_sub(*last));
            if took.is_none_or(|took| took > BOUND) {
                let what = format!(
                    "shard {} is read {took:?} after its parents' end, not within {BOUND:?}",
                    short(child)
                );
                violations.push(Violation::new("L3", None, what));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn a_child_that_waits_is_seen() {
        let split = |waits: u64| {
            let split = made().opened(0, &[]).taken(ANA).then(What::Tries(Trial::Reshard));
            let split = split.opened(1, &[0]);
            let ended = split.checkpointed(ANA, (1, Position::TrimHorizon), Position::ShardEnd);
            ended.waits(waits).on(1, What::Reads(ANA)).then(What::Tried)
        };
        assert_eq!(check(&split(0).history), []);
        assert_eq!(check(&split(1).history).len(), 1);
    }
}
