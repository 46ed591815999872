//! Which checkpoints of a shard are admissible: after the last one, and not past what was delivered.

use crate::Position;
use crate::leasing::CheckpointError;

/// The two ends between which a checkpoint of one consumer may lie. Both only move forward.
#[derive(Debug, Clone)]
pub(crate) struct Tracker {
    committed: Position,
    delivered: Position,
}

impl Tracker {
    /// A consumer that resumes after `position`.
    pub(crate) fn new(position: Position) -> Self {
        Self { committed: position.clone(), delivered: position }
    }

    /// Everything up to `position` was handed to the processor.
    pub(crate) fn deliver(&mut self, position: Position) {
        if position > self.delivered {
            self.delivered = position;
        }
    }

    /// A batch failed, so what it brought is not delivered: back to `position`, but never before the last checkpoint.
    pub(crate) fn retract(&mut self, position: Position) {
        self.delivered = position.max(self.committed.clone());
    }

    /// Everything up to `position` is durable, or will be with the next renewal.
    pub(crate) fn commit(&mut self, position: Position) {
        if position > self.committed {
            self.committed = position;
        }
    }

    /// The newest position that may be checkpointed.
    pub(crate) fn delivered(&self) -> &Position {
        &self.delivered
    }

    /// Whether `wanted` may be written.
    ///
    /// # Errors
    /// [`CheckpointError::Backward`] before the last checkpoint, [`CheckpointError::NotDelivered`] past the delivered
    /// records.
    pub(crate) fn admit(&self, wanted: &Position) -> Result<(), CheckpointError> {
        if *wanted < self.committed {
            let (last, wanted) = (self.committed.clone(), wanted.clone());
            return Err(CheckpointError::Backward { last, wanted });
        }
        if *wanted > self.delivered {
            let (delivered, wanted) = (self.delivered.clone(), wanted.clone());
            return Err(CheckpointError::NotDelivered { delivered, wanted });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(number: u64) -> Position {
        Position::at(number.to_string().parse().unwrap(), 0)
    }

    #[test]
    fn a_checkpoint_lies_between_the_last_one_and_the_delivered_records() {
        let mut tracker = Tracker::new(Position::TrimHorizon);
        assert!(matches!(tracker.admit(&at(1)), Err(CheckpointError::NotDelivered { .. })));
        tracker.deliver(at(9));
        assert!(tracker.admit(&at(9)).is_ok());
        tracker.commit(at(5));
        assert!(tracker.admit(&at(5)).is_ok(), "the same checkpoint again is no error");
        assert!(matches!(tracker.admit(&at(4)), Err(CheckpointError::Backward { .. })));
        assert!(matches!(tracker.admit(&Position::Latest), Err(CheckpointError::Backward { .. })));
        assert!(matches!(
            tracker.admit(&Position::ShardEnd),
            Err(CheckpointError::NotDelivered { .. })
        ));
    }

    /// The processor hands 4 to 9 to tasks of its own, and each checkpoints when it is done.
    #[test]
    fn c7_work_that_ends_out_of_order_takes_no_checkpoint_back() {
        for order in [[4, 7, 9], [9, 7, 4], [7, 9, 4], [7, 4, 9]] {
            let mut tracker = Tracker::new(at(3));
            tracker.deliver(at(9));
            let mut last = 3;
            for ended in order {
                let admitted = tracker.admit(&at(ended)).is_ok();
                assert_eq!(admitted, ended > last, "{ended} of {order:?}");
                // Also an answer to an older write, that comes late, takes nothing back.
                tracker.commit(at(ended));
                last = ended.max(last);
                assert!(tracker.admit(&at(last - 1)).is_err(), "{ended} of {order:?}");
            }
        }
    }

    #[test]
    fn a_failed_batch_cannot_be_checkpointed() {
        let mut tracker = Tracker::new(at(3));
        tracker.deliver(at(9));
        tracker.retract(at(3));
        assert!(matches!(tracker.admit(&at(9)), Err(CheckpointError::NotDelivered { .. })));
        tracker.deliver(at(9));
        tracker.commit(at(5));
        tracker.retract(at(3));
        assert_eq!(*tracker.delivered(), at(5));
    }

    proptest! {
        /// S2 and S3 of the invariants: never past the delivered records, never backward.
        #[test]
        fn admitted_checkpoints_only_grow(steps in prop::collection::vec((0_u64..50, any::<bool>()), 0..60)) {
            let mut tracker = Tracker::new(Position::TrimHorizon);
            let (mut delivered, mut last) = (Position::TrimHorizon, Position::TrimHorizon);
            for (number, deliver) in steps {
                if deliver {
                    tracker.deliver(at(number));
                    delivered = delivered.max(at(number));
                } else if tracker.admit(&at(number)).is_ok() {
                    prop_assert!(last <= at(number) && at(number) <= delivered);
                    last = at(number);
                    tracker.commit(at(number));
                }
            }
        }
    }
}
