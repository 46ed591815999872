//! A record, as it left Kinesis and as the processor sees it.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use bytes_utils::Str;

use crate::{Position, SequenceNumber};

/// A Kinesis record before de-aggregation.
#[derive(Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Its sequence number.
    pub sequence_number: SequenceNumber,
    /// Its partition key; 1 to 256 characters.
    pub partition_key: Str,
    /// Its payload.
    pub data: Bytes,
    /// When Kinesis took it, to the millisecond.
    pub approximate_arrival: SystemTime,
}

impl RawRecord {
    /// What it counts against the budget and against AWS's limits on bytes: its payload and its key.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

impl fmt::Debug for RawRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRecord")
            .field("sequence_number", &self.sequence_number)
            .field("partition_key_len", &self.partition_key.len())
            .field("data_len", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// A user record: a plain Kinesis record, or one out of a KPL aggregate.
///
/// `Debug` shows lengths, never the payload or a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub(crate) sequence_number: SequenceNumber,
    pub(crate) partition_key: Str,
    pub(crate) explicit_hash_key: Option<Str>,
    pub(crate) data: Bytes,
    pub(crate) approximate_arrival: SystemTime,
    pub(crate) aggregation: Aggregation,
}

/// What de-aggregation made of the Kinesis record that a user record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aggregation {
    /// A plain record.
    None,
    /// The user record with this index in a KPL aggregate.
    Part {
        /// The sub-sequence number: the index, from 0.
        sub: u64,
    },
    /// An aggregate, by its magic number and digest, that cannot be taken apart. Its whole payload is delivered as one
    /// record, so that nothing is lost; what to do with it is the processor's decision.
    Damaged(crate::aggregation::Damage),
}

impl Record {
    /// The sequence number; all user records of one aggregate share it.
    #[must_use]
    pub fn sequence_number(&self) -> &SequenceNumber {
        &self.sequence_number
    }

    /// The index inside an aggregate, from 0; 0 for a plain record.
    #[must_use]
    pub fn sub_sequence_number(&self) -> u64 {
        match self.aggregation {
            Aggregation::Part { sub } => sub,
            Aggregation::None | Aggregation::Damaged(_) => 0,
        }
    }

    /// The checkpoint that says: this record and all before it are done.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::at(self.sequence_number.clone(), self.sub_sequence_number())
    }

    /// The partition key that the producer gave.
    #[must_use]
    pub fn partition_key(&self) -> &str {
        &self.partition_key
    }

    /// The explicit hash key of a user record of an aggregate, as a decimal. Kinesis does not return that of a plain one.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<&str> {
        self.explicit_hash_key.as_deref()
    }

    /// The payload. A clone shares it and keeps the reply that it came in alive.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// When Kinesis took the record, to the millisecond, by its own clock.
    #[must_use]
    pub fn approximate_arrival(&self) -> SystemTime {
        self.approximate_arrival
    }

    /// Whether the record comes from an aggregate, and whether that was sound.
    #[must_use]
    pub fn aggregation(&self) -> Aggregation {
        self.aggregation
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("position", &format_args!("{}", self.position()))
            .field("aggregation", &self.aggregation)
            .field("partition_key_len", &self.partition_key.len())
            .field("data_len", &self.data.len())
            .finish_non_exhaustive()
    }
}
