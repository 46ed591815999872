//! What a keeper was asked for and has not begun, and its pauses after failures.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kcl_core::leasing::PendingCheckpoint;
use kcl_core::{Backoff, Position, ShardId};

use super::words::Freed;
use crate::Lease;

/// What was asked for and is in no attempt yet.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Asked<R> {
    pub(super) position: Option<Position>,
    pub(super) pending: Option<PendingCheckpoint>,
    /// Who waits for the position or the announcement.
    pub(super) waiters: Vec<R>,
    pub(super) end: Option<End<R>>,
    pub(super) free: Option<(Freed, Vec<R>)>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct End<R> {
    /// Children whose leases are not known to exist.
    pub(super) missing: Vec<Lease>,
    pub(super) children: BTreeSet<ShardId>,
    pub(super) waiters: Vec<R>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Pause {
    pub(super) backoff: Backoff,
    pub(super) failures: u32,
    pub(super) over: Option<Instant>,
}

impl<R> Default for Asked<R> {
    fn default() -> Self {
        Self { position: None, pending: None, waiters: Vec::new(), end: None, free: None }
    }
}

impl Pause {
    pub(super) fn new(renew_interval: Duration) -> Self {
        let base = (renew_interval / 8).min(FIRST_PAUSE);
        Self { backoff: Backoff::new(base, renew_interval / 4), failures: 0, over: None }
    }

    pub(super) fn begin(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        self.over = Some(now + self.backoff.delay(self.failures, rng));
        self.failures += 1;
    }

    pub(super) fn end(&mut self) {
        self.over = None;
        self.failures = 0;
    }
}

/// The longest first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
