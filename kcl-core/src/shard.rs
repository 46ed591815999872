//! A shard as Kinesis lists it.

use crate::{HashRange, SequenceNumber, ShardId};

/// A shard as ListShards describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// The shards that it was made of: none for an original, one after a split, two after a merge. A parent whose
    /// records have all expired is still named here, but no longer listed.
    pub parents: Vec<ShardId>,
    /// The hash keys that it takes.
    pub hash_range: HashRange,
    /// The lowest sequence number that it can hold.
    pub starting_sequence_number: SequenceNumber,
    /// The highest one; `None` while the shard is open.
    pub ending_sequence_number: Option<SequenceNumber>,
}

impl Shard {
    /// True while records can still be put.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ending_sequence_number.is_none()
    }

    /// What a reader learns of this shard when a parent of it ends.
    #[must_use]
    pub fn as_child(&self) -> ChildShard {
        ChildShard {
            id: self.id.clone(),
            parents: self.parents.clone(),
            hash_range: self.hash_range,
        }
    }
}

/// A shard as the reply at its parent's end names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildShard {
    /// Its id.
    pub id: ShardId,
    /// Its parents: one after a split, two after a merge.
    pub parents: Vec<ShardId>,
    /// The hash keys that it takes.
    pub hash_range: HashRange,
}
