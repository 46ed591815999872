//! The lease table's format read a second time, from DynamoDB's JSON, and strictly: what the Java KCL 2.x would not write is
//! no lease. The library's own codec is under test and must not be its own witness.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use kcl_core::leasing::PendingCheckpoint;
use kcl_core::{HashRange, Position, ShardId, WorkerId};
use kcl_lease::{Fence, Lease, LeaseKey};
use serde_json::{Value, json};

/// Every attribute, with its DynamoDB type.
const ATTRIBUTES: [(&str, &str); 20] = [
    ("leaseKey", "S"),
    ("streamName", "S"),
    ("shardId", "S"),
    ("leaseOwner", "S"),
    ("leaseCounter", "N"),
    ("ownerSwitchesSinceCheckpoint", "N"),
    ("checkpoint", "S"),
    ("checkpointSubSequenceNumber", "N"),
    ("pendingCheckpoint", "S"),
    ("pendingCheckpointSubSequenceNumber", "N"),
    ("parentShardId", "SS"),
    ("childShardIds", "SS"),
    ("startingHashKey", "S"),
    ("endingHashKey", "S"),
    ("startTimestamp", "N"),
    ("applicationStartTimestamp", "N"),
    ("hasProgressed", "BOOL"),
    ("streamIdentifier", "S"),
    ("cooperator", "S"),
    ("handoffTo", "S"),
];

/// The lease that an item is, or why it is none.
pub(super) fn lease(item: &Value) -> Result<Lease, String> {
    let attributes = item.as_object().ok_or("not an item")?;
    for (name, value) in attributes {
        let known = ATTRIBUTES.iter().find(|(known, _)| known == name);
        let (_, kind) = known.ok_or_else(|| format!("unknown attribute {name}"))?;
        let typed = value.as_object().is_some_and(|typed| typed.len() == 1);
        if !typed || value.get(kind).is_none() {
            return Err(format!("{name} is not of type {kind}"));
        }
    }
    let text = |name: &str| item[name]["S"].as_str();
    let number = |name: &str| item[name]["N"].as_str().and_then(|n| n.parse::<u64>().ok());
    let need = |name: &str| number(name).ok_or_else(|| format!("{name} is missing or negative"));
    let shards = |name: &str| -> Result<BTreeSet<ShardId>, String> {
        let members = item[name]["SS"].as_array().map(Vec::as_slice).unwrap_or_default();
        members.iter().map(|id| shard(id.as_str().unwrap_or_default())).collect()
    };
    let position = |name: &str, sub: &str| -> Result<Option<Position>, String> {
        let Some(text) = text(name) else {
            return Ok(None);
        };
        checkpoint(text, need(sub)?).map(Some)
    };
    let key = key(text("leaseKey").unwrap_or_default())?;
    // Only where the key names the stream.
    let named = key.stream().map(ToString::to_string);
    let of_key = named.as_deref().map(|_| key.shard().as_str());
    if (text("streamName"), text("shardId")) != (named.as_deref(), of_key) {
        return Err("streamName and shardId are not those of the key".to_owned());
    }
    let mut lease = Lease::new(
        key,
        position("checkpoint", "checkpointSubSequenceNumber")?.ok_or("checkpoint is missing")?,
    );
    let worker = |name: &str| {
        let worker = text(name).map(WorkerId::new).transpose();
        worker.map_err(|_| format!("{name} is no worker id"))
    };
    lease.owner = worker("leaseOwner")?;
    lease.cooperator = worker("cooperator")?;
    lease.handoff_to = worker("handoffTo")?;
    lease.counter = need("leaseCounter")?;
    lease.owner_switches = need("ownerSwitchesSinceCheckpoint")?;
    lease.pending = position("pendingCheckpoint", "pendingCheckpointSubSequenceNumber")?
        .map(|position| PendingCheckpoint { position, state: None });
    lease.parents = shards("parentShardId")?;
    lease.children = shards("childShardIds")?;
    lease.hash_range = match (text("startingHashKey"), text("endingHashKey")) {
        (Some(start), Some(end)) => {
            Some(HashRange::parse(start, end).map_err(|_| "its hash keys are no range")?)
        }
        (None, None) => None,
        _ => return Err("half a range of hash keys".to_owned()),
    };
    let time = |name: &str| number(name).map(|at| UNIX_EPOCH + Duration::from_millis(at));
    lease.started_at = time("startTimestamp");
    let stream = text("streamIdentifier").map(str::parse).transpose();
    lease.stream = stream.map_err(|_| "streamIdentifier is none")?;
    lease.has_progressed = item["hasProgressed"]["BOOL"].as_bool().unwrap_or_default();
    lease.application_start = time("applicationStartTimestamp");
    Ok(lease)
}

/// A shard, or `account:stream:epoch:shard`.
pub(super) fn key(text: &str) -> Result<LeaseKey, String> {
    let Some((stream, id)) = text.rsplit_once(':') else {
        return shard(text).map(LeaseKey::single);
    };
    let stream = stream.parse().map_err(|_| format!("not a stream: {stream}"))?;
    Ok(LeaseKey::multi(stream, shard(id)?))
}

fn shard(id: &str) -> Result<ShardId, String> {
    ShardId::new(id).map_err(|_| format!("not a shard: {id}"))
}

