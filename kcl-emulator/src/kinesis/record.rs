//! A record at rest.

use std::fmt;

use super::sequence::SequenceNumber;
use crate::wire::json::Rendered;

/// A record in a shard. `Debug` shows lengths only.
#[derive(Clone)]
pub struct Record {
    pub(super) sequence: SequenceNumber,
    pub(super) arrival_millis: u64,
    pub(super) partition_key: Box<str>,
    pub(super) rendered: Rendered,
}

impl Record {
    /// Its place in the shard.
    #[must_use]
    pub fn sequence_number(&self) -> SequenceNumber {
        self.sequence
    }

    /// When it was put, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn arrival_millis(&self) -> u64 {
        self.arrival_millis
    }

    /// The key that chose its shard.
    #[must_use]
    pub fn partition_key(&self) -> &str {
        &self.partition_key
    }

    /// Its data.
    #[must_use]
    pub fn data(&self) -> Vec<u8> {
        self.rendered.data()
    }

    /// What it counts against limits: bytes of the data and of the partition key.
    pub(crate) fn size(&self) -> usize {
        self.rendered.data_len() + self.partition_key.len()
    }

    pub(crate) fn rendered(&self) -> &Rendered {
        &self.rendered
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("sequence", &format_args!("{}", self.sequence))
            .field("arrival_millis", &self.arrival_millis)
            .field("partition_key_len", &self.partition_key.len())
            .field("data_len", &self.rendered.data_len())
            .finish()
    }
}
