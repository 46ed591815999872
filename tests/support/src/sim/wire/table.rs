//! DynamoDB at the end of a line. Each change of a lease is written down with the item before and after, and scans show what
//! eventually consistent reads may: short pages, each item as of a moment of its own.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use kcl_emulator::Reply;
use kcl_lease::Lease;
use serde_json::{Value, json};

use super::{APPLICATION, Wire, item};
use crate::sim::World;
use crate::sim::history::{Life, What, Write};

/// Since when a lease was like this; `None` while there was none.
pub(super) type Versions = Vec<(Duration, Option<Stored>)>;

/// An item, and the lease that it is.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    item: Value,
    lease: Lease,
}

/// Enough for the oldest scan.
const VERSIONS: usize = 12;

impl Wire {
    /// The leases as they are.
    pub(crate) fn leases(&self) -> Vec<Lease> {
        let latest = |versions: &Versions| versions.last()?.1.as_ref().map(|s| s.lease.clone());
        self.versions().values().filter_map(latest).collect()
    }

    /// An operator deletes a lease as it was just seen.
    pub(crate) fn delete(&self, world: &World, lease: &Lease) {
        let request = json!({
            "TableName": APPLICATION,
            "Key": { "leaseKey": { "S": lease.key.to_string() } },
            "ConditionExpression": item::condition(lease),
            "ExpressionAttributeValues": item::condition_values(lease),
        });
        let body = request.to_string().into_bytes();
        // Seen in this very moment, so nothing can have come in between.
        let _ = self.dynamodb(world, None, world.log.elapsed(), "DeleteItem", &body);
    }

    /// An operator frees a lease as it was just seen, and sets its checkpoint back to the beginning.
    pub(crate) fn rewind(&self, world: &World, lease: &Lease) {
        let Some(mut item) = self.read(&lease.key.to_string()) else {
            return;
        };
        item["checkpoint"] = json!({ "S": "TRIM_HORIZON" });
        item["checkpointSubSequenceNumber"] = json!({ "N": "0" });
        item["leaseCounter"] = json!({ "N": (lease.counter + 1).to_string() });
        if let Some(attributes) = item.as_object_mut() {
            attributes.remove("leaseOwner");
        }
        let request = json!({ "TableName": APPLICATION, "Item": item });
        let body = request.to_string().into_bytes();
        let _ = self.dynamodb(world, None, world.log.elapsed(), "PutItem", &body);
    }

    /// Answers a request that was sent at `issued`. Nothing waits in here.
    pub(super) fn dynamodb(
        &self,
        world: &World,
        by: Option<Life>,
        issued: Duration,
        operation: &str,
        body: &[u8],
    ) -> Reply {
        let request = || serde_json::from_slice::<Value>(body).unwrap_or_default();
        if operation == "Scan" {
            return self.scan(world, request(), body);
        }
        let reply = self.call(operation, body);
        let key = match operation {
            "PutItem" => request()["Item"]["leaseKey"]["S"].as_str().map(str::to_owned),
            "UpdateItem" | "DeleteItem" => {
                request()["Key"]["leaseKey"]["S"].as_str().map(str::to_owned)
            }
            _ => None,
        };
        if let Some(key) = key {
            self.note(world, by, issued, &key, &request(), &reply);
        }
        reply
    }

    pub(super) fn call(&self, operation: &str, body: &[u8]) -> Reply {
        self.emulator.reply(&format!("DynamoDB_20120810.{operation}"), body)
    }

    /// Writes down what a write has done.
    fn note(
        &self,
        world: &World,
        by: Option<Life>,
        issued: Duration,
        key: &str,
        request: &Value,
        reply: &Reply,
    ) {
        let shard = match item::key(key) {
            Ok(key) => key.shard().clone(),
            Err(reason) => return complain(world, by, format!("{key} is no key: {reason}")),
        };
        if reply.status != 200 {
            let refused = reply.error.as_deref() == Some("ConditionalCheckFailedException");
            if let Some(life) = by.filter(|_| refused) {
                world.log.on(&shard, What::Refused(life));
            }
            return;
        }
        let after = match self.read(key).map(stored).transpose() {
            Ok(after) => after,
            Err(reason) => return complain(world, by, format!("{key} is no lease: {reason}")),
        };
        let lease = |stored: &Option<Stored>| stored.as_ref().map(|stored| stored.lease.clone());
        let now = world.log.elapsed();
        let mut versions = self.versions();
        let versions = versions.entry(key.to_owned()).or_default();
        let write = Write {
            by,
            issued,
            expected: item::expected(request),
            before: versions.last().and_then(|(_, stored)| lease(stored)),
            after: lease(&after),
        };
        versions.push((now, after));
        if versions.len() > VERSIONS {
            versions.remove(0);
        }
        world.log.on(&shard, write.into_what());
    }

    fn read(&self, key: &str) -> Option<Value> {
        let request = json!({
            "TableName": APPLICATION,
            "Key": { "leaseKey": { "S": key } },
            "ConsistentRead": true,
        });
        let reply = self.call("GetItem", request.to_string().as_bytes());
        let mut answer: Value = serde_json::from_slice(&reply.body).ok()?;
        Some(answer["Item"].take()).filter(Value::is_object)
    }

    /// A page of a scan. One that asks for more than all items as they may have been is answered as it is.
    fn scan(&self, world: &World, mut request: Value, body: &[u8]) -> Reply {
        const KNOWN: [&str; 3] = ["ConsistentRead", "ExclusiveStartKey", "TableName"];
        let plain = request
            .as_object()
            .is_some_and(|members| members.keys().all(|member| KNOWN.contains(&member.as_str())));
        if !plain || request["ConsistentRead"] == true {
            return self.call("Scan", body);
        }
        request["Limit"] = json!(1);
        let reply = self.call("Scan", request.to_string().as_bytes());
        if reply.status != 200 {
            return reply;
        }
        let now = world.log.elapsed();
        let versions = self.versions();
        let after = match request["ExclusiveStartKey"]["leaseKey"]["S"].as_str() {
            Some(key) => Bound::Excluded(key.to_owned()),
            None => Bound::Unbounded,
        };
        let mut left = versions.range((after.clone(), Bound::Unbounded));
        let page: Vec<_> = left.by_ref().take(self.page).collect();
        let shown = |(_, versions): &(&String, &Versions)| {
            let moment = now.saturating_sub(world.weather.age());
            let shown = versions.iter().rev().find(|(since, _)| *since <= moment);
            shown.and_then(|(_, stored)| Some(stored.as_ref()?.item.clone()))
        };
        let mut items: Vec<Value> = page.iter().filter_map(shown).collect();
        if after == Bound::Unbounded {
            items.extend(self.litter().iter().cloned());
        }
        let mut answer =
            json!({ "Count": items.len(), "ScannedCount": items.len(), "Items": items });
        if let Some((last, _)) = page.last()
            && left.next().is_some()
        {
            answer["LastEvaluatedKey"] = json!({ "leaseKey": { "S": last } });
        }
        Reply { body: answer.to_string().into(), ..reply }
    }

    fn versions(&self) -> MutexGuard<'_, BTreeMap<String, Versions>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stored(item: Value) -> Result<Stored, String> {
    let lease = item::lease(&item)?;
    Ok(Stored { item, lease })
}

fn complain(world: &World, by: Option<Life>, what: String) {
    if let Some(life) = by {
        world.log.note(What::Malformed(life, what));
    }
}
