//! Knows every record that was put, and judges every delivery.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{Batch, Position, ShardId, WorkerId};

/// What was put and what was delivered. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle(Arc<Mutex<History>>);

#[derive(Debug, Default)]
struct History {
    /// How many records were put under each key; their payloads are `key:0`, `key:1`, …
    put: BTreeMap<String, u64>,
    delivered: Vec<Delivered>,
}

/// A delivery.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) worker: WorkerId,
    pub(crate) shard: ShardId,
    pub(crate) key: String,
    pub(crate) number: u64,
    pub(crate) position: Position,
    pub(crate) at: tokio::time::Instant,
}

/// What became of the records that were put.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) put: u64,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
}

impl Oracle {
    /// The payload of the next record of a key.
    pub(crate) fn next(&self, key: &str) -> String {
        let mut history = self.0.lock().unwrap();
        let count = history.put.entry(key.to_owned()).or_default();
        *count += 1;
        format!("{key}:{}", *count - 1)
    }

    #[expect(clippy::disallowed_methods, reason = "the oracle stands outside of the library")]
    pub(crate) fn deliver(&self, worker: &WorkerId, shard: &ShardId, batch: &Batch) {
        let mut history = self.0.lock().unwrap();
        for record in batch {
            let text = std::str::from_utf8(record.data()).unwrap();
            let (key, number) = text.rsplit_once(':').unwrap();
            history.delivered.push(Delivered {
                worker: worker.clone(),
                shard: shard.clone(),
                key: key.to_owned(),
                number: number.parse().unwrap(),
                position: record.position(),
                at: tokio::time::Instant::now(),
            });
        }
    }

    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        self.0.lock().unwrap().delivered.clone()
    }

    /// Every record put, delivered at least once, in the order of its key: S1 and S6.
    pub(crate) fn account(&self) -> Account {
        let history = self.0.lock().unwrap();
        let mut times: BTreeMap<(&str, u64), u64> = BTreeMap::new();
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        let mut out_of_order = 0;
        for Delivered { key, number, .. } in &history.delivered {
            let seen = times.entry((key, *number)).or_default();
            *seen += 1;
            if *seen == 1 && newest.get(&**key).is_some_and(|newest| newest > number) {
                out_of_order += 1;
            }
            newest.insert(key, (*number).max(newest.get(&**key).copied().unwrap_or(0)));
        }
        let put = history.put.values().sum();
        let distinct = times.len() as u64;
        let duplicates = history.delivered.len() as u64 - distinct;
        Account { put, lost: put - distinct, duplicates, out_of_order }
    }

    /// Waits until everything put was delivered, for at most `limit`.
    pub(crate) async fn drained(&self, limit: Duration) -> Account {
        let waiting = async {
            while self.account().lost > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = tokio::time::timeout(limit, waiting).await;
        self.account()
    }
}
