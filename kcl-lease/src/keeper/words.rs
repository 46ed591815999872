//! What a keeper can be asked for, what it does, and how it ends.

use kcl_core::Position;
use kcl_core::leasing::{CheckpointError, PendingCheckpoint, Release};
use std::time::Instant;

use crate::store::Change;
use crate::{Fence, Lease};

/// What a keeper can be asked for.
#[derive(Debug)]
pub(super) enum Request {
    Checkpoint(Position),
    Prepare(PendingCheckpoint),
    /// Create these leases where they are missing, then end.
    End(Vec<Lease>),
    Free(Freed),
}

/// Where an answer goes, and the answer.
pub(super) type Answer<R> = (R, Result<(), CheckpointError>);

/// What to do now. Calls to the store are given up at `until`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Write {
        fence: Fence,
        change: Box<Change>,
        until: Instant,
    },
    ReadBack {
        until: Instant,
    },
    Create {
        child: Box<Lease>,
        until: Instant,
    },
    /// Nothing, unless something is asked for before.
    Wait {
        until: Instant,
    },
    Exit(Gone),
}

/// Why a lease is no longer kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Somebody else wrote; this is the lease now.
    Taken(Box<Lease>),
    /// It was deleted.
    Deleted,
    /// No renewal succeeded in time.
    Silent,
    /// The table was deleted.
    TableMissing,
    /// The shard was read to its end.
    Ended,
    /// Given up on purpose.
    Freed(Freed),
}

/// How a lease is given up on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freed {
    /// By its consumer, with the newest watermark.
    Released(Release),
    /// With the whole worker, while its consumer may still be at work: the checkpoint stays where it is.
    Left,
}

impl Freed {
    /// Whether the lease may go to the worker that asks for it: not
    /// where work may be under way, nor what has failed for good, nor by a worker that stops: who asks may have stopped too.
    pub(super) fn may_be_handed_over(self) -> bool {
        match self {
            Self::Released(Release::Wanted) => true,
            Self::Released(Release::Stopping | Release::Halted) | Self::Left => false,
        }
    }
}
