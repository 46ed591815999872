//! When the next call for a shard may start.

use std::time::{Duration, Instant};

use kcl_core::Backoff;

/// Between failed calls.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// After a refusal for another subscription, which has the shard for itself for five seconds at most: for so long the calls are
/// a second apart, so that a shard that changes its owner is read again soon.
const REFUSED: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));

/// After another subscription took the shard from this one: two owners that fight leave each other longer and longer turns,
/// until the lease of one is lost.
const EVICTED: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(40));

/// One call a second for each consumer and shard (SubscribeToShard, API reference), and some time by which calls differ in how
/// long they take to arrive.
const CALL_INTERVAL: Duration = Duration::from_millis(1050);

/// A call within five seconds of a successful one is refused (SubscribeToShard, API reference).
const EXCLUSIVE: Duration = Duration::from_millis(5050);

/// A subscription lives for five minutes; one that ends much sooner did not end by age.
const FULL_LIFE: Duration = Duration::from_secs(240);

/// A subscription that lasted so long ends a fight.
const PEACE: Duration = Duration::from_secs(60);

/// Something is worth a word when it happened so often in a row: single ones are daily business.
const LOUD: u32 = 3;

/// Keeps one reader within AWS's limits, and apart from others that want its shard.
///
/// - Calls: a second apart, and five seconds from one that succeeded, whatever became of its subscription.
/// - Failures: exponential backoff, up to the next event.
/// - Other subscriptions: after a refusal, each second, for as long as the other one may have the shard for itself. After an
///   eviction, longer each time. An eviction is a subscription that ended for another one, or one that ended too soon and whose
///   successor is refused: AWS lets the earlier one end in order, or fail.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The start of the newest call.
    called: Option<Instant>,
    /// When the newest subscription was there.
    subscribed: Option<Instant>,
    not_before: Option<Instant>,
    /// Failed calls and broken subscriptions since the last event, of any kind.
    failures: u32,
    /// Refusals for another subscription since the last event.
    refusals: u32,
    /// How often another subscription took the shard, without peace in between.
    evictions: u32,
    /// Whether the newest subscription ended in order but too soon.
    ended_early: bool,
}

impl Pace {
    /// The earliest start of the next SubscribeToShard; `None` means any time.
    pub(crate) fn may_subscribe(&self) -> Option<Instant> {
        let paced = self.called.map(|called| called + CALL_INTERVAL);
        let free = self.subscribed.map(|subscribed| subscribed + EXCLUSIVE);
        self.not_before.max(paced).max(free)
    }

    /// The earliest start of any other call.
    pub(crate) fn may_ask(&self) -> Option<Instant> {
        self.not_before
    }

    /// A SubscribeToShard starts.
    pub(crate) fn called(&mut self, now: Instant) {
        self.called = Some(now);
    }

    /// It succeeded.
    pub(crate) fn subscribed(&mut self, now: Instant) {
        self.subscribed = Some(now);
        self.ended_early = false;
        self.not_before = None;
    }

    /// An event came. How many failures it ends.
    pub(crate) fn heard(&mut self, now: Instant) -> u32 {
        self.refusals = 0;
        if self.lasted(now) >= PEACE {
            self.evictions = 0;
        }
        std::mem::take(&mut self.failures)
    }

    /// The subscription ended in order.
    pub(crate) fn ended(&mut self, now: Instant) {
        self.ended_early = self.lasted(now) < FULL_LIFE;
    }

    /// The newest call was refused for another subscription.
    pub(crate) fn refused(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        if std::mem::take(&mut self.ended_early) {
            self.evicted(now, rng);
            return;
        }
        self.not_before = Some(now + REFUSED.delay(self.refusals, rng));
        self.refusals = self.refusals.saturating_add(1);
    }

    /// Another subscription took the shard.
    pub(crate) fn evicted(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        self.not_before = Some(now + EVICTED.delay(self.evictions, rng));
        self.evictions = self.evictions.saturating_add(1);
    }

    /// Something else went wrong.
    pub(crate) fn failed(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        self.not_before = Some(now + BACKOFF.delay(self.failures, rng));
        self.failures = self.failures.saturating_add(1);
    }

    /// Whether others take the shard more than once in a while. A change of owner has a few refusals.
    pub(crate) fn fights(&self) -> bool {
        self.evictions.saturating_add(self.refusals / 2) >= LOUD
    }

    /// Whether failures follow one another.
    pub(crate) fn is_streak(&self) -> bool {
        self.failures >= LOUD
    }

    fn lasted(&self, now: Instant) -> Duration {
        self.subscribed.map_or(Duration::ZERO, |subscribed| now - subscribed)
    }
}
