//! The emulator's only reader of time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::TimeSource;
use tokio::time::Instant;

/// Wall-clock time as a base plus what tokio's clock has moved since.
///
/// Under a paused tokio clock it stands still until a timer moves it, so iterator expiry, retention and rate limits
/// run in virtual time. Read outside a tokio runtime it follows the machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct EmulatorClock {
    base: SystemTime,
    origin: Instant,
}

impl EmulatorClock {
    /// Starts at the machine's present time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the crate's only reader of time")]
    pub fn system() -> Self {
        Self::starting_at(SystemTime::now())
    }

    /// Reads `base` now and moves on from there. A fixed base makes timestamps the same in every run.
    #[must_use]
    pub fn starting_at(base: SystemTime) -> Self {
        Self { base, origin: tokio_now() }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.base + tokio_now().saturating_duration_since(self.origin)
    }
}

impl Default for EmulatorClock {
    fn default() -> Self {
        Self::system()
    }
}

/// Lets the SDK sign and retry by the same clock.
impl TimeSource for EmulatorClock {
    fn now(&self) -> SystemTime {
        EmulatorClock::now(self)
    }
}

/// DynamoDB's stamps come from the same clock.
impl dynoxide::storage_backend::Clock for EmulatorClock {
    fn now_unix_secs(&self) -> u64 {
        since_epoch(self.now()).as_secs()
    }

    fn now_unix_secs_f64(&self) -> f64 {
        since_epoch(self.now()).as_secs_f64()
    }
}

/// Time since 1970; nought before.
pub(crate) fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "this is the crate's only reader of time")]
fn tokio_now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_moves_only_with_tokio() {
        let base = UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = EmulatorClock::starting_at(base);
        assert_eq!(clock.now(), base);
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(clock.now(), base + Duration::from_secs(300));
    }
}
