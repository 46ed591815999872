//! What the children of a shard say about its end.

use crate::{ChildShard, HashRange, Shard, ShardId};

/// What ListShards says about a shard that was said to have ended, or to be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Closed, and these are all its children.
    Closed(Vec<ChildShard>),
    /// There, but open, or its children do not cover it yet.
    Listed,
    /// Not there any more, but these that were made of it are: it was closed, and its records have expired.
    Expired(Vec<ChildShard>),
    /// Not there.
    Absent,
}

/// Why a reader asks what became of its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The stream, the shard, or what it is read as were not found.
    NotFound,
    /// The shard has ended, it seems, but not all was said that belongs to an end.
    EndUnproved,
    /// The stored position was refused as too old, or as one of another stream.
    PositionRefused,
}

/// What a finding makes of a doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was not so: ask for records again, after a while.
    NotSo,
    /// It is closed and has these children, but whoever claimed the end may have lied while records were left: read on after the
    /// last one. A new beginning that brings nothing but the same claim proves it.
    Closed(Vec<ChildShard>),
    /// It has ended, and everything was returned.
    Ended(Vec<ChildShard>),
    /// It has ended, and what was not returned has expired.
    EndedWithLoss(Vec<ChildShard>),
    /// What follows the position has expired: go on with the oldest record.
    Lost,
    /// Neither the shard nor children of it are there.
    Gone,
}

impl Doubt {
    /// Settles it.
    #[must_use]
    pub fn settle(self, finding: Finding) -> Verdict {
        match (finding, self) {
            (Finding::Absent, Self::NotFound | Self::EndUnproved | Self::PositionRefused) => {
                Verdict::Gone
            }
            (Finding::Closed(children), Self::EndUnproved) => Verdict::Closed(children),
            (Finding::Expired(children), Self::EndUnproved) => Verdict::Ended(children),
            (Finding::Expired(children), Self::NotFound | Self::PositionRefused) => {
                Verdict::EndedWithLoss(children)
            }
            (Finding::Closed(_) | Finding::Listed, Self::PositionRefused) => Verdict::Lost,
            (Finding::Closed(_) | Finding::Listed, Self::NotFound)
            | (Finding::Listed, Self::EndUnproved) => Verdict::NotSo,
        }
    }
}

/// Whether `children` are all that `shard` was split or merged into, as far as their parents tell: two or more of a split,
/// or the one of a merge.
#[must_use]
pub fn is_complete(shard: &ShardId, children: &[ChildShard]) -> bool {
    let related = children.iter().all(|child| child.parents.contains(shard));
    match children {
        [] => false,
        [only] => related && only.parents.len() == 2,
        [_, _, ..] => related,
    }
}

/// Reads a complete listing.
pub(super) fn find(shard: &ShardId, shards: &[Shard]) -> Finding {
    let children: Vec<ChildShard> = shards
        .iter()
        .filter(|listed| listed.parents.contains(shard))
        .map(Shard::as_child)
        .collect();
    let Some(listed) = shards.iter().find(|listed| listed.id == *shard) else {
        return if children.is_empty() { Finding::Absent } else { Finding::Expired(children) };
    };
    let range = listed.hash_range;
    let covered = HashRange::gaps(children.iter().map(|child| child.hash_range))
        .iter()
        .all(|gap| gap.end() < range.start() || range.end() < gap.start());
    if covered && !listed.is_open() { Finding::Closed(children) } else { Finding::Listed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ShardId {
        ShardId::new(format!("shardId-{number:012}")).unwrap()
    }

    fn shard(number: u32, parents: &[u32], range: (u128, u128), open: bool) -> Shard {
        Shard {
            id: id(number),
            parents: parents.iter().copied().map(id).collect(),
            hash_range: HashRange::new(range.0, range.1).unwrap(),
            starting_sequence_number: "1".parse().unwrap(),
            ending_sequence_number: (!open).then(|| "9".parse().unwrap()),
        }
    }

    #[test]
    fn children_are_complete_by_their_parents() {
        let child = |parents: &[u32]| shard(7, parents, (0, 1), true).as_child();
        let table: [(&[ChildShard], bool); 6] = [
            (&[], false),
            (&[child(&[1])], false),
            (&[child(&[1]), child(&[1])], true),
            (&[child(&[1]), child(&[2])], false),
            (&[child(&[1, 2])], true),
            (&[child(&[2, 3])], false),
        ];
        for (children, complete) in table {
            assert_eq!(is_complete(&id(1), children), complete, "{children:?}");
        }
    }

    #[test]
    fn a_listing_ends_a_shard_only_when_closed_and_covered() {
        let parent = |open| shard(1, &[], (0, 9), open);
        let (low, high) = (shard(2, &[1], (0, 4), true), shard(3, &[1], (5, 9), true));
        let merged = shard(4, &[1, 0], (0, 99), true);
        let children = |shards: &[&Shard]| shards.iter().map(|s| s.as_child()).collect();
        let table = [
            (vec![], Finding::Absent),
            (vec![low.clone(), high.clone()], Finding::Expired(children(&[&low, &high]))),
            (vec![high.clone()], Finding::Expired(children(&[&high]))),
            (vec![parent(true)], Finding::Listed),
            (vec![parent(false)], Finding::Listed),
            (vec![parent(false), low.clone()], Finding::Listed),
            (vec![parent(true), low.clone(), high.clone()], Finding::Listed),
            (
                vec![parent(false), low.clone(), high.clone()],
                Finding::Closed(children(&[&low, &high])),
            ),
            (vec![parent(false), merged.clone()], Finding::Closed(children(&[&merged]))),
        ];
        for (shards, finding) in table {
            assert_eq!(find(&id(1), &shards), finding, "{shards:?}");
        }
    }
}
