//! What happens when a processor fails.

use std::time::Duration;

use crate::Backoff;

/// What happens when a processor returns `Err`, panics, or exceeds the time limit.
///
/// The same batch is delivered again, after a backoff; no record is ever passed over. After the last attempt the shard is
/// *halted*: its lease is freed without moving the checkpoint, this worker does not take it again while it runs, and log,
/// metric and observer say so. The other shards go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailurePolicy {
    pub(crate) attempts: Option<u32>,
    pub(crate) backoff: Backoff,
    pub(crate) time_limit: Option<Duration>,
}

impl FailurePolicy {
    /// Halt after `attempts` deliveries of the same batch; at least 1.
    #[must_use]
    pub const fn attempts(attempts: u32) -> Self {
        let attempts = if attempts == 0 { 1 } else { attempts };
        Self { attempts: Some(attempts), ..Self::forever() }
    }

    /// Never halt: deliver the batch again for as long as it fails.
    #[must_use]
    pub const fn forever() -> Self {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        Self { attempts: None, backoff, time_limit: None }
    }

    /// Wait between attempts from `base` up to `cap`, doubling with jitter. Default: 100 ms up to 30 s.
    #[must_use]
    pub const fn backoff(self, base: Duration, cap: Duration) -> Self {
        Self { backoff: Backoff::new(base, cap), ..self }
    }

    /// A call that takes longer counts as failed, and its future is dropped. Default: no limit; a call that hangs is
    /// reported, but only its own shard waits for it.
    #[must_use]
    pub const fn time_limit(self, limit: Duration) -> Self {
        Self { time_limit: Some(limit), ..self }
    }
}

impl Default for FailurePolicy {
    /// 30 attempts, which with the default backoff is about ten minutes.
    fn default() -> Self {
        Self::attempts(30)
    }
}
