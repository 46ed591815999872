//! How the shards and the leases of a stream relate. The words are those of the [parent module](super).

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use kcl_core::{Position, Shard, ShardId, StartFrom};

use super::is_begun;
use crate::Lease;

/// Where a lineage begins that nobody reads: a position, and the time that it stands for.
pub(crate) type Beginning = (Position, Option<SystemTime>);

pub(super) struct Lineage<'a> {
    shards: &'a [Shard],
    listed: BTreeMap<&'a ShardId, &'a Shard>,
    leases: BTreeMap<&'a ShardId, &'a Lease>,
    parents: BTreeMap<&'a ShardId, BTreeSet<&'a ShardId>>,
    children: BTreeMap<&'a ShardId, BTreeSet<&'a ShardId>>,
    passed: BTreeSet<&'a ShardId>,
    related: BTreeSet<&'a ShardId>,
    beginning: Option<Beginning>,
}

/// A lease to create.
pub(super) struct Missing<'a> {
    pub(super) shard: &'a Shard,
    pub(super) beginning: Beginning,
    /// Those that have a lease, or get one.
    pub(super) parents: BTreeSet<ShardId>,
}

impl<'a> Lineage<'a> {
    pub(super) fn new(
        shards: &'a [Shard],
        leases: impl IntoIterator<Item = &'a Lease>,
        start: StartFrom,
    ) -> Self {
        let leases: BTreeMap<_, _> = leases.into_iter().map(|l| (l.key.shard(), l)).collect();
        let listed = shards.iter().map(|shard| (&shard.id, shard)).collect();
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
        let beginning = beginning(&leases, start);
        Self { shards, listed, leases, parents, children, passed, related, beginning }
    }

    /// The leases to create now. Parents come before children.
    pub(super) fn missing(&self) -> impl Iterator<Item = Missing<'a>> {
        let missing = self.shards.iter().filter(|shard| self.is_missing(&shard.id));
        missing.filter_map(|shard| {
            let beginning = self.where_to_begin(shard)?;
            let mut parents: BTreeSet<_> = shard.parents.iter().cloned().collect();
            if self.beginning.is_none() && !self.related.contains(&shard.id) {
                // Taken up in the middle of its lineage: what lies before is nobody's to read.
                parents.retain(|parent| self.is_to_come(parent));
            }
            Some(Missing { shard, beginning, parents })
        })
    }

    /// When the application began, where it began at a time and that is known.
    pub(super) fn application_start(&self) -> Option<SystemTime> {
        self.beginning.as_ref().and_then(|(_, time)| *time)
    }

    /// The parents that are known.
    pub(super) fn parents(&self, shard: &ShardId) -> impl Iterator<Item = &'a ShardId> {
        self.parents.get(shard).into_iter().flatten().copied()
    }

    /// The children that are known.
    pub(super) fn children(&self, shard: &ShardId) -> impl Iterator<Item = &'a ShardId> {
        self.children.get(shard).into_iter().flatten().copied()
    }

    /// The children that are known, and theirs.
    pub(super) fn descendants(&self, shard: &'a ShardId) -> BTreeSet<&'a ShardId> {
        beyond([shard].into_iter(), &self.children)
    }

    /// The lease of the shard.
    pub(super) fn lease(&self, shard: &ShardId) -> Option<&'a Lease> {
        self.leases.get(shard).copied()
    }

    /// True when the stream lists the shard.
    pub(super) fn lists(&self, shard: &ShardId) -> bool {
        self.listed.contains_key(shard)
    }

    /// True when the shard has no lease and gets one, now or after others have ended.
    pub(super) fn is_to_come(&self, shard: &ShardId) -> bool {
        // An open one is taken up whatever is known. It has children only where a listing contradicts itself.
        let is_open = || self.listed.get(shard).is_some_and(|shard| shard.is_open());
        let is_in_turn = || {
            self.related.contains(shard)
                || self.beginning.is_some()
                || is_open()
                || self.is_awaited(shard)
        };
        self.lists(shard) && self.is_missing(shard) && is_in_turn()
    }

    fn is_missing(&self, shard: &ShardId) -> bool {
        !self.leases.contains_key(shard) && !self.passed.contains(shard)
    }

    /// Where a missing shard begins; `None` when it is not its turn yet.
    fn where_to_begin(&self, shard: &Shard) -> Option<Beginning> {
        let whole = (Position::TrimHorizon, None);
        let beginning = self.beginning.as_ref();
        if self.related.contains(&shard.id) {
            let ended = |p: &ShardId| self.leases.get(p).is_some_and(|lease| lease.has_ended());
            let gone = |p: &ShardId| !self.leases.contains_key(p) && !self.lists(p);
            let is_done = |p: &&ShardId| ended(p) || self.passed.contains(*p) || gone(p);
            if !shard.parents.iter().all(|p| is_done(&p)) {
                return None;
            }
            // A parent that was passed without being read may lie before the beginning, and this shard across it.
            let after_read = shard.parents.iter().all(ended);
            return Some(if after_read { whole } else { beginning.cloned().unwrap_or(whole) });
        }
        if let Some(beginning) = beginning {
            let oldest = !shard.parents.iter().any(|p| self.lists(p));
            return oldest.then(|| beginning.clone());
        }
        (shard.is_open() || self.is_awaited(&shard.id)).then_some(whole)
    }

    /// True when a child waits for it: one that has a lease and has not begun, or that follows a lease of another parent.
    fn is_awaited(&self, shard: &ShardId) -> bool {
        self.children(shard).any(|child| match self.leases.get(child) {
            Some(lease) => !is_begun(lease) && lease.parents.contains(shard),
            None => self.related.contains(child) && self.is_missing(child),
        })
    }
}

/// Where this application began, as far as configuration and leases tell.
fn beginning(leases: &BTreeMap<&ShardId, &Lease>, start: StartFrom) -> Option<Beginning> {
    match start {
        StartFrom::TrimHorizon => Some((Position::TrimHorizon, None)),
        StartFrom::Timestamp(time) => Some((Position::AtTimestamp, Some(time))),
        StartFrom::Latest => {
            let times = leases.values().filter_map(|lease| lease.began());
            // Not LATEST: a Java worker would begin to read after what was put in the meantime.
            times.min().map(|time| (Position::TrimHorizon, Some(time)))
        }
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
