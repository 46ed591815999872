//! What the tests of this crate share.

use std::time::{Instant, SystemTime};

use kcl_core::Clock;

use crate::{Lease, LeaseKey};

pub(crate) fn key(shard: &str) -> LeaseKey {
    LeaseKey::single(shard.parse().unwrap())
}

/// A lease at `TRIM_HORIZON`; an empty owner means that it is free.
pub(crate) fn lease(shard: &str, owner: &str, counter: u64) -> Lease {
    Lease {
        owner: (!owner.is_empty()).then(|| owner.parse().unwrap()),
        counter,
        ..Lease::new(key(shard), kcl_core::Position::TrimHorizon)
    }
}

/// Some instant, with a past before it.
pub(crate) fn start() -> Instant {
    Clock::starting_at(SystemTime::UNIX_EPOCH).now() + std::time::Duration::from_secs(1_000)
}
