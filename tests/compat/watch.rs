//! The lease table over time: who owned what, what stood still, what moved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use tokio::task::JoinHandle;

use crate::now_ms;

/// A scan of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) at_ms: u64,
    pub(crate) leases: BTreeMap<String, Lease>,
}

/// What a lease shows to everybody.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lease {
    pub(crate) owner: Option<String>,
    pub(crate) counter: u64,
    pub(crate) checkpoint: String,
    pub(crate) parents: Vec<String>,
}

/// A time without a sign of life.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Silence {
    pub(crate) lease: String,
    /// Who owned it when it fell silent.
    pub(crate) owner: Option<String>,
    pub(crate) since_ms: u64,
    pub(crate) until_ms: u64,
}

/// A lease that went from one owner to another, or to none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) at_ms: u64,
    pub(crate) lease: String,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
}

impl Lease {
    pub(crate) fn has_ended(&self) -> bool {
        self.checkpoint == "SHARD_END"
    }

    /// A record of it was checkpointed, or it has ended.
    pub(crate) fn has_progressed(&self) -> bool {
        self.has_ended() || self.checkpoint.starts_with(|c: char| c.is_ascii_digit())
    }
}

impl Sample {
    /// How many leases that have not ended each owner has; under `""` those of nobody.
    pub(crate) fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for lease in self.leases.values().filter(|lease| !lease.has_ended()) {
            *counts.entry(lease.owner.as_deref().unwrap_or_default()).or_default() += 1;
        }
        counts
    }

    /// True when `workers` and nobody else own everything, none of them two more than another.
    pub(crate) fn is_balanced(&self, workers: &BTreeSet<&str>) -> bool {
        let counts = self.counts();
        let (least, most) = (counts.values().min(), counts.values().max());
        let apart = most.zip(least).map(|(most, least)| most - least);
        counts.keys().copied().eq(workers.iter().copied()) && apart <= Some(1)
    }

    /// It can be read: it has not ended, and every parent whose lease is known has.
    fn is_startable(&self, lease: &Lease) -> bool {
        let ended = |parent: &String| self.leases.get(parent).is_none_or(Lease::has_ended);
        !lease.has_ended() && lease.parents.iter().all(ended)
    }
}

/// The longest time that any lease was startable but unowned or not renewed, among those that reached into the window.
pub(crate) fn longest_silence(samples: &[Sample], from_ms: u64, to_ms: u64) -> Option<Silence> {
    let mut last: BTreeMap<&str, (u64, &Lease)> = BTreeMap::new();
    let mut longest: Option<Silence> = None;
    for sample in samples.iter().take_while(|sample| sample.at_ms <= to_ms) {
        for (key, lease) in &sample.leases {
            let (since, before) = last.entry(key).or_insert((sample.at_ms, lease));
            if sample.at_ms >= from_ms && sample.is_startable(before) {
                let silence = Silence {
                    lease: key.clone(),
                    owner: before.owner.clone(),
                    since_ms: *since,
                    until_ms: sample.at_ms,
                };
                let longer = |old: &Silence| old.span() < silence.span();
                if longest.as_ref().is_none_or(longer) {
                    longest = Some(silence);
                }
            }
            let renewed = lease.owner.is_some() && lease.counter != before.counter;
            if renewed || !sample.is_startable(lease) {
                (*since, *before) = (sample.at_ms, lease);
            }
        }
    }
    longest
}

impl Silence {
    pub(crate) fn span(&self) -> Duration {
        Duration::from_millis(self.until_ms - self.since_ms)
    }
}

/// The changes of owners within the window, ends of shards aside.
pub(crate) fn changes(samples: &[Sample], from_ms: u64, to_ms: u64) -> Vec<Change> {
    let pairs = samples.iter().zip(samples.iter().skip(1));
    let inside = pairs.filter(|(_, next)| (from_ms..=to_ms).contains(&next.at_ms));
    inside.flat_map(|(one, next)| changed(one, next)).collect()
}

fn changed(one: &Sample, next: &Sample) -> Vec<Change> {
    let moved = next.leases.iter().filter_map(|(key, lease)| {
        let before = one.leases.get(key)?;
        let moved = before.owner != lease.owner && !lease.has_ended();
        let (from, to) = (before.owner.clone(), lease.owner.clone());
        moved.then(|| Change { at_ms: next.at_ms, lease: key.clone(), from, to })
    });
    moved.collect()
}

/// Looks at the table until it is dropped.
pub(crate) struct Watch {
    samples: Arc<Mutex<Vec<Sample>>>,
    task: JoinHandle<()>,
}

const EVERY: Duration = Duration::from_millis(200);

impl Watch {
    pub(crate) fn start(dynamo: Client, table: &'static str) -> Self {
        let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
        let shared = samples.clone();
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                let sample = sample(&dynamo, table).await;
                shared.lock().unwrap().push(sample);
            }
        });
        Self { samples, task }
    }

    pub(crate) fn newest(&self) -> Sample {
        self.samples.lock().unwrap().last().cloned().unwrap_or_default()
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Empty where there is no table yet.
async fn sample(dynamo: &Client, table: &str) -> Sample {
    let at_ms = now_ms();
    let scan = dynamo.scan().table_name(table).consistent_read(true).send().await;
    let items = scan.ok().and_then(|scan| scan.items).unwrap_or_default();
    let leases = items.iter().map(|item| {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        let set = |name: &str| item.get(name).and_then(|value| value.as_ss().ok()).cloned();
        let counter = item.get("leaseCounter").map(AttributeValue::as_n).unwrap().unwrap();
        let lease = Lease {
            owner: text("leaseOwner"),
            counter: counter.parse().unwrap(),
            checkpoint: text("checkpoint").unwrap(),
            parents: set("parentShardId").unwrap_or_default(),
        };
        (text("leaseKey").unwrap(), lease)
    });
    Sample { at_ms, leases: leases.collect() }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
