//! The only reader of time.

use std::time::{Duration, Instant, SystemTime};

/// Wall time as *base + elapsed monotonic time*, so that tokio's paused clock moves both.
///
/// Every decision in this library compares instants of this clock on this host. Wall time is only written down
/// (arrival and delivery times, the start of an application at `LATEST`), never compared with another host's.
#[derive(Debug, Clone)]
pub struct Clock {
    wall: SystemTime,
    base: tokio::time::Instant,
}

impl Clock {
    /// The host's clock as of now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the host's clock"
    )]
    pub fn system() -> Self {
        Self::starting_at(SystemTime::now())
    }

    /// A clock whose wall time begins at `wall` now: for tests, and for hosts with skewed clocks in simulations.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the host's clock"
    )]
    pub fn starting_at(wall: SystemTime) -> Self {
        Self { wall, base: tokio::time::Instant::now() }
    }

    /// The monotonic time.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the host's clock"
    )]
    pub fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// The wall time.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        self.wall + self.now().saturating_duration_since(self.base.into_std())
    }

    /// Waits for a span of time.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Waits until an instant; returns at once when it has passed.
    pub async fn sleep_until(&self, instant: Instant) {
        tokio::time::sleep_until(instant.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_moves_both_times() {
        let clock = Clock::starting_at(SystemTime::UNIX_EPOCH);
        let before = clock.now();
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now() - before, Duration::from_secs(3600));
        assert_eq!(clock.wall(), SystemTime::UNIX_EPOCH + Duration::from_secs(3600));
    }
}
