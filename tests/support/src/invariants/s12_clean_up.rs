//! S12, clean-up is safe: a worker deletes only leases that have ended, and only once every child has progressed;
//! the oldest of a lineage first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::ShardId;
use kcl_lease::Lease;

use super::Violation;
use crate::sim::history::{History, What, short};

/// A lease that was made anew since the leases were looked at is not known: so long that may take.
const LOOK: Duration = Duration::from_secs(15);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let shards = history.shards();
    let mut violations = Vec::new();
    let mut progressed: BTreeSet<&ShardId> = BTreeSet::new();
    let mut leased: BTreeMap<&ShardId, Duration> = BTreeMap::new();
    for event in &history.events {
        let (Some(shard), What::Wrote(write)) = (&event.shard, &event.what) else {
            continue;
        };
        match write.after {
            Some(_) => *leased.entry(shard).or_insert(event.at),
            None => leased.remove(shard).unwrap_or_default(),
        };
        match (&write.before, &write.after, write.by) {
            (_, Some(after), _) => {
                if after.position.has_progressed() {
                    progressed.insert(shard);
                }
            }
            (Some(before), None, Some(life)) => {
                let mut wrong = |what| violations.push(Violation::new("S12", Some(event), what));
                if !Lease::has_ended(before) {
                    wrong(format!("{life} deleted a lease that has not ended"));
                }
                let parents = shards.get(shard).map_or(&[][..], |(parents, _)| parents);
                let is_there = |parent: &&ShardId| {
                    leased.get(parent).is_some_and(|at| *at + LOOK <= write.issued)
                };
                if let Some(parent) = parents.iter().find(is_there) {
                    wrong(format!("{life} deleted it before its parent {}", short(parent)));
                }
                for (child, (parents, _)) in &shards {
                    if parents.contains(shard) && !progressed.contains(child) {
                        wrong(format!("{life} deleted it before {} progressed", short(child)));
                    }
                }
            }
            (_, None, _) => {}
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, lease, made, shard};
    use super::*;

    #[test]
    fn a_lease_that_is_deleted_too_early_is_seen() {
        let split = || made().opened(0, &[]).opened(1, &[0]).taken(ANA);
        let running = lease(Some(ANA), 1, Position::TrimHorizon);
        let ended = lease(None, 2, Position::ShardEnd);
        assert_eq!(check(&split().wrote(ANA, Some(running.clone()), None).history).len(), 2);
        assert_eq!(check(&split().wrote(ANA, Some(ended), None).history).len(), 1);
        assert_eq!(check(&split().wrote(None, Some(running), None).history), []);
        // The last of its line, but its parent's lease is there.
        let mut last = lease(None, 2, Position::ShardEnd);
        last.key = last.key.sibling(shard(1));
        assert_eq!(check(&split().waits(15).wrote(ANA, Some(last.clone()), None).history).len(), 1);
        let alone = made().opened(0, &[]).opened(1, &[0]);
        assert_eq!(check(&alone.wrote(ANA, Some(last), None).history), []);
    }
}
