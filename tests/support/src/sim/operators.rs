//! Those who change the stream and the table by hand.

use std::collections::BTreeSet;

use kcl_core::kinesis::ShardFilter;
use kcl_core::{Shard, ShardId};
use kcl_lease::Lease;
use serde_json::json;

use super::World;
use super::history::What;

/// What operators know of the stream.
#[derive(Debug, Default)]
pub(crate) struct Operators {
    known: BTreeSet<ShardId>,
    closed: BTreeSet<ShardId>,
}

/// No more shards than these, so that a run ends; or six for each one that there was at first.
const MOST_SHARDS: usize = 24;

fn most_shards(world: &World) -> usize {
    MOST_SHARDS.max(6 * world.settings.shards as usize)
}

impl Operators {
    /// Splits an open shard, or merges it with the next one if there is one.
    pub(crate) fn reshard(&mut self, world: &World, pick: u32, merge: bool) {
        let mut open = world.shards(ShardFilter::AtLatest).unwrap_or_default();
        if self.known.len() >= most_shards(world) || open.is_empty() {
            return;
        }
        open.sort_by_key(|shard| shard.hash_range.start());
        let name = world.stream.id.name().as_str();
        let at = pick as usize % open.len();
        let done = if merge && at + 1 < open.len() {
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

    /// Scales the stream to this share of its shards.
    pub(crate) fn scale(&mut self, world: &World, percent: u32) {
        let open = world.shards(ShardFilter::AtLatest).unwrap_or_default().len();
        let target = (open * percent as usize / 100).max(1);
        if self.known.len() + 2 * target > most_shards(world) || target == open {
            return;
        }
        let body = json!({
            "StreamName": world.stream.id.name().as_str(),
            "TargetShardCount": target,
            "ScalingType": "UNIFORM_SCALING",
        });
        if world.call("UpdateShardCount", &body).is_ok() {
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

    /// Deletes a lease, whatever its state.
    pub(crate) async fn delete_lease(&self, world: &World, pick: u32) {
        if let Some(lease) = any_lease(world, pick, |_| true).await {
            world.table.delete(world, &lease).await;
        }
    }

    /// Deletes the lease of an open shard.
    pub(crate) async fn delete_open_lease(&self, world: &World, pick: u32) {
        let open = |lease: &Lease| !self.is_closed(lease.key.shard());
        if let Some(lease) = any_lease(world, pick, open).await {
            world.table.delete(world, &lease).await;
        }
    }

    /// Frees a lease that has progressed and sets its checkpoint back to the beginning of the shard.
    pub(crate) async fn rewind(&self, world: &World, pick: u32) {
        let progressed = |lease: &Lease| lease.position.has_progressed();
        if let Some(lease) = any_lease(world, pick, progressed).await {
            world.table.rewind(world, &lease).await;
        }
    }

    /// One of the open shards.
    pub(crate) fn open_shard(&self, world: &World, pick: u32) -> Option<ShardId> {
        let mut open = world.shards(ShardFilter::AtLatest).ok()?;
        (!open.is_empty()).then(|| open.swap_remove(pick as usize % open.len()).id)
    }

    pub(crate) fn is_closed(&self, shard: &ShardId) -> bool {
        self.closed.contains(shard)
    }

    pub(crate) fn known(&self) -> &BTreeSet<ShardId> {
        &self.known
    }
}

/// One of these leases; never the only one there is: without any, it would be a new application.
async fn any_lease(world: &World, pick: u32, which: impl Fn(&Lease) -> bool) -> Option<Lease> {
    let mut leases = world.table.all().await.unwrap_or_default();
    if leases.len() < 2 {
        return None;
    }
    leases.retain(which);
    (!leases.is_empty()).then(|| leases.swap_remove(pick as usize % leases.len()))
}
