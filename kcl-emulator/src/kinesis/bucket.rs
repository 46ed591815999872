//! A token bucket that may go into debt.

use super::time::Time;

const SECOND: u64 = 1_000_000_000;

/// `rate` tokens a second, of which one second's worth can be saved up.
///
/// Kept as the time at which the debt would be paid: a full bucket paid it a second ago or earlier.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    rate: u64,
    paid_at: u64,
}

impl Bucket {
    pub(super) fn full(rate: u64) -> Self {
        Self { rate, paid_at: 0 }
    }

    /// Whether there is anything left: the rule for work whose price is known only afterwards.
    pub(super) fn has_any(&self, now: Time) -> bool {
        self.paid_at < now.nanos().saturating_add(SECOND)
    }

    /// When [`Bucket::has_any`] holds again.
    pub(super) fn has_any_at(&self) -> Time {
        Time::from_nanos((self.paid_at + 1).saturating_sub(SECOND))
    }

    /// Whether `tokens` are there. A full bucket also grants more than it holds, on credit.
    pub(super) fn has(&self, now: Time, tokens: u64) -> bool {
        self.paid_at <= now.nanos()
            || self.paid_at.saturating_add(self.price(tokens)) <= now.nanos().saturating_add(SECOND)
    }

    /// Takes `tokens`, whether or not they are there.
    pub(super) fn take(&mut self, now: Time, tokens: u64) {
        self.paid_at = self.paid_at.max(now.nanos()).saturating_add(self.price(tokens));
    }

    fn price(&self, tokens: u64) -> u64 {
        u64::try_from(u128::from(tokens) * u128::from(SECOND) / u128::from(self.rate))
            .unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(millis: u64) -> Time {
        (UNIX_EPOCH + Duration::from_secs(1000) + Duration::from_millis(millis)).into()
    }

    #[test]
    fn five_calls_a_second() {
        let mut bucket = Bucket::full(5);
        let granted = |bucket: &mut Bucket, millis| {
            let granted = bucket.has(at(millis), 1);
            if granted {
                bucket.take(at(millis), 1);
            }
            granted
        };
        for _ in 0..5 {
            assert!(granted(&mut bucket, 0));
        }
        assert!(!granted(&mut bucket, 0));
        assert!(!granted(&mut bucket, 199));
        assert!(granted(&mut bucket, 200));
        assert!(!granted(&mut bucket, 399));
    }

    #[test]
    fn a_large_reply_is_paid_for_by_silence() {
        const MIB: u64 = 1 << 20;
        let mut bucket = Bucket::full(2 * MIB);
        bucket.take(at(0), 10 * MIB);
        assert!(!bucket.has_any(at(4000)));
        assert!(bucket.has_any(bucket.has_any_at()) && bucket.has_any_at() > at(4000));
        assert!(bucket.has_any(at(4001)));
        bucket.take(at(4001), 10 * MIB);
        assert!(!bucket.has_any(at(9000)));
        assert!(bucket.has_any(at(9001)));
    }

    #[test]
    fn a_full_bucket_grants_more_than_it_holds() {
        let mut bucket = Bucket::full(1 << 20);
        assert!(bucket.has(at(0), 10 << 20));
        bucket.take(at(0), 10 << 20);
        assert!(!bucket.has(at(8_999), 1));
        assert!(bucket.has(at(9_001), 1));
    }
}
