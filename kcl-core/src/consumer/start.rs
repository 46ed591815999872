//! Where a consumer begins to read, and what it must not deliver again.

use crate::leasing::Grant;
use crate::{Position, Record, SequenceNumber, StartFrom, StartingPosition};

/// The start of a consumer: where its reader begins, and the user records at that place that are done already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) from: StartingPosition,
    pub(super) done: Option<Done>,
}

/// Everything up to and including this user record is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    number: SequenceNumber,
    sub: u64,
}

impl Start {
    /// Resumes after the grant's checkpoint.
    ///
    /// A sequence number is read *again* and filtered, because the checkpoint may lie inside an aggregate. A sentinel stands for
    /// the time that was fixed with the lease; where another program created the lease, for what this worker was told.
    /// `None` when the shard is at its end.
    pub(super) fn of(grant: &Grant, configured: StartFrom) -> Option<Self> {
        let from = match (&grant.position, grant.started_at, configured) {
            (Position::ShardEnd, _, _) => return None,
            (Position::Sequence { number, sub }, _, _) => {
                let done = Some(Done { number: number.clone(), sub: *sub });
                return Some(Self {
                    from: StartingPosition::AtSequenceNumber(number.clone()),
                    done,
                });
            }
            (Position::TrimHorizon, _, _) => StartingPosition::TrimHorizon,
            (Position::Latest | Position::AtTimestamp, Some(time), _)
            | (Position::AtTimestamp, None, StartFrom::Timestamp(time)) => {
                StartingPosition::AtTimestamp(time)
            }
            (Position::Latest, None, _) => StartingPosition::Latest,
            // Nobody knows the time any more: repeating records is right, skipping them is not.
            (Position::AtTimestamp, None, StartFrom::TrimHorizon | StartFrom::Latest) => {
                StartingPosition::TrimHorizon
            }
        };
        Some(Self { from, done: None })
    }
}

impl Done {
    /// Whether `record` was done before this consumer began.
    pub(super) fn covers(&self, record: &Record) -> bool {
        let at = (record.sequence_number(), record.sub_sequence_number());
        at <= (&self.number, self.sub)
    }
}
