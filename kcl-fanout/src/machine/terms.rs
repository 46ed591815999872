//! What goes into the machine and comes out of it.

use std::time::Instant;

use kcl_core::kinesis::ApiErrorKind;
use kcl_core::retrieval::Finding;
use kcl_core::{ChildShard, SequenceNumber, StartingPosition};

/// Which subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Epoch(pub(super) u64);

/// What the executor does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Waits.
    Wait(Instant),
    /// SubscribeToShard, as the consumer that the registry names.
    Subscribe(StartingPosition),
    /// Waits for the next event, until then.
    Listen(Instant),
    /// DescribeStreamSummary and ListShards: is it still the same stream, and what about the shard?
    Confirm,
    /// Tells the caller that the shard has ended.
    End(Vec<ChildShard>),
}

/// What came of a command.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A subscription, which has the next epoch.
    Subscribed,
    /// None: the call failed, or there is no consumer to call as.
    Refused(ApiErrorKind),
    /// An event of a subscription, whose records the caller gets.
    Received(Epoch, Received),
    /// Part of an event of a subscription came.
    Stirred(Epoch),
    /// A subscription's stream ended in order.
    Ended(Epoch),
    /// A subscription's stream broke.
    Broke(Epoch, ApiErrorKind),
    /// Nothing came in time; the subscription was dropped.
    Silent(Epoch),
    /// A subscription was dropped because its events were not taken.
    Slow(Epoch),
    /// The stream is the same, or not; then the shard counts as absent.
    Confirmed(Finding),
    /// Unknown.
    ConfirmFailed(ApiErrorKind),
}

/// What the machine needs to know of an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    /// The last record, also if it is a repeat.
    pub(crate) last: Option<SequenceNumber>,
    /// Where to go on; the SDK's empty string is `None`.
    pub(crate) continuation: Option<SequenceNumber>,
    /// All children, or none.
    pub(crate) children: Vec<ChildShard>,
}

/// What the executor tells people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// Calls have begun to fail.
    Failing,
    /// Another subscription of the same consumer takes the shard again and again.
    Contested,
    /// They succeed again, after so many failures.
    Recovered(u32),
    /// Records after this position have expired; going on with what is left.
    RecordsLost(StartingPosition),
    /// Neither shard nor children are there: the shard cannot be read on.
    Gone,
}
