//! L9, the table does not grow for ever: an ended lease whose children have all progressed, and whose own parents' leases have
//! gone, goes within two surveys.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::ShardId;
use kcl_lease::Lease;

use super::Violation;
use crate::sim::history::{History, What};
use crate::sim::schedule::Trial;

/// Beside the surveys: calls that fail, and a worker that ends between two of them.
const GRACE: Duration = Duration::from_secs(30);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let bound = 2 * history.terms.timing.sync_interval + GRACE;
    let shards = history.shards();
    let mut leases: BTreeMap<&ShardId, &Lease> = BTreeMap::new();
    let mut since: BTreeMap<&ShardId, Duration> = BTreeMap::new();
    let mut drained = false;
    for event in &history.events {
        match (&event.shard, &event.what) {
            (_, What::Drained) => drained = true,
            // Nobody is there for a day.
            (_, What::Stopping | What::Tries(Trial::Absence)) => break,
            (Some(shard), What::Wrote(write)) => {
                match &write.after {
                    Some(lease) => leases.insert(shard, lease),
                    None => leases.remove(shard),
                };
            }
            _ => continue,
        }
        if !drained {
            continue;
        }
        let is_done = |shard: &ShardId, lease: &Lease| {
            let children = shards.iter().filter(|(_, (parents, _))| parents.contains(shard));
            let mut children = children.map(|(child, _)| leases.get(child)).peekable();
            let own = shards.get(shard).map_or(&[][..], |(parents, _)| parents);
            lease.has_ended()
                && children.peek().is_some()
                && children.all(|child| child.is_some_and(|l| l.position.has_progressed()))
                && !own.iter().any(|parent| leases.contains_key(parent))
        };
        since.retain(|shard, _| leases.get(*shard).is_some_and(|lease| is_done(shard, lease)));
        for (shard, lease) in &leases {
            if is_done(shard, lease) {
                let known = *since.entry(shard).or_insert(event.at);
                if known + bound < event.at {
                    let what = format!("{} is done with, and there for {bound:?}", lease.key);
                    return vec![Violation::new("L9", Some(event), what)];
                }
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, at, lease, made, shard};
    use super::*;

    #[test]
    fn an_ended_lease_that_stays_is_seen() {
        let ended = || Some(lease(None, 3, Position::ShardEnd));
        let child = || {
            let mut child = lease(Some(ANA), 2, at(1));
            child.key = child.key.sibling(shard(1));
            Some(child)
        };
        let begun = || {
            let opened = made().opened(1, &[0]).wrote(ANA, None, ended());
            opened.then(What::Drained).wrote(ANA, None, child())
        };
        let renewed = |made: super::super::testing::Made| made.wrote(ANA, child(), child());
        assert_eq!(check(&renewed(begun().waits(200)).history).len(), 1);
        assert_eq!(check(&renewed(begun().waits(100)).history), []);
        let gone = begun().wrote(ANA, ended(), None).waits(200);
        assert_eq!(check(&renewed(gone).history), []);
    }
}
