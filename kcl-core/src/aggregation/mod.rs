//! KPL aggregates: many user records inside one Kinesis record.
//!
//! The format, by `aggregation-format.md` of `awslabs/amazon-kinesis-producer`:
//!
//! ```text
//! F3 89 9A C2 | protobuf message | MD5 of the protobuf message (16 bytes)
//!
//! message AggregatedRecord {                      message Record {
//!   repeated string partition_key_table     = 1;    required uint64 partition_key_index     = 1;
//!   repeated string explicit_hash_key_table = 2;    optional uint64 explicit_hash_key_index = 2;
//!   repeated Record records                 = 3;    required bytes  data                    = 3;
//! }                                                 repeated Tag    tags                    = 4;
//!                                                 }
//! ```
//!
//! [`unpack`] makes one of three things of a Kinesis record, and each delivers every byte that the producer put:
//!
//! - **Plain**: no magic number, too short, or a digest that does not match. It was never an aggregate; delivered as it is.
//! - **Aggregate**: its user records, numbered from 0. They share the sequence number and the arrival time.
//! - **Damaged**: magic number and digest are right, so some producer meant an aggregate, but it cannot be taken apart or
//!   exceeds the [`Caps`]. The whole payload is delivered as one record that carries the [`Damage`], all or nothing.
//!   The Java KCL drops the user records from the first wrong index on, with no more than a log line.
//!
//! Nothing is authenticated: whoever may put records may also compute an MD5. So the decoder does not recurse, copies no
//! payload (user data and keys are slices of the Kinesis record), and bounds what it allocates by the [`Caps`].
//!
//! Tags and unknown fields are skipped. The tables may stand behind the records that point into them, as protobuf allows.
//! An explicit hash key is handed over as it was written, also when it is no decimal.
//!
//! A user record whose hash key lies outside of the shard's range is delivered like any other. It gets there when a
//! producer aggregates by a shard map that a reshard has made stale. The Java KCL drops the whole aggregate then, and with
//! it data that stands in no other shard.

use bytes::Bytes;
use bytes_utils::Str;
use md5::{Digest, Md5};

use crate::{Aggregation, RawRecord, Record};
use wire::{Fields, Value};

mod aggregator;
#[cfg(test)]
mod tests;
mod wire;

pub use aggregator::{Aggregated, Aggregator};

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const DIGEST_BYTES: usize = 16;

// Fields of `AggregatedRecord`.
const PARTITION_KEYS: u64 = 1;
const EXPLICIT_HASH_KEYS: u64 = 2;
const USER_RECORDS: u64 = 3;
// Fields of `Record`.
const PARTITION_KEY_INDEX: u64 = 1;
const EXPLICIT_HASH_KEY_INDEX: u64 = 2;
const DATA: u64 = 3;

/// What one aggregate may hold at most; beyond that it is [`Damage`].
///
/// A record of 10 MiB has room for 1.7 million user records of 6 bytes each, which would take 30 times its size in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caps {
    /// User records. Default 175,000: the KPL's aggregates are of at most 1 MiB (`AggregationMaxSize`), and in that
    /// 174,762 user records of 6 bytes, the shortest that there are, have room.
    pub user_records: usize,
    /// Entries of either key table. Default 175,001: a key for each user record, and one that only says where to put the
    /// aggregate.
    pub keys: usize,
    /// Bytes of a key. Default 1,024, which is 256 characters of 4 bytes, the longest partition key that Kinesis takes.
    /// All user records may share one key, so a program that copies keys would copy a long one many times.
    pub key_bytes: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { user_records: 175_000, keys: 175_001, key_bytes: 1024 }
    }
}

/// What [`unpack`] made of a Kinesis record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpacked {
    /// No aggregate: one record was delivered.
    Plain,
    /// An aggregate, taken apart.
    Aggregate {
        /// The number of its user records; at least 1.
        count: usize,
    },
    /// An aggregate that cannot be taken apart: one record, [`Aggregation::Damaged`], was delivered.
    Damaged(Damage),
}

/// Why an aggregate cannot be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A field runs past the end of its message.
    #[error("field runs past the end")]
    Truncated,
    /// A variable-length number exceeds 64 bits.
    #[error("number exceeds 64 bits")]
    Number,
    /// A field number that protobuf does not allow.
    #[error("field number not allowed")]
    FieldNumber,
    /// A wire type that protobuf does not assign, or a group, which is obsolete and could nest without end.
    #[error("wire type not supported")]
    WireType,
    /// A user record without a partition key index.
    #[error("user record without partition key")]
    MissingPartitionKey,
    /// A user record without data. Empty data is present, with length 0.
    #[error("user record without data")]
    MissingData,
    /// A partition key index points outside of its table.
    #[error("partition key index out of range")]
    PartitionKeyIndex,
    /// An explicit hash key index points outside of its table.
    #[error("explicit hash key index out of range")]
    ExplicitHashKeyIndex,
    /// A key is not UTF-8.
    #[error("key is not utf-8")]
    KeyEncoding,
    /// A key exceeds [`Caps::key_bytes`].
    #[error("key too long")]
    KeyTooLong,
    /// A key table exceeds [`Caps::keys`].
    #[error("too many keys")]
    TooManyKeys,
    /// There are more than [`Caps::user_records`].
    #[error("too many user records")]
    TooManyUserRecords,
    /// There is no user record at all.
    #[error("no user records")]
    Empty,
}

