//! Which ended leases nobody needs any more.
//!
//! An ended lease tells that its shard was passed, and so lets its children start. Once every child has durable progress of its
//! own, that says the same. Leases go from the oldest on, so that a lineage has no gap: what is missing before the oldest lease
//! was read. A view that is torn (an ended lease gone already, its child not yet seen to progress) makes nobody read the shard
//! again, because descendants are read consistently before a lease is made ([`Creation`](super::Creation)).
//!
//! The Java KCL cleans up by the same rule (its `LeaseCleanupManager`), so both may work on one table.

use std::collections::BTreeSet;

use kcl_core::{Shard, ShardId, StartFrom};

use super::lineage::Lineage;
use crate::Lease;

/// Those of `leases`, all of a stream, that may be deleted; `shards` are all that the stream listed before they were read.
pub(crate) fn done<'a>(shards: &'a [Shard], leases: &[&'a Lease]) -> Vec<&'a Lease> {
    // Where the application began does not matter here.
    let lineage = Lineage::new(shards, leases.iter().copied(), StartFrom::TrimHorizon);
    let is_gone = |shard: &ShardId| lineage.lease(shard).is_none();
    // A child without a lease may wait for its other parent, also when the listing is too old to show it.
    let progressed = |lease: &Lease| lease.has_progressed || lease.position.has_progressed();
    let is_past = |child: &ShardId| lineage.lease(child).is_some_and(progressed);
    let is_done = |lease: &&Lease| {
        let shard = lease.key.shard();
        let known = lineage.children(shard).chain(&lease.children);
        let children: BTreeSet<_> = known.collect();
        // A shard without children was lost unread, or its children are not known yet.
        let is_known = !children.is_empty() || !lineage.lists(shard);
        lease.has_ended()
            && is_known
            && lineage.parents(shard).all(is_gone)
            && children.into_iter().all(is_past)
    };
    leases.iter().copied().filter(is_done).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{OLDEST, leases, lineage};
    use super::*;

    /// What may go: shards that are closed, that are open, and leases in the notation of [`leases`].
    fn done_in(closed: &str, open: &str, text: &str) -> String {
        let (shards, leases) = (lineage(closed, open), leases(text, OLDEST));
        let leases: Vec<_> = leases.iter().collect();
        let gone = done(&shards, &leases);
        gone.iter().map(|lease| lease.key.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn b14_ended_leases_go_once_every_child_has_progressed() {
        let rows = [
            // A split: both children.
            ("0", "1<0 2<0", "0. 1+ 2+", "0"),
            ("0", "1<0 2<0", "0. 1+ 2~", ""),
            ("0", "1<0 2<0", "0. 1+", ""),
            ("0", "1<0 2<0", "0+ 1+ 2+", ""),
            // A child at the application's time has done nothing yet.
            ("0", "1<0 2<0", "0. 1+ 2!", ""),
            // A merge: each parent by itself.
            ("0 1", "2<0,1", "0. 1. 2+", "0 1"),
            ("0 1", "2<0,1", "0. 1. 2~", ""),
            // The oldest first.
            ("0 1<0", "2<1", "0. 1. 2+", "0"),
            ("0 1<0", "2<1", "1. 2+", "1"),
            ("0 1<0", "2<1", "0. 1. 2~", "0"),
            // Trimmed: nothing is known of it but its lease, or that of its child.
            ("", "1", "0. 1+", "0"),
            ("", "1", "0. 1~<0", ""),
            ("", "1", "0. 1+<0", "0"),
            // Not known yet.
            ("0", "", "0.", ""),
            ("", "0", "0.", ""),
        ];
        for (closed, open, leases, expected) in rows {
            assert_eq!(done_in(closed, open, leases), expected, "{closed} | {open} | {leases}");
        }
    }

    #[test]
    fn a_child_that_only_the_lease_names_holds_its_parent() {
        let mut parent = leases("0.", OLDEST).remove(0);
        parent.children = ["1".parse().unwrap()].into();
        let (shards, child) = (lineage("0", "1"), leases("1~", OLDEST).remove(0));
        assert_eq!(done(&shards, &[&parent, &child]), Vec::<&Lease>::new());
        // Seed 6448: a merged shard that has no lease yet, and that the listing is too old to show.
        assert_eq!(done(&lineage("0", ""), &[&parent]), Vec::<&Lease>::new());
    }
}
