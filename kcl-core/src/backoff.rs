//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with equal jitter: half of the doubled span is certain, half is chance.
///
/// Attempt `n` (from 0) waits between `min(cap, base * 2^n) / 2` and `min(cap, base * 2^n)`. The certain half keeps a
/// lucky draw from becoming a retry storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// Starts at `base` and never waits longer than `cap`.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// Whether it never waits.
    pub(crate) fn is_zero(&self) -> bool {
        self.base.is_zero() || self.cap.is_zero()
    }

    /// The wait before retry number `attempt`, counted from 0.
    #[must_use]
    pub fn delay(&self, attempt: u32, rng: &mut fastrand::Rng) -> Duration {
        let span = self.base.saturating_mul(1_u32 << attempt.min(30)).min(self.cap);
        span / 2 + span.mul_f64(rng.f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_a_seed_replays_them() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let waits = |seed| -> Vec<Duration> {
            let mut rng = fastrand::Rng::with_seed(seed);
            (0..40).map(|attempt| backoff.delay(attempt, &mut rng)).collect()
        };
        for (attempt, wait) in waits(1).into_iter().enumerate() {
            let span = Duration::from_millis(100 << attempt.min(6)).min(Duration::from_secs(5));
            assert!(span / 2 <= wait && wait <= span, "{attempt}: {wait:?}");
        }
        assert_eq!(waits(2), waits(2));
        assert_ne!(waits(2), waits(3));
    }
}