/// Appends the user records of a Kinesis record to `out`: those of an aggregate, or the record itself as the one.
///
/// A record without the magic number is moved and otherwise left alone. An aggregate costs its MD5, a walk over the message,
/// and one `Record` for each user record. A damaged one leaves none of its user records in `out`.
#[inline]
pub fn unpack(raw: RawRecord, caps: &Caps, out: &mut Vec<Record>) -> Unpacked {
    if raw.data.starts_with(&MAGIC) {
        unpack_marked(raw, caps, out)
    } else {
        out.push(whole(raw, Aggregation::None));
        Unpacked::Plain
    }
}

fn unpack_marked(raw: RawRecord, caps: &Caps, out: &mut Vec<Record>) -> Unpacked {
    let Some(message) = sealed_message(&raw.data) else {
        out.push(whole(raw, Aggregation::None));
        return Unpacked::Plain;
    };
    let before = out.len();
    let expanded = Tables::read(&raw.data, message, caps)
        .and_then(|tables| expand(&raw, message, &tables, out));
    match expanded {
        Ok(()) => Unpacked::Aggregate { count: out.len() - before },
        Err(damage) => {
            out.truncate(before);
            out.push(whole(raw, Aggregation::Damaged(damage)));
            Unpacked::Damaged(damage)
        }
    }
}

fn whole(raw: RawRecord, aggregation: Aggregation) -> Record {
    Record {
        sequence_number: raw.sequence_number,
        partition_key: raw.partition_key,
        explicit_hash_key: None,
        data: raw.data,
        approximate_arrival: raw.approximate_arrival,
        aggregation,
    }
}

/// The message between magic number and digest, if the digest is its own.
fn sealed_message(data: &[u8]) -> Option<&[u8]> {
    let (message, digest) = data.strip_prefix(&MAGIC)?.split_last_chunk::<DIGEST_BYTES>()?;
    (Md5::digest(message).as_slice() == digest).then_some(message)
}

/// The key tables, and how many user records there are to point into them.
struct Tables {
    partition_keys: Vec<Str>,
    explicit_hash_keys: Vec<Str>,
    user_records: usize,
}

impl Tables {
    fn read(data: &Bytes, message: &[u8], caps: &Caps) -> Result<Self, Damage> {
        let mut tables =
            Self { partition_keys: Vec::new(), explicit_hash_keys: Vec::new(), user_records: 0 };
        for field in Fields::of(message) {
            let (table, key) = match field? {
                (PARTITION_KEYS, Value::Bytes(key)) => (&mut tables.partition_keys, key),
                (EXPLICIT_HASH_KEYS, Value::Bytes(key)) => (&mut tables.explicit_hash_keys, key),
                (USER_RECORDS, Value::Bytes(_)) if tables.user_records == caps.user_records => {
                    return Err(Damage::TooManyUserRecords);
                }
                (USER_RECORDS, Value::Bytes(_)) => {
                    tables.user_records += 1;
                    continue;
                }
                _ => continue,
            };
            if table.len() == caps.keys {
                return Err(Damage::TooManyKeys);
            }
            if key.len() > caps.key_bytes {
                return Err(Damage::KeyTooLong);
            }
            table.push(Str::from_inner(data.slice_ref(key)).map_err(|_| Damage::KeyEncoding)?);
        }
        if tables.user_records == 0 {
            return Err(Damage::Empty);
        }
        Ok(tables)
    }
}

/// Appends the user records; after an error those before it are still in `out`.
fn expand(
    raw: &RawRecord,
    message: &[u8],
    tables: &Tables,
    out: &mut Vec<Record>,
) -> Result<(), Damage> {
    out.reserve(tables.user_records);
    let mut sub = 0;
    for field in Fields::of(message) {
        let (USER_RECORDS, Value::Bytes(message)) = field? else {
            continue;
        };
        let user = UserRecord::read(message)?;
        let key = |table: &[Str], index| {
            usize::try_from(index).ok().and_then(|index| table.get(index).cloned())
        };
        out.push(Record {
            sequence_number: raw.sequence_number.clone(),
            partition_key: key(&tables.partition_keys, user.partition_key)
                .ok_or(Damage::PartitionKeyIndex)?,
            explicit_hash_key: user
                .explicit_hash_key
                .map(|index| {
                    key(&tables.explicit_hash_keys, index).ok_or(Damage::ExplicitHashKeyIndex)
                })
                .transpose()?,
            data: raw.data.slice_ref(user.data),
            approximate_arrival: raw.approximate_arrival,
            aggregation: Aggregation::Part { sub },
        });
        sub += 1;
    }
    Ok(())
}

/// A user record as the message holds it: its keys are indices into the tables.
struct UserRecord<'a> {
    partition_key: u64,
    explicit_hash_key: Option<u64>,
    data: &'a [u8],
}

impl<'a> UserRecord<'a> {
    /// Of a field that occurs twice the last one counts, as protobuf has it.
    fn read(message: &'a [u8]) -> Result<Self, Damage> {
        let (mut partition_key, mut explicit_hash_key, mut data) = (None, None, None);
        for field in Fields::of(message) {
            match field? {
                (PARTITION_KEY_INDEX, Value::Varint(index)) => partition_key = Some(index),
                (EXPLICIT_HASH_KEY_INDEX, Value::Varint(index)) => explicit_hash_key = Some(index),
                (DATA, Value::Bytes(bytes)) => data = Some(bytes),
                _ => {}
            }
        }
        Ok(Self {
            partition_key: partition_key.ok_or(Damage::MissingPartitionKey)?,
            explicit_hash_key,
            data: data.ok_or(Damage::MissingData)?,
        })
    }
}
