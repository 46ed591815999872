//! Which leases are missing for the shards that a stream has. Pure, and the same for every worker: any number of them may
//! create what is missing at once, and each may die between any two creations.
//!
//! Terms: a shard is *passed* when the application has gone beyond it, or began beyond it: a descendant's lease has
//! progressed, or stands where the application began. A shard without a lease that is not passed is *missing*. It is
//! *related* when an ancestor has a lease or is passed.
//!
//! | missing shard | what is created |
//! |---|---|
//! | related, every parent passed or ended | its lease, at `TRIM_HORIZON`: its parents were read, so all of it is to be read |
//! | related, a parent not ended | nothing yet: whoever ends the parent creates it |
//! | not related, no parent listed | its lease, where the application began: the oldest of a lineage nobody reads |
//! | not related, a parent listed | nothing yet: the parent is missing itself |
//!
//! An application that began at `LATEST` began at a time, which every lease that it created carries (`application_start`). Where
//! no lease carries one (another program made them all) a missing lineage is taken up at its open shards, and at the closed ones
//! that others wait for, from `TRIM_HORIZON`: records are repeated, none is skipped. Shards before those are not waited for.
//!
//! - `lineage`: how shards and leases relate. `waiting`: which leases must not start because a parent's lease is missing.
//! - `cleanup`: which ended leases nobody needs any more.

use std::time::{Duration, SystemTime};

use kcl_core::kinesis::ShardFilter;
use kcl_core::{HashRange, Position, Shard, ShardId, StartFrom};

use crate::{Lease, LeaseKey};

mod cleanup;
mod lineage;
mod waiting;

pub(crate) use cleanup::done;
pub(crate) use lineage::Beginning;
use lineage::{Lineage, Missing};
pub(crate) use waiting::{Listing, lacks_a_parent, waiting};

/// A lease to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creation {
    pub(crate) lease: Lease,
    /// Do not create it when a consistent read shows one of these [at or past the beginning](is_begun): the view was torn,
    /// and the shard's own lease was cleaned up. All that come after the shard, as leases between may be cleaned up as well.
    pub(crate) unless_begun: Vec<LeaseKey>,
}

/// Which shards to list for a new application.
pub(crate) fn first_shards(start: StartFrom) -> ShardFilter {
    match start {
        StartFrom::TrimHorizon => ShardFilter::AtTrimHorizon,
        StartFrom::Latest => ShardFilter::AtLatest,
        StartFrom::Timestamp(time) => ShardFilter::AtTimestamp(time),
    }
}

/// The leases of a new application, one for each of the [`first_shards`]; `None` when those leave hash keys uncovered.
pub(crate) fn first_leases(
    shards: &[Shard],
    key: &impl Fn(&ShardId) -> LeaseKey,
    start: StartFrom,
    wall: SystemTime,
) -> Option<Vec<Lease>> {
    if !HashRange::gaps(shards.iter().map(|shard| shard.hash_range)).is_empty() {
        return None;
    }
    let started_at = match start {
        StartFrom::TrimHorizon => None,
        StartFrom::Latest => Some(wall - SKEW_ALLOWANCE),
        StartFrom::Timestamp(time) => Some(time),
    };
    let lease = |shard| Lease {
        started_at,
        application_start: started_at,
        ..lease_of(shard, key, start.position())
    };
    Some(shards.iter().map(lease).collect())
}

/// The leases that `shards`, all of a stream, lack beside `leases`, all of that stream. Parents come before children.
pub(crate) fn missing_leases<'a>(
    shards: &'a [Shard],
    leases: impl IntoIterator<Item = &'a Lease>,
    key: &impl Fn(&ShardId) -> LeaseKey,
    start: StartFrom,
) -> Vec<Creation> {
    let lineage = Lineage::new(shards, leases, start);
    let create = |missing: Missing<'_>| {
        let Missing { shard, beginning: (position, started_at), parents } = missing;
        let application_start = lineage.application_start();
        let lease =
            Lease { started_at, application_start, parents, ..lease_of(shard, key, position) };
        let descendants = lineage.descendants(&shard.id);
        Creation { lease, unless_begun: descendants.into_iter().map(key).collect() }
    };
    lineage.missing().map(create).collect()
}

/// True when the application has gone past what precedes this lease, or began here.
pub(crate) fn is_begun(lease: &Lease) -> bool {
    lease.has_progressed || lease.position != Position::TrimHorizon || lease.started_at.is_some()
}

/// Where the reader of a lease begins, and the time that this stands for. `has_known_parent`: a parent's lease exists.
pub(crate) fn where_to_read(lease: &Lease, has_known_parent: bool, start: StartFrom) -> Beginning {
    match (&lease.position, start) {
        // Two workers that began at the same time listed the shards before and after a reshard. What the parent's reader
        // ends with, the child's begins with.
        (Position::Latest, _) if has_known_parent => (Position::TrimHorizon, None),
        (Position::AtTimestamp, StartFrom::Timestamp(time)) => {
            (Position::AtTimestamp, lease.started_at.or(Some(time)))
        }
        (Position::Latest | Position::AtTimestamp, _) => (lease.position.clone(), lease.started_at),
        // See `lineage::beginning`.
        (Position::TrimHorizon, _) if lease.started_at.is_some() => {
            (Position::AtTimestamp, lease.started_at)
        }
        (position, _) => (position.clone(), None),
    }
}

/// True when the leases of a stream that have not ended leave hash keys uncovered. Leases that do not know their hash keys
/// (of old programs) make it impossible to say.
pub(crate) fn has_hole<'a>(leases: impl Iterator<Item = &'a Lease>) -> bool {
    let unended: Option<Vec<HashRange>> =
        leases.filter(|lease| !lease.has_ended()).map(|lease| lease.hash_range).collect();
    unended.is_some_and(|ranges| !HashRange::gaps(ranges).is_empty())
}

fn lease_of(shard: &Shard, key: &impl Fn(&ShardId) -> LeaseKey, position: Position) -> Lease {
    Lease {
        parents: shard.parents.iter().cloned().collect(),
        hash_range: Some(shard.hash_range),
        ..Lease::new(key(&shard.id), position)
    }
}

/// How far this host's wall clock may be ahead of AWS's.
const SKEW_ALLOWANCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod java_tests;
#[cfg(test)]
mod tests;
