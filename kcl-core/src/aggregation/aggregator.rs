//! The writing side, for producers and tests.

use std::collections::BTreeMap;
use std::{fmt, mem};

use bytes::Bytes;
use md5::{Digest, Md5};

use super::wire::{bytes_field_len, put_bytes_field, put_bytes_head, put_varint_field};
use super::{
    Caps, DATA, DIGEST_BYTES, EXPLICIT_HASH_KEY_INDEX, EXPLICIT_HASH_KEYS, MAGIC,
    PARTITION_KEY_INDEX, PARTITION_KEYS, USER_RECORDS,
};

/// Collects user records until they fill a Kinesis record, in the KPL's format.
///
/// Kinesis routes the aggregate by the keys of its first user record, and all others go there with it. So push only those
/// together that belong to one shard: this crate's consumers deliver strays too, the Java KCL drops the whole aggregate.
///
/// ```
/// use kcl_core::aggregation::Aggregator;
///
/// let mut aggregator = Aggregator::new(50 * 1024);
/// assert!(aggregator.push("customer-7", None, b"first"));
/// assert!(aggregator.push("customer-8", None, b"second"));
/// let aggregated = aggregator.finish().unwrap();
/// assert_eq!((&*aggregated.partition_key, aggregated.user_records), ("customer-7", 2));
/// assert!(aggregator.finish().is_none());
/// ```
pub struct Aggregator {
    max_bytes: usize,
    pending: Pending,
}

/// The payload of a Kinesis record, and the keys to put it under.
///
/// `Debug` shows lengths, never the payload or a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Aggregated {
    /// The payload.
    pub data: Bytes,
    /// The partition key of the first user record.
    pub partition_key: String,
    /// The explicit hash key of the first user record.
    pub explicit_hash_key: Option<String>,
    /// How many user records it holds; at least 1.
    pub user_records: usize,
}

impl Aggregator {
    /// Payloads of at most `max_bytes`. The KPL's default is 51,200. Kinesis takes 1 MiB, partition key included, and up to
    /// 10 MiB from streams that are set so.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, pending: Pending::default() }
    }

    /// Adds a user record. `explicit_hash_key` is a decimal below 2^128.
    ///
    /// Returns false, and changes nothing, when it does not fit any more: [`finish`](Self::finish), then push it again. One
    /// that an empty aggregator does not take either is too long, or its key exceeds the default [`Caps`]: put it by itself.
    #[must_use]
    pub fn push(
        &mut self,
        partition_key: &str,
        explicit_hash_key: Option<&str>,
        data: &[u8],
    ) -> bool {
        let caps = Caps::default();
        let fits = |key: &str| key.len() <= caps.key_bytes;
        self.pending.user_records < caps.user_records
            && fits(partition_key)
            && explicit_hash_key.is_none_or(fits)
            && self.pending.push(self.max_bytes, partition_key, explicit_hash_key, data)
    }

    /// The aggregate of all that was pushed since the last call; `None` when nothing was.
    pub fn finish(&mut self) -> Option<Aggregated> {
        let Pending { partition_keys, explicit_hash_keys, records, user_records, first } =
            mem::take(&mut self.pending);
        let (partition_key, explicit_hash_key) = first?;
        let message = [partition_keys.encoded, explicit_hash_keys.encoded, records].concat();
        let digest = Md5::digest(&message);
        Some(Aggregated {
            data: [&MAGIC[..], &message, &digest].concat().into(),
            partition_key,
            explicit_hash_key,
            user_records,
        })
    }

    /// How many user records wait in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.user_records
    }

    /// True when nothing was pushed since the last [`finish`](Self::finish).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An aggregate in the making: the parts of its message, encoded.
#[derive(Default)]
struct Pending {
    partition_keys: KeyTable,
    explicit_hash_keys: KeyTable,
    records: Vec<u8>,
    user_records: usize,
    /// The keys of the first user record.
    first: Option<(String, Option<String>)>,
}

impl Pending {
    fn push(
        &mut self,
        max_bytes: usize,
        partition_key: &str,
        explicit_hash_key: Option<&str>,
        data: &[u8],
    ) -> bool {
        let mut head = Vec::with_capacity(32);
        let key_index = self.partition_keys.index(partition_key);
        put_varint_field(&mut head, PARTITION_KEY_INDEX, key_index);
        if let Some(key) = explicit_hash_key {
            let key_index = self.explicit_hash_keys.index(key);
            put_varint_field(&mut head, EXPLICIT_HASH_KEY_INDEX, key_index);
        }
        put_bytes_head(&mut head, DATA, data.len());
        let record_bytes = head.len() + data.len();

        let added = self.partition_keys.growth(partition_key)
            + explicit_hash_key.map_or(0, |key| self.explicit_hash_keys.growth(key))
            + bytes_field_len(record_bytes);
        if self.bytes() + added > max_bytes {
            return false;
        }
        self.partition_keys.add(PARTITION_KEYS, partition_key);
        if let Some(key) = explicit_hash_key {
            self.explicit_hash_keys.add(EXPLICIT_HASH_KEYS, key);
        }
        put_bytes_head(&mut self.records, USER_RECORDS, record_bytes);
        self.records.extend_from_slice(&head);
        self.records.extend_from_slice(data);
        self.user_records += 1;
        self.first.get_or_insert_with(|| (partition_key.into(), explicit_hash_key.map(Into::into)));
        true
    }

    fn bytes(&self) -> usize {
        MAGIC.len()
            + self.partition_keys.encoded.len()
            + self.explicit_hash_keys.encoded.len()
            + self.records.len()
            + DIGEST_BYTES
    }
}

/// A key table in which each key stands once.
#[derive(Default)]
struct KeyTable {
    indices: BTreeMap<String, u64>,
    encoded: Vec<u8>,
}

impl KeyTable {
    /// The index that the key has, or will have once added.
    fn index(&self, key: &str) -> u64 {
        let next = self.indices.len() as u64;
        self.indices.get(key).copied().unwrap_or(next)
    }

    /// By how many bytes adding the key makes the table longer.
    fn growth(&self, key: &str) -> usize {
        if self.indices.contains_key(key) { 0 } else { bytes_field_len(key.len()) }
    }

    fn add(&mut self, field: u64, key: &str) {
        if !self.indices.contains_key(key) {
            self.indices.insert(key.into(), self.index(key));
            put_bytes_field(&mut self.encoded, field, key.as_bytes());
        }
    }
}

impl fmt::Debug for Aggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregator")
            .field("max_bytes", &self.max_bytes)
            .field("user_records", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Aggregated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregated")
            .field("partition_key_len", &self.partition_key.len())
            .field("data_len", &self.data.len())
            .field("user_records", &self.user_records)
            .finish_non_exhaustive()
    }
}
