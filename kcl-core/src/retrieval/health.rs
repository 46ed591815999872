//! How a reader fares, while it is asked for records and cannot be asked anything else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How a reader fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Since when nothing has come through; `None` while reads work.
    pub failing_since: Option<Instant>,
    /// Others read the shard too, and leave it less than three quarters of its limits.
    pub crowded: bool,
    /// The shard is listed as closed, and what is left of it does not come this way.
    pub cut_short: bool,
}

/// Where a reader says how it fares, for whoever chooses between ways of reading. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HealthReport(Arc<Mutex<Health>>);

impl HealthReport {
    /// What was said last; well, before anything was.
    #[must_use]
    pub fn get(&self) -> Health {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says it.
    pub fn tell(&self, health: Health) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}
