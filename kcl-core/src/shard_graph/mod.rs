//! Which shard was made of which.

use std::collections::{BTreeMap, BTreeSet};

use crate::{HashRange, Shard, ShardId};

#[cfg(test)]
pub(crate) mod history;
#[cfg(test)]
mod tests;

/// The lineage of a stream's shards, built from all pages of ListShards.
///
/// ```text
///  shard 0 ──split──┬─> shard 2                  roots: 0, 1
///                   └─> shard 3 ──┐              parents of 4: 1, 3
///  shard 1 ─────────────merge─────┴─> shard 4    open: 2, 4
/// ```
///
/// It takes what AWS returns without complaint: a shard on two pages stands once, and parents that are named but no longer
/// listed, because their records have expired, are edges to nowhere. Of a corrupt answer it makes the best: a shard is never
/// its own parent, and a walk through a cycle ends, though no shard of a cycle is a root.
///
/// Everything is in the order of the shard ids, which for Kinesis is the order of creation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardGraph {
    shards: BTreeMap<ShardId, Shard>,
    /// By parent, listed or not; the children are all listed.
    children: BTreeMap<ShardId, BTreeSet<ShardId>>,
}

impl ShardGraph {
    /// The graph of these shards, in any order.
    ///
    /// Of two with the same id the closed one counts: the pages of a listing are read one after the other, a shard may close
    /// in between, and none ever opens again.
    #[must_use]
    pub fn new(shards: impl IntoIterator<Item = Shard>) -> Self {
        let mut graph = Self::default();
        for shard in shards {
            if graph.shards.get(&shard.id).is_none_or(Shard::is_open) {
                graph.shards.insert(shard.id.clone(), shard);
            }
        }
        for shard in graph.shards.values() {
            for parent in shard.parents.iter().filter(|parent| **parent != shard.id) {
                let children = graph.children.entry(parent.clone()).or_default();
                children.insert(shard.id.clone());
            }
        }
        graph
    }

    /// The shard with this id, if it is listed.
    #[must_use]
    pub fn shard(&self, id: &ShardId) -> Option<&Shard> {
        self.shards.get(id)
    }

    /// All listed shards.
    pub fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values()
    }

    /// How many shards are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// True when none is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// The listed shards that this one was made of: at most one after a split, at most two after a merge.
    pub fn parents<'a>(&'a self, id: &ShardId) -> impl Iterator<Item = &'a Shard> + use<'a> {
        let named: BTreeSet<&'a ShardId> = self
            .shard(id)
            .into_iter()
            .flat_map(|shard| &shard.parents)
            .filter(|parent| **parent != *id)
            .collect();
        named.into_iter().filter_map(|parent| self.shard(parent))
    }

    /// The listed shards that were made of this one, which itself need not be listed.
    pub fn children<'a>(&'a self, id: &ShardId) -> impl Iterator<Item = &'a Shard> + use<'a> {
        let ids = self.children.get(id).into_iter().flatten();
        ids.filter_map(|child| self.shard(child))
    }

    /// The listed shards that must be consumed before this one: its parents, theirs, and so on.
    #[must_use]
    pub fn ancestors(&self, id: &ShardId) -> BTreeSet<&ShardId> {
        reachable(id, |id| self.parents(id))
    }

    /// The listed shards that wait for this one: its children, theirs, and so on.
    #[must_use]
    pub fn descendants(&self, id: &ShardId) -> BTreeSet<&ShardId> {
        reachable(id, |id| self.children(id))
    }

    /// The shards without a listed parent, with which consuming from the oldest record on begins.
    pub fn roots(&self) -> impl Iterator<Item = &Shard> {
        self.iter().filter(|shard| self.parents(&shard.id).next().is_none())
    }

    /// The shards that still take records.
    pub fn open_shards(&self) -> impl Iterator<Item = &Shard> {
        self.iter().filter(|shard| shard.is_open())
    }

    /// True when the listed shards among `ids` together take every hash key; overlaps are fine.
    #[must_use]
    pub fn covers_all_hash_keys<'a>(&self, ids: impl IntoIterator<Item = &'a ShardId>) -> bool {
        let shards = ids.into_iter().filter_map(|id| self.shard(id));
        HashRange::gaps(shards.map(|shard| shard.hash_range)).is_empty()
    }
}

/// What can be reached from a shard over any number of steps, without that shard.
fn reachable<'a, I: Iterator<Item = &'a Shard>>(
    start: &ShardId,
    step: impl Fn(&ShardId) -> I,
) -> BTreeSet<&'a ShardId> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Shard> = step(start).collect();
    while let Some(shard) = next.pop() {
        if shard.id != *start && reached.insert(&shard.id) {
            next.extend(step(&shard.id));
        }
    }
    reached
}
