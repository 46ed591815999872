//! What the processes wrote, judged against what was put.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kcl_core::SequenceNumber;
use serde_json::Value;

/// A record as `consume --json` writes it.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) process: usize,
    shard: String,
    sequence: SequenceNumber,
    key: String,
    number: u64,
    arrival_ms: u64,
    delivered_ms: u64,
}

/// Lines of many processes.
#[derive(Debug, Clone)]
pub(crate) struct Deliveries(Vec<Delivery>);

/// What became of the records.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) put: u64,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    /// First deliveries of a key that came after a later record of that key.
    pub(crate) out_of_order: u64,
    /// Delivered, but never put.
    pub(crate) unknown: u64,
}

impl Delivery {
    pub(crate) fn new(
        process: usize,
        shard: &str,
        sequence: &str,
        key: &str,
        number: u64,
        delivered_ms: u64,
    ) -> Self {
        Self {
            process,
            shard: shard.to_owned(),
            sequence: sequence.parse().unwrap(),
            key: key.to_owned(),
            number,
            arrival_ms: delivered_ms,
            delivered_ms,
        }
    }

    /// `None` for a line that is no record.
    fn parse(process: usize, line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).unwrap();
        let sequence = line["sequence_number"].as_str()?;
        let text = |name: &str| line[name].as_str().unwrap();
        let data = STANDARD.decode(text("data_base64")).unwrap();
        let data = String::from_utf8(data).unwrap();
        let (key, number) = data.split_once(':').unwrap();
        assert_eq!(key, text("partition_key"));
        let delivered_ms = line["delivered_ms"].as_u64().unwrap();
        let number = number.parse().unwrap();
        let arrival_ms = line["arrival_ms"].as_u64().unwrap();
        let delivery = Self::new(process, text("shard"), sequence, key, number, delivered_ms);
        Some(Self { arrival_ms, ..delivery })
    }

    pub(crate) fn record(&self) -> (&str, u64) {
        (&self.key, self.number)
    }
}

impl Deliveries {
    pub(crate) fn new(deliveries: Vec<Delivery>) -> Self {
        Self(deliveries)
    }

    /// From the outputs, by process. A killed process may leave half a line at the end.
    pub(crate) fn parse(outputs: &[String]) -> Self {
        let lines = outputs.iter().enumerate().flat_map(|(process, output)| {
            let whole = output.rfind('\n').map_or(0, |end| end + 1);
            output[..whole].lines().filter_map(move |line| Delivery::parse(process, line))
        });
        Self(lines.collect())
    }

    /// Those of processes that are not in `before`.
    pub(crate) fn after(&self, before: &Self) -> Self {
        let old: BTreeSet<usize> = before.0.iter().map(|delivery| delivery.process).collect();
        let new = self.0.iter().filter(|delivery| !old.contains(&delivery.process));
        Self(new.cloned().collect())
    }

    /// How many of these repeat one of `before` or each other.
    pub(crate) fn repeated(&self, before: &Self) -> usize {
        let mut seen: BTreeSet<_> = before.0.iter().map(Delivery::record).collect();
        self.0.iter().filter(|delivery| !seen.insert(delivery.record())).count()
    }

    fn by_time(&self) -> Vec<&Delivery> {
        let mut by_time: Vec<&Delivery> = self.0.iter().collect();
        by_time.sort_by_key(|delivery| delivery.delivered_ms); // stable: a process's own order stays
        by_time
    }

    /// Within the window: how many repeated an earlier one, and how long a record waited at most for its first delivery.
    pub(crate) fn between(&self, from_ms: u64, to_ms: u64) -> (usize, Duration) {
        let (mut seen, mut repeated, mut wait) = (BTreeSet::new(), 0, 0);
        for delivery in self.by_time() {
            let first = seen.insert(delivery.record());
            if !(from_ms..to_ms).contains(&delivery.delivered_ms) {
                continue;
            }
            if first {
                wait = wait.max(delivery.delivered_ms.saturating_sub(delivery.arrival_ms));
            } else {
                repeated += 1;
            }
        }
        (repeated, Duration::from_millis(wait))
    }

    /// The processes that a shard was read by.
    pub(crate) fn readers(&self, shard: &str) -> BTreeSet<usize> {
        let of_shard = self.0.iter().filter(|delivery| delivery.shard == shard);
        of_shard.map(|delivery| delivery.process).collect()
    }

    /// `put`: how many records each key has, numbered from 0.
    pub(crate) fn account(&self, put: &BTreeMap<String, u64>) -> Account {
        let by_time = self.by_time();
        let mut seen: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        let mut account = Account { put: put.values().sum(), ..Account::default() };
        for delivery in by_time {
            let numbers = seen.entry(&delivery.key).or_default();
            if put.get(&delivery.key).is_none_or(|count| delivery.number >= *count) {
                account.unknown += 1;
            } else if numbers.contains(&delivery.number) {
                account.duplicates += 1;
            } else {
                account.out_of_order += u64::from(numbers.last() > Some(&delivery.number));
                numbers.insert(delivery.number);
            }
        }
        let delivered: usize = seen.values().map(BTreeSet::len).sum();
        account.lost = account.put - delivered as u64;
        account
    }

    /// Where a process wrote a shard's records, repeated ones aside, in another order than that of their sequence numbers.
    pub(crate) fn shards_out_of_order(&self) -> Vec<String> {
        let mut newest: BTreeMap<(usize, &str), &SequenceNumber> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut wrong = BTreeSet::new();
        for delivery in &self.0 {
            let place = (delivery.process, &*delivery.shard);
            if !seen.insert((place, &delivery.sequence)) {
                continue;
            }
            let newest = newest.entry(place).or_insert(&delivery.sequence);
            if delivery.sequence < **newest {
                wrong.insert(format!("process {}, shard {}", place.0, place.1));
            } else {
                *newest = &delivery.sequence;
            }
        }
        wrong.into_iter().collect()
    }
}
