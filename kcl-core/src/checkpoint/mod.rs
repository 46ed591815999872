//! Checkpoints: what may be written, when the framework writes by itself, and the handle by which a processor does.

mod handle;
mod tracker;

use std::time::Duration;

pub use handle::{Checkpointer, PreparedCheckpoint};
pub(crate) use tracker::Tracker;

/// When progress becomes durable.
///
/// With the default, `Ok` from `process_records` means that the batch is done; the framework notes it at once and every
/// renewal of the lease (two fifths of the lease duration) makes it durable at no cost of its own. [`every`](Self::every)
/// and [`or_after`](Self::or_after) ask for earlier writes. After a crash, what was done since the last durable checkpoint
/// is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    pub(crate) automatic: bool,
    pub(crate) records: Option<u64>,
    pub(crate) interval: Option<Duration>,
}

impl Checkpoint {
    /// With the renewals of the lease: no writes of its own. The default.
    #[must_use]
    pub const fn with_renewals() -> Self {
        Self { automatic: true, records: None, interval: None }
    }

    /// Also as soon as `records` user records are done since the last write.
    #[must_use]
    pub const fn every(records: u64) -> Self {
        Self { automatic: true, records: Some(records), interval: None }
    }

    /// Also with the first batch that is done `interval` after the last write.
    #[must_use]
    pub const fn or_after(self, interval: Duration) -> Self {
        Self { interval: Some(interval), ..self }
    }

    /// Only where the processor calls its [`Checkpointer`]. `Ok` from `process_records` then means: go on, not: done.
    /// The end of a shard is still written by the framework, after `shard_ended` returned `Ok`.
    #[must_use]
    pub const fn manual() -> Self {
        Self { automatic: false, records: None, interval: None }
    }
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self::with_renewals()
    }
}
