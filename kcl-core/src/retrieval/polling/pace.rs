//! When the next call to a shard may start.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Added to the one-second window, because calls do not all take the same time to arrive.
const MARGIN: Duration = Duration::from_millis(20);

/// A throttled reader never goes below this share of its pace.
const MIN_SHARE: f64 = 1.0 / 16.0;

/// What a good reply wins back of the share.
const SHARE_STEP: f64 = 1.0 / 32.0;

/// The pace of a reader that has the shard for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) calls_per_second: u32,
    pub(super) bytes_per_second: u64,
}

/// Keeps one reader within its limits, and its limits within what others leave.
///
/// - Calls: at most `calls_per_second` starts in any second, by the starts of the newest calls.
/// - Bytes: each reply pushes the next call back by what its bytes cost at `bytes_per_second`, so that 10 MiB cost 5 s.
/// - Share: a throttled call says that others read the shard too. It halves the share of both limits, once for all
///   throttled calls up to the next reply, and each reply adds a little (additive increase, multiplicative
///   decrease: consumers converge on equal shares without talking).
#[derive(Debug)]
pub(super) struct Pace {
    limits: Option<Limits>,
    /// The starts of the newest calls, oldest first, at most `calls_per_second` of them.
    calls: VecDeque<Instant>,
    /// When the bytes that were read are paid for.
    paid_at: Option<Instant>,
    /// Of the limits, `MIN_SHARE` to 1.
    share: f64,
    /// Whether the share was halved since the newest reply.
    halved: bool,
}

impl Pace {
    /// No limits means no pace.
    pub(super) fn new(limits: Option<Limits>) -> Self {
        Self { limits, calls: VecDeque::new(), paid_at: None, share: 1.0, halved: false }
    }

    /// The earliest start of the next call; `None` means any time.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        let Limits { calls_per_second, .. } = self.limits?;
        let full = self.calls.len() >= calls_per_second as usize;
        let window = self
            .calls
            .front()
            .filter(|_| full)
            .map(|oldest| *oldest + Duration::from_secs(1) + MARGIN);
        let spacing = Duration::from_secs_f64(1.0 / (f64::from(calls_per_second) * self.share));
        let shared = self.calls.back().filter(|_| self.share < 1.0).map(|newest| *newest + spacing);
        window.max(shared).max(self.paid_at)
    }

    /// The start of the newest call.
    pub(super) fn last_call(&self) -> Option<Instant> {
        self.calls.back().copied()
    }

    /// A call starts.
    pub(super) fn called(&mut self, now: Instant) {
        let kept = self.limits.map_or(1, |limits| limits.calls_per_second) as usize;
        while self.calls.len() >= kept {
            self.calls.pop_front();
        }
        self.calls.push_back(now);
    }

    /// The newest call brought `bytes`.
    pub(super) fn read(&mut self, bytes: usize) {
        if let (Some(limits), Some(started)) = (self.limits, self.last_call()) {
            let rate = limits.bytes_per_second as f64 * self.share;
            let cost = Duration::from_secs_f64(bytes as f64 / rate);
            self.paid_at = Some(self.paid_at.map_or(started, |paid| paid.max(started)) + cost);
        }
        self.share = (self.share + SHARE_STEP).min(1.0);
        self.halved = false;
    }

    /// Whether others leave less than three quarters of the limits.
    pub(super) fn is_crowded(&self) -> bool {
        self.share < 0.75
    }

    /// The newest call was throttled.
    pub(super) fn throttled(&mut self) {
        if !std::mem::replace(&mut self.halved, true) {
            self.share = (self.share / 2.0).max(MIN_SHARE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;
    use proptest::prelude::*;

    const MIB: usize = 1024 * 1024;

    fn aws() -> Pace {
        Pace::new(Some(Limits { calls_per_second: 5, bytes_per_second: 2 * MIB as u64 }))
    }

    /// Calls as early as it may, and says when, in ms since the first one.
    fn starts(pace: &mut Pace, replies: &[Option<usize>]) -> Vec<u128> {
        let begin = Clock::system().now();
        let mut now = begin;
        let mut starts = Vec::new();
        for reply in replies {
            now = pace.ready_at().map_or(now, |ready| ready.max(now));
            pace.called(now);
            starts.push((now - begin).as_millis());
            match reply {
                Some(bytes) => pace.read(*bytes),
                None => pace.throttled(),
            }
        }
        starts
    }

    #[test]
    fn starts_follow_calls_bytes_and_throttles() {
        type Row = (&'static str, &'static [Option<usize>], &'static [u128]);
        let table: [Row; 5] = [
            (
                "empty replies: five at once, then a second of rest",
                &[Some(0); 7],
                &[0, 0, 0, 0, 0, 1020, 1020],
            ),
            ("10 MiB cost 5 s", &[Some(10 * MIB), Some(10 * MIB), Some(0)], &[0, 5000, 10_000]),
            (
                "half a MiB costs a quarter of a second",
                &[Some(MIB / 2), Some(MIB / 2), Some(0)],
                &[0, 250, 500],
            ),
            (
                "throttles in a row double the spacing once",
                &[None, None, None, None],
                &[0, 400, 800, 1200],
            ),
            ("good replies win it back", &[None, Some(0), Some(0), Some(0)], &[0, 400, 776, 1132]),
        ];
        for (what, replies, expected) in table {
            assert_eq!(starts(&mut aws(), replies), expected, "{what}");
        }
    }

    #[test]
    fn a_share_recovers_fully() {
        let mut pace = aws();
        starts(&mut pace, &[None, Some(0)].repeat(20));
        assert!((MIN_SHARE..=MIN_SHARE + 2.0 * SHARE_STEP).contains(&pace.share));
        starts(&mut pace, &[Some(0); 30]);
        assert_eq!(pace.share, 1.0);
    }

    #[test]
    fn no_limits_no_pace() {
        let mut pace = Pace::new(None);
        assert_eq!(starts(&mut pace, &[Some(10 * MIB); 100]), [0; 100]);
        assert_eq!(pace.calls.len(), 1);
    }

    proptest! {
        /// S17, and the bytes: whatever the replies, no window of a second has more than five starts, and what was read
        /// never runs ahead of 2 MiB a second by more than the newest reply.
        #[test]
        fn limits_hold(replies in prop::collection::vec(prop::option::weighted(0.8, 0..10 * MIB), 1..200)) {
            let starts = starts(&mut aws(), &replies);
            for six in starts.windows(6) {
                prop_assert!(six[5] - six[0] > 1000, "{six:?}");
            }
            let mut read = 0;
            for (start, reply) in starts.iter().zip(&replies) {
                // Starts are rounded down to a millisecond.
                prop_assert!(read as f64 <= (start + 1) as f64 / 1000.0 * 2.0 * MIB as f64);
                read += reply.unwrap_or(0);
            }
        }
    }
}
