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
//! An application that began at `LATEST` began at a time, which every lease that it created carries (`started_at`). Where no
//! lease carries one (another program made them all) a missing lineage is taken up at its open shards, and at the closed ones
//! that related shards wait for, from `TRIM_HORIZON`: records are repeated, none is skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use kcl_core::kinesis::ShardFilter;
use kcl_core::{HashRange, Position, Shard, ShardId, StartFrom};

use crate::{Lease, LeaseKey};

/// A lease to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creation {
    pub(crate) lease: Lease,
    /// Do not create it when a consistent read shows one of these [at or past the beginning](is_begun): the view was torn,
    /// and the shard's own lease was cleaned up.
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
    let lease = |shard| Lease { started_at, ..lease_of(shard, key, start.position()) };
    Some(shards.iter().map(lease).collect())
}

/// The leases that `shards`, all of a stream, lack beside `leases`, all of that stream. Parents come before children.
pub(crate) fn missing_leases<'a>(
    shards: &'a [Shard],
    leases: impl IntoIterator<Item = &'a Lease>,
    key: &impl Fn(&ShardId) -> LeaseKey,
    start: StartFrom,
) -> Vec<Creation> {
    let lineage = Lineage::new(shards, leases);
    let beginning = lineage.beginning(start);
    let missing = shards.iter().filter(|shard| lineage.is_missing(&shard.id));
    let create = |shard: &Shard| {
        let (position, started_at) = lineage.where_to_begin(shard, beginning.as_ref())?;
        let children = lineage.children.get(&shard.id).into_iter().flatten();
        let lease = lease_of(shard, key, position);
        Some(Creation {
            lease: Lease { started_at, ..lease },
            unless_begun: children.map(|child| key(child)).collect(),
        })
    };
    missing.filter_map(create).collect()
}

/// True when the application has gone past what precedes this lease, or began here.
pub(crate) fn is_begun(lease: &Lease) -> bool {
    lease.position != Position::TrimHorizon || lease.started_at.is_some()
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
        // See `Lineage::beginning`.
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

/// Where a lineage begins that nobody reads: a position, and the time that it stands for.
pub(crate) type Beginning = (Position, Option<SystemTime>);

struct Lineage<'a> {
    listed: BTreeSet<&'a ShardId>,
    leases: BTreeMap<&'a ShardId, &'a Lease>,
    children: BTreeMap<&'a ShardId, BTreeSet<&'a ShardId>>,
    passed: BTreeSet<&'a ShardId>,
    related: BTreeSet<&'a ShardId>,
}

impl<'a> Lineage<'a> {
    fn new(shards: &'a [Shard], leases: impl IntoIterator<Item = &'a Lease>) -> Self {
        let leases: BTreeMap<_, _> = leases.into_iter().map(|l| (l.key.shard(), l)).collect();
        let listed = shards.iter().map(|shard| &shard.id).collect();
        let mut parents: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let mut children: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let of_shards = shards.iter().flat_map(|s| s.parents.iter().map(move |p| (p, &s.id)));
        let of_leases = leases.iter().flat_map(|(id, l)| l.parents.iter().map(move |p| (p, *id)));
        for (parent, child) in of_shards.chain(of_leases) {
            parents.entry(child).or_default().insert(parent);
            children.entry(parent).or_default().insert(child);
        }
        let begun = leases.iter().filter(|(_, lease)| is_begun(lease)).map(|(id, _)| *id);
        let passed = beyond(begun, &parents);
        let known = leases.keys().chain(&passed).copied();
        let related = beyond(known, &children);
        Self { listed, leases, children, passed, related }
    }

    fn is_missing(&self, shard: &ShardId) -> bool {
        !self.leases.contains_key(shard) && !self.passed.contains(shard)
    }

    /// Where this application began, as far as configuration and leases tell.
    fn beginning(&self, start: StartFrom) -> Option<Beginning> {
        match start {
            StartFrom::TrimHorizon => Some((Position::TrimHorizon, None)),
            StartFrom::Timestamp(time) => Some((Position::AtTimestamp, Some(time))),
            StartFrom::Latest => {
                let times = self.leases.values().filter_map(|lease| lease.started_at);
                // Not LATEST: a Java worker would begin to read after what was put in the meantime.
                times.min().map(|time| (Position::TrimHorizon, Some(time)))
            }
        }
    }

    /// Where a missing shard begins; `None` when it is not its turn yet.
    fn where_to_begin(&self, shard: &Shard, beginning: Option<&Beginning>) -> Option<Beginning> {
        let whole = (Position::TrimHorizon, None);
        if self.related.contains(&shard.id) {
            let ended = |p: &ShardId| self.leases.get(p).is_some_and(|lease| lease.has_ended());
            let gone = |p: &ShardId| !self.leases.contains_key(p) && !self.listed.contains(p);
            let is_done = |p: &&ShardId| ended(p) || self.passed.contains(*p) || gone(p);
            if !shard.parents.iter().all(|p| is_done(&p)) {
                return None;
            }
            // A parent that was passed without being read may lie before the beginning, and this shard across it.
            let after_read = shard.parents.iter().all(ended);
            return Some(if after_read { whole } else { beginning.cloned().unwrap_or(whole) });
        }
        if let Some(beginning) = beginning {
            let oldest = !shard.parents.iter().any(|p| self.listed.contains(p));
            return oldest.then(|| beginning.clone());
        }
        let waits = |child: &ShardId| self.related.contains(child) && self.is_missing(child);
        let awaited = self.children.get(&shard.id).is_some_and(|c| c.iter().any(|c| waits(c)));
        (shard.is_open() || awaited).then_some(whole)
    }
}

/// What can be reached from `starts` by one step or more.
fn beyond<'a>(
    starts: impl Iterator<Item = &'a ShardId>,
    steps: &BTreeMap<&'a ShardId, BTreeSet<&'a ShardId>>,
) -> BTreeSet<&'a ShardId> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&ShardId> = starts.collect();
    while let Some(shard) = open.pop() {
        let next = steps.get(shard).into_iter().flatten();
        open.extend(next.filter(|next| reached.insert(**next)));
    }
    reached
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
mod tests;
