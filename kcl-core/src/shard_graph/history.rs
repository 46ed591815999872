//! Random histories of a stream: original shards, then splits and merges.

use proptest::prelude::*;

use crate::{HashRange, SequenceNumber, Shard, ShardId};

/// A stream's shards, from the first to the newest; the index is the number in the id.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) shards: Vec<Shard>,
}

/// A reshard. The numbers pick a shard and a hash key among those there are.
#[derive(Debug, Clone)]
pub(crate) enum Reshard {
    Split(usize, u128),
    Merge(usize),
}

/// Histories of up to 4 original shards and 24 reshards.
pub(crate) fn histories() -> impl Strategy<Value = History> {
    let reshard = prop_oneof![
        (any::<usize>(), any::<u128>()).prop_map(|(shard, key)| Reshard::Split(shard, key)),
        any::<usize>().prop_map(Reshard::Merge),
    ];
    (1..=4u128, prop::collection::vec(reshard, 0..24)).prop_map(|(originals, reshards)| {
        let mut history = History::new(originals);
        for reshard in reshards {
            history.apply(&reshard);
        }
        history
    })
}

impl History {
    pub(crate) fn new(originals: u128) -> Self {
        let mut history = Self { shards: Vec::new() };
        let width = u128::MAX / originals;
        for index in 0..originals {
            let start = index * width + index.min(1);
            let end = if index + 1 == originals { u128::MAX } else { (index + 1) * width };
            history.open(&[], start, end);
        }
        history
    }

    /// Splits or merges, unless the shard that was picked is too narrow to split or has no neighbour to merge with.
    pub(crate) fn apply(&mut self, reshard: &Reshard) {
        let open = self.open_by_hash_key();
        match *reshard {
            Reshard::Split(pick, key) => {
                let parent = open[pick % open.len()];
                let range = self.shards[parent].hash_range;
                let width = range.end() - range.start();
                if width > 0 {
                    let middle = range.start() + 1 + key % width;
                    self.close(parent);
                    self.open(&[parent], range.start(), middle - 1);
                    self.open(&[parent], middle, range.end());
                }
            }
            Reshard::Merge(pick) if open.len() > 1 => {
                let pick = pick % (open.len() - 1);
                let (low, high) = (open[pick], open[pick + 1]);
                self.close(low);
                self.close(high);
                let start = self.shards[low].hash_range.start();
                let end = self.shards[high].hash_range.end();
                self.open(&[low, high], start, end);
            }
            Reshard::Merge(_) => {}
        }
    }

    fn open_by_hash_key(&self) -> Vec<usize> {
        let indices = 0..self.shards.len();
        let mut open: Vec<usize> = indices.filter(|&i| self.shards[i].is_open()).collect();
        open.sort_unstable_by_key(|&i| self.shards[i].hash_range);
        open
    }

    fn close(&mut self, index: usize) {
        self.shards[index].ending_sequence_number = Some(self.now());
    }

    fn open(&mut self, parents: &[usize], start: u128, end: u128) {
        self.shards.push(Shard {
            id: id(self.shards.len()),
            parents: parents.iter().copied().map(id).collect(),
            hash_range: HashRange::new(start, end).unwrap(),
            starting_sequence_number: self.now(),
            ending_sequence_number: None,
        });
    }

    fn now(&self) -> SequenceNumber {
        self.shards.len().to_string().parse().unwrap()
    }
}

/// The id that Kinesis gives to the shard with this number.
pub(crate) fn id(number: usize) -> ShardId {
    ShardId::new(format!("shardId-{number:012}")).unwrap()
}
