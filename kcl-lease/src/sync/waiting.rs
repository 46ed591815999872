//! Which leases must not start because a parent has no lease *now*.
//!
//! A parent's lease may be absent for three reasons: its shard was read and the lease cleaned up, its shard was trimmed, or an
//! operator deleted the lease of a shard that is still to be read. Only in the third is it made anew, and a child that had
//! started by then would have overtaken it. So a child that [has not begun](is_begun) waits for every parent that the plan of
//! this module would give a lease, now or later. All others start, as nobody will ever read those parents.
//!
//! What the plan would do depends on what the stream lists. Until a listing is known that can tell, the child waits for that.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kcl_core::{Shard, StartFrom};

use super::{Lineage, is_begun};
use crate::{Lease, LeaseKey};

/// All shards of a stream.
#[derive(Debug)]
pub(crate) struct Listing {
    /// When the call began.
    pub(crate) begun: Instant,
    /// What it showed.
    pub(crate) shards: Vec<Shard>,
}

/// The leases of a stream that wait.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) leases: BTreeSet<LeaseKey>,
    /// A survey of the stream would bring some of them on: a newer listing tells more, or a lease is to be made.
    pub(crate) needs_survey: bool,
}

/// True when the lease may have to wait: it has not begun, and for one of its parents there is no lease.
pub(crate) fn lacks_a_parent(lease: &Lease, has_lease: impl Fn(&LeaseKey) -> bool) -> bool {
    !is_begun(lease)
        && lease.parents.iter().any(|parent| !has_lease(&lease.key.sibling(parent.clone())))
}

/// Those of `orphans` that wait. An orphan is a lease that [lacks a parent](lacks_a_parent), and since when it is known;
/// `leases` are all of the stream, `listing` is the newest of its shards.
pub(crate) fn waiting<'a>(
    listing: Option<&'a Listing>,
    leases: impl IntoIterator<Item = &'a Lease>,
    orphans: &[(&Lease, Instant)],
    start: StartFrom,
) -> Waiting {
    let Some(listing) = listing else {
        let leases = orphans.iter().map(|(lease, _)| lease.key.clone()).collect();
        return Waiting { leases, needs_survey: !orphans.is_empty() };
    };
    let lineage = Lineage::new(&listing.shards, leases, start);
    let mut waiting = Waiting::default();
    for (orphan, known_since) in orphans {
        // A parent is older than its child, so a listing that shows the child shows the parent, or it is gone for good. A
        // child that is gone itself is never shown.
        let can_tell = lineage.lists(orphan.key.shard()) || listing.begun >= *known_since + SETTLED;
        waiting.needs_survey |= !can_tell;
        if !can_tell || orphan.parents.iter().any(|parent| lineage.is_to_come(parent)) {
            waiting.leases.insert(orphan.key.clone());
        }
    }
    waiting.needs_survey |= !waiting.leases.is_empty() && lineage.missing().next().is_some();
    waiting
}

/// A shard that had a lease so long ago is in every listing, unless it was trimmed.
const SETTLED: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
