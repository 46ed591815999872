//! Items in the lease table that are no leases of ours: those of a Java KCL 3 coordinator, and what somebody broke.

use std::sync::{MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{APPLICATION, Wire};

impl Wire {
    /// Somebody leaves such items in the table. Every scan shows them from now on.
    pub(crate) fn strew(&self) {
        for item in items() {
            let request = json!({ "TableName": APPLICATION, "Item": item });
            self.call("PutItem", request.to_string().as_bytes());
            self.litter().push(item);
        }
    }

    pub(super) fn litter(&self) -> MutexGuard<'_, Vec<Value>> {
        self.litter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn items() -> [Value; 4] {
    [
        json!({ "leaseKey": { "S": "Leader" }, "ownerName": { "S": "java" } }),
        json!({ "leaseKey": { "S": "w1" }, "entityType": { "S": "WORKER_METRIC_STATS" } }),
        json!({
            "leaseKey": { "S": "shardId-000000009998" },
            "leaseOwner": { "S": "\u{1b}[31m\n" },
            "leaseCounter": { "N": "-1" },
            "checkpoint": { "S": "LATEST" },
        }),
        json!({
            "leaseKey": { "S": "shardId-000000009999" },
            "leaseOwner": { "S": "w1" },
            "leaseCounter": { "N": "1" },
            "checkpoint": { "S": "9".repeat(300_000) },
            "checkpointSubSequenceNumber": { "S": "zero" },
        }),
    ]
}
