//! Splits, merges and uniform scaling of one stream's shards.

use super::hash_range::{self, HashRange};
use super::shard::Parents;
use super::stream::Stream;
use super::time::Time;

impl Stream {
    /// Closes `number` and opens two shards in its place, the second starting at `hash`.
    pub(super) fn split(&mut self, now: Time, number: u32, hash: u128) {
        let Some(shard) = self.shards().get(&number) else {
            return;
        };
        let HashRange { start, end } = shard.range;
        let lower =
            self.open_shard(now, Parents::Split(number), HashRange { start, end: hash - 1 });
        let upper = self.open_shard(now, Parents::Split(number), HashRange { start: hash, end });
        self.close_shard(now, number, vec![lower, upper]);
    }

    /// Closes two neighbours and opens one shard in their place.
    pub(super) fn merge(&mut self, now: Time, left: u32, right: u32) {
        let (Some(lower), Some(upper)) = (self.shards().get(&left), self.shards().get(&right))
        else {
            return;
        };
        let range = HashRange {
            start: lower.range.start.min(upper.range.start),
            end: lower.range.end.max(upper.range.end),
        };
        let child = self.open_shard(now, Parents::Merged(left, right), range);
        self.close_shard(now, left, vec![child]);
        self.close_shard(now, right, vec![child]);
    }

    /// Makes `count` shards of equal size, as AWS does: from left to right, splitting what crosses a new border and
    /// merging what lies between two. Shards that live for a moment only are part of it.
    pub(super) fn scale(&mut self, now: Time, count: u32) {
        for target in hash_range::uniform(count) {
            if let Some((number, range)) = self.holder(target.end)
                && range.end != target.end
            {
                self.split(now, number, target.end + 1);
            }
            while let Some((left, range)) = self.holder(target.start)
                && range.end < target.end
                && let Some((right, _)) = self.holder(range.end + 1)
            {
                self.merge(now, left, right);
            }
        }
    }

    fn holder(&self, hash: u128) -> Option<(u32, HashRange)> {
        let (_, number) = self.open_shards().range(..=hash).next_back()?;
        Some((*number, self.shards().get(number)?.range))
    }
}
