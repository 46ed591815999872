//! Those outside of the fleet: producers, and operators of the stream and of the table.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::aggregation::Aggregator;
use kcl_core::kinesis::ShardFilter;
use kcl_core::{Position, SequenceNumber, Shard, ShardId};
use kcl_emulator::kinesis::Entry;
use kcl_lease::Lease;
use serde_json::json;

use super::World;
use super::history::{Seen, What};
use super::store::Request;

/// Puts, reshards, deletes.
#[derive(Debug)]
pub(crate) struct Operators {
    rng: fastrand::Rng,
    keys: BTreeMap<u32, u64>,
    known: BTreeSet<ShardId>,
    closed: BTreeSet<ShardId>,
}

/// No more shards than these, so that a run ends.
const MOST_SHARDS: usize = 24;

impl Operators {
    pub(crate) fn new(rng: fastrand::Rng) -> Self {
        Self { rng, keys: BTreeMap::new(), known: BTreeSet::new(), closed: BTreeSet::new() }
    }

    /// Puts up to `most` records, some of them as aggregates.
    pub(crate) fn put(&mut self, world: &World, most: usize) {
        for _ in 0..self.rng.usize(1..=most) {
            let key = self.rng.u32(0..40);
            let parts = if self.rng.u32(0..5) == 0 { self.rng.u64(2..5) } else { 1 };
            self.put_one(world, key, parts);
        }
    }

    fn put_one(&mut self, world: &World, key: u32, parts: u64) {
        let first = self.keys.get(&key).copied().unwrap_or(0);
        let partition_key = format!("key-{key}");
        let payload = |nth: u64| format!("{key}:{nth}");
        let data = if parts == 1 {
            payload(first).into_bytes()
        } else {
            let mut aggregator = Aggregator::new(50 * 1024);
            let all = (first..first + parts)
                .all(|nth| aggregator.push(&partition_key, None, payload(nth).as_bytes()));
            match aggregator.finish() {
                Some(aggregate) if all => aggregate.data.to_vec(),
                _ => return,
            }
        };
        let entry = Entry { data: &data, partition_key: &partition_key, explicit_hash_key: None };
        let name = world.stream.id.name().as_str();
        let put =
            world.emulator.with_kinesis(|kinesis, now| kinesis.put_records(now, name, &[entry]));
        // A throttled producer tries again some other time.
        let Some(put) = put.ok().and_then(|puts| puts.into_iter().next()).and_then(Result::ok)
        else {
            return;
        };
        let (Ok(shard), Ok(number)) =
            (ShardId::new(put.shard_id), put.sequence_number.to_string().parse::<SequenceNumber>())
        else {
            return;
        };
        for sub in 0..parts {
            let position = Position::at(number.clone(), sub);
            world.log.on(&shard, What::Put(Seen { position, key, nth: first + sub }));
        }
        self.keys.insert(key, first + parts);
    }

    /// Splits or merges an open shard.
    pub(crate) fn reshard(&mut self, world: &World) {
        let Ok(mut open) = world.shards(ShardFilter::AtLatest) else {
            return;
        };
        if self.known.len() >= MOST_SHARDS {
            return;
        }
        open.sort_by_key(|shard| shard.hash_range.start());
        let name = world.stream.id.name().as_str();
        let at = self.rng.usize(0..open.len());
        let done = if self.rng.bool() && at + 1 < open.len() {
            let body = json!({
                "StreamName": name,
                "ShardToMerge": open[at].id.as_str(),
                "AdjacentShardToMerge": open[at + 1].id.as_str(),
            });
            world.call("MergeShards", &body)
        } else {
            let range = open[at].hash_range;
            let middle = range.start() + (range.end() - range.start()) / 2 + 1;
            let body = json!({
                "StreamName": name,
                "ShardToSplit": open[at].id.as_str(),
                "NewStartingHashKey": middle.to_string(),
            });
            world.call("SplitShard", &body)
        };
        if done.is_ok() {
            self.survey(world);
        }
    }

    /// Writes down which shards were opened and closed since the last time.
    pub(crate) fn survey(&mut self, world: &World) {
        for Shard { id, parents, hash_range: range, ending_sequence_number, .. } in
            world.shards(ShardFilter::All).unwrap_or_default()
        {
            if self.known.insert(id.clone()) {
                world.log.on(&id, What::Opened { parents, range });
            }
            if ending_sequence_number.is_some() && self.closed.insert(id.clone()) {
                world.log.on(&id, What::Closed);
            }
        }
    }

    /// Deletes a lease by hand, whatever its state.
    pub(crate) async fn delete_lease(&mut self, world: &World) {
        let leases = world.table.all().await.unwrap_or_default();
        if leases.is_empty() {
            return;
        }
        let Lease { key, .. } = &leases[self.rng.usize(0..leases.len())];
        let Ok(Some(lease)) = world.table.read(key).await else {
            return;
        };
        let request = Request::Delete(key.clone(), lease.fence());
        // A memory table does not fail.
        let _ = world.table.carry_out(world, None, world.log.elapsed(), &request).await;
    }

    pub(crate) fn is_closed(&self, shard: &ShardId) -> bool {
        self.closed.contains(shard)
    }

    pub(crate) fn known(&self) -> &BTreeSet<ShardId> {
        &self.known
    }
}