fn checkpoint(text: &str, sub: u64) -> Result<Position, String> {
    let sentinel = match text {
        "AT_TIMESTAMP" => Position::AtTimestamp,
        "LATEST" => Position::Latest,
        "SHARD_END" => Position::ShardEnd,
        "TRIM_HORIZON" => Position::TrimHorizon,
        digits => {
            let number = digits.parse().map_err(|_| format!("not a checkpoint: {digits}"))?;
            return Ok(Position::at(number, sub));
        }
    };
    if sub == 0 { Ok(sentinel) } else { Err(format!("{text} with sub-sequence number {sub}")) }
}

/// What a request expects to find; `None` when it asks for no lease, or does not ask for counter and owner both.
pub(super) fn expected(request: &Value) -> Option<Fence> {
    let value = |name: &str| &request["ExpressionAttributeValues"][name];
    let (mut counter, mut owner) = (None, None);
    for term in request["ConditionExpression"].as_str()?.split(" AND ") {
        match term.split_once(" = ") {
            None if term == "attribute_not_exists(leaseOwner)" => owner = Some(None),
            Some(("leaseCounter", name)) => counter = value(name)["N"].as_str()?.parse().ok(),
            Some(("leaseOwner", name)) => {
                owner = Some(Some(WorkerId::new(value(name)["S"].as_str()?).ok()?));
            }
            _ => {}
        }
    }
    let nowhere = LeaseKey::single(ShardId::new("shardId-000000000000").ok()?);
    let (counter, owner) = (counter?, owner?);
    Some(Lease { counter, owner, ..Lease::new(nowhere, Position::TrimHorizon) }.fence())
}

/// That a lease is as it was seen.
pub(super) fn condition(lease: &Lease) -> &'static str {
    match lease.owner {
        Some(_) => "leaseCounter = :counter AND leaseOwner = :owner",
        None => "leaseCounter = :counter AND attribute_not_exists(leaseOwner)",
    }
}

pub(super) fn condition_values(lease: &Lease) -> Value {
    let mut values = json!({ ":counter": { "N": lease.counter.to_string() } });
    if let Some(owner) = &lease.owner {
        values[":owner"] = json!({ "S": owner.as_str() });
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Value {
        json!({
            "leaseKey": { "S": "shardId-000000000002" },
            "leaseOwner": { "S": "w1" },
            "leaseCounter": { "N": "7" },
            "ownerSwitchesSinceCheckpoint": { "N": "1" },
            "checkpoint": { "S": "49590338271490256608559692538361571095921575989136588898" },
            "checkpointSubSequenceNumber": { "N": "3" },
            "parentShardId": { "SS": ["shardId-000000000000", "shardId-000000000001"] },
            "startingHashKey": { "S": "0" },
            "endingHashKey": { "S": "99" },
        })
    }

    #[test]
    fn an_item_of_the_java_kcl_is_a_lease() {
        let lease = lease(&item()).unwrap();
        assert_eq!(lease.key.to_string(), "shardId-000000000002");
        assert_eq!(lease.owner.as_ref().unwrap().as_str(), "w1");
        assert_eq!((lease.counter, lease.owner_switches), (7, 1));
        assert_eq!(lease.parents.len(), 2);
        assert_eq!(lease.hash_range, HashRange::new(0, 99));
        assert!(matches!(lease.position, Position::Sequence { sub: 3, .. }));
    }

    #[test]
    fn a_key_of_several_streams_needs_what_java_writes_beside_it() {
        let mut item = item();
        item["leaseKey"]["S"] = json!("123456789012:orders:7:shardId-000000000002");
        assert!(lease(&item).is_err());
        item["streamName"] = json!({ "S": "123456789012:orders:7" });
        item["shardId"] = json!({ "S": "shardId-000000000002" });
        let lease = lease(&item).unwrap();
        assert_eq!(lease.key.stream().unwrap().to_string(), "123456789012:orders:7");
        assert_eq!(lease.key.shard().as_str(), "shardId-000000000002");
    }

    #[test]
    fn what_java_would_not_write_is_none() {
        for (name, value) in [
            ("leaseCounter", json!({ "S": "7" })),
            ("leaseCounter", json!({ "N": "-1" })),
            ("leaseOwner", json!({ "S": "" })),
            ("leaseOwner", json!({ "NULL": true })),
            ("checkpoint", json!({ "S": "latest" })),
            ("checkpoint", json!({ "S": "SHARD_END" })), // with the sub-sequence number of a record
            ("parentShardId", json!({ "S": "shardId-000000000000" })),
            ("endingHashKey", json!({ "S": "x" })),
            ("colour", json!({ "S": "blue" })),
        ] {
            let mut item = item();
            item[name] = value;
            assert!(lease(&item).is_err(), "{item}");
        }
    }

    #[test]
    fn a_condition_is_the_fence_that_it_asks_for() {
        let seen = lease(&item()).unwrap();
        let free = Lease { owner: None, ..seen.clone() };
        let request = |condition: &str, lease: &Lease| json!({ "ConditionExpression": condition, "ExpressionAttributeValues": condition_values(lease) });
        for lease in [&seen, &free] {
            assert_eq!(expected(&request(condition(lease), lease)), Some(lease.fence()));
        }
        for half in
            ["leaseCounter = :counter", "leaseOwner = :owner", "attribute_not_exists(leaseKey)"]
        {
            assert_eq!(expected(&request(half, &seen)), None, "{half}");
        }
    }
}
