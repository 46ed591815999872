//! A lease as a DynamoDB item, in the format of the Java KCL 2.x (its `DynamoDBLeaseSerializer` and
//! `DynamoDBMultiStreamLeaseSerializer`), so that programs of both kinds take over each other's table.
//!
//! Numbers are `N`, shard ids that name relatives are `SS`, an unowned lease has no `leaseOwner` at all, and empty sets are
//! left out. `startTimestamp`, `applicationStartTimestamp`, `hasProgressed`, `streamIdentifier`, `cooperator` and `handoffTo` are
//! ours alone; Java only ever updates single attributes,
//! so it keeps what it does not know.

use std::collections::{BTreeSet, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use kcl_core::{Position, ShardId};

use crate::Lease;

mod decode;

pub(crate) use decode::{Item, decode};

pub(crate) const KEY: &str = "leaseKey";
pub(crate) const OWNER: &str = "leaseOwner";
pub(crate) const COUNTER: &str = "leaseCounter";
pub(crate) const OWNER_SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const CHECKPOINT_SUB: &str = "checkpointSubSequenceNumber";
pub(crate) const PENDING: &str = "pendingCheckpoint";
pub(crate) const PENDING_SUB: &str = "pendingCheckpointSubSequenceNumber";
pub(crate) const PENDING_STATE: &str = "pendingCheckpointState";
pub(crate) const CHILDREN: &str = "childShardIds";
/// Singular in name, a set in type.
const PARENTS: &str = "parentShardId";
const HASH_START: &str = "startingHashKey";
const HASH_END: &str = "endingHashKey";
/// Multi-stream only: the serialized stream identifier, not the bare name.
const STREAM: &str = "streamName";
/// Multi-stream only.
const SHARD: &str = "shardId";
/// Epoch milliseconds.
const STARTED_AT: &str = "startTimestamp";
/// Epoch milliseconds.
const APPLICATION_START: &str = "applicationStartTimestamp";
/// In single-stream applications, where the key does not name the stream: its identifier.
const STREAM_ID: &str = "streamIdentifier";
/// A boolean, present when true.
pub(crate) const HAS_PROGRESSED: &str = "hasProgressed";
/// The owner, where it hands over on request.
pub(crate) const COOPERATOR: &str = "cooperator";
/// Who asks the owner for the lease.
pub(crate) const HANDOFF_TO: &str = "handoffTo";
/// Java KCL 3.5: what kind of item this is; leases may lack it.
const ENTITY_TYPE: &str = "entityType";

/// The attributes with which a lease is created.
pub(crate) fn encode(lease: &Lease) -> HashMap<String, AttributeValue> {
    let (checkpoint, sub) = position(&lease.position);
    let mut item = vec![
        (KEY, text(&lease.key)),
        (COUNTER, number(&lease.counter)),
        (OWNER_SWITCHES, number(&lease.owner_switches)),
        (CHECKPOINT, checkpoint),
        (CHECKPOINT_SUB, sub),
    ];
    if let Some(owner) = &lease.owner {
        item.push((OWNER, text(owner)));
    }
    if let Some(pending) = &lease.pending {
        let (checkpoint, sub) = position(&pending.position);
        item.extend([(PENDING, checkpoint), (PENDING_SUB, sub)]);
        item.extend(pending.state.as_ref().map(|state| (PENDING_STATE, bytes(state))));
    }
    item.extend(shards(&lease.parents).map(|set| (PARENTS, set)));
    item.extend(shards(&lease.children).map(|set| (CHILDREN, set)));
    if let Some(range) = lease.hash_range {
        item.extend([(HASH_START, text(&range.start())), (HASH_END, text(&range.end()))]);
    }
    if let Some(stream) = lease.key.stream() {
        item.extend([(STREAM, text(stream)), (SHARD, text(lease.key.shard()))]);
    }
    item.extend(lease.started_at.map(|at| (STARTED_AT, millis(at))));
    item.extend(lease.stream.as_ref().map(|stream| (STREAM_ID, text(stream))));
    item.extend(lease.has_progressed.then_some((HAS_PROGRESSED, AttributeValue::Bool(true))));
    item.extend(lease.application_start.map(|at| (APPLICATION_START, millis(at))));
    item.extend(lease.cooperator.as_ref().map(|worker| (COOPERATOR, text(worker))));
    item.extend(lease.handoff_to.as_ref().map(|worker| (HANDOFF_TO, text(worker))));
    item.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A position's two attributes: the sequence number or sentinel, and the sub-sequence number.
pub(crate) fn position(position: &Position) -> (AttributeValue, AttributeValue) {
    match position {
        Position::Sequence { number: n, sub } => (text(n), number(sub)),
        Position::AtTimestamp | Position::TrimHorizon | Position::Latest | Position::ShardEnd => {
            (text(position), number(&0))
        }
    }
}

/// A set of shard ids; `None` when empty, which DynamoDB cannot store.
pub(crate) fn shards(set: &BTreeSet<ShardId>) -> Option<AttributeValue> {
    (!set.is_empty()).then(|| AttributeValue::Ss(set.iter().map(ToString::to_string).collect()))
}

fn millis(time: SystemTime) -> AttributeValue {
    number(&time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis())
}

pub(crate) fn text(value: &(impl ToString + ?Sized)) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

pub(crate) fn number(value: &impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn bytes(value: &Bytes) -> AttributeValue {
    AttributeValue::B(Blob::new(value.as_ref()))
}

#[cfg(test)]
mod tests;
