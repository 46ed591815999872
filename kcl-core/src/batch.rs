//! The records of one call to the processor.

use std::sync::Arc;
use std::time::Duration;

use crate::retrieval::BudgetPermit;
use crate::{Position, Record};

/// Records of one shard, in order, never empty. Clones share them.
///
/// The payload bytes count against the process-wide budget until the last clone is dropped, so a batch that is kept for
/// later holds back further reads: that is the back-pressure.
#[derive(Debug, Clone)]
pub struct Batch {
    records: Arc<Vec<Record>>,
    payload_bytes: usize,
    behind: Duration,
    _permit: Arc<BudgetPermit>,
}

impl Batch {
    /// `None` when there is nothing to deliver.
    pub(crate) fn new(
        records: Vec<Record>,
        payload_bytes: usize,
        behind: Duration,
        permit: Arc<BudgetPermit>,
    ) -> Option<Self> {
        (!records.is_empty()).then(|| Self {
            records: Arc::new(records),
            payload_bytes,
            behind,
            _permit: permit,
        })
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The records, one after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Record> {
        self.records.iter()
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Always false: there is no call without records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How far the reply that these records came in was behind the newest record of the shard; 0 when it had caught up.
    #[must_use]
    pub fn behind_latest(&self) -> Duration {
        self.behind
    }

    /// The payloads of the Kinesis records that these user records came in, in bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// The checkpoint that says that all of it is done.
    pub(crate) fn end(&self) -> Option<Position> {
        self.records.last().map(Record::position)
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Record;
    type IntoIter = std::slice::Iter<'a, Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
