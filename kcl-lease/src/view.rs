//! What this worker has observed of the leases, and when, on its own monotonic clock.
//!
//! A [`View`] is a fold of scans, which may be torn and a little stale, and of what single writes and consistent reads
//! showed. It answers one question for the planners: is the holder of this lease alive ([`Life`])? The evidence is one
//! implementation: a lease's own counter moves. Planners see only `Life`, so that other evidence can stand behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kcl_core::WorkerId;

use crate::store::Scan;
use crate::{Lease, LeaseKey};

/// All leases that this worker knows, and what it knows of their holders.
#[derive(Debug, Clone)]
pub(crate) struct View {
    duration: Duration,
    leases: BTreeMap<LeaseKey, Observed>,
}

/// Whether a lease's holder is alive, as far as this worker has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Nobody holds it, as first seen at this time.
    Free(Instant),
    /// Held, and its holder gave a sign of life less than a lease duration ago.
    Live,
    /// Held, without a sign of life; it counts as free since this time.
    Expired(Instant),
}

#[derive(Debug, Clone)]
struct Observed {
    lease: Lease,
    /// Since when a lease has been seen under its key.
    since: Instant,
    /// When its counter was last seen to change, or first seen.
    moved: Instant,
    /// Since when it has been asked for by the same worker, or not asked for.
    asked: Instant,
    /// When this state was last confirmed.
    confirmed: Instant,
    /// True once the counter was seen to change. Ended leases keep their owner's name for ever: only a change seen with
    /// own eyes makes it a sign of life.
    witnessed: bool,
}

impl View {
    /// An empty view in which a holder without a sign of life counts as dead after `duration`.
    pub(crate) fn new(duration: Duration) -> Self {
        let leases = BTreeMap::new();
        Self { duration, leases }
    }

    /// Folds in a scan that was begun at `started` and complete at `now`.
    ///
    /// A counter lower than a known one is an old state and is passed over, unless the scan began longer after that one was
    /// confirmed than scans are old: then the lease was deleted and made anew. A known lease that the scan does not show is
    /// gone, unless it was written after the scan began.
    pub(crate) fn fold_scan(&mut self, scan: Scan, started: Instant, now: Instant) {
        let mut shown = BTreeSet::new();
        for lease in scan.leases {
            shown.insert(lease.key.clone());
            let stale = self.leases.get(&lease.key).is_some_and(|known| {
                lease.counter < known.lease.counter
                    && started.saturating_duration_since(known.confirmed)
                        < OLDEST_SCAN.min(self.duration)
            });
            if !stale {
                self.observe(lease, now);
            }
        }
        self.leases.retain(|key, known| shown.contains(key) || known.confirmed >= started);
    }

    /// Folds in the present state of one lease, from a consistent read or an own write.
    pub(crate) fn observe(&mut self, lease: Lease, now: Instant) {
        let before = self.leases.get(&lease.key);
        let changed = before.is_some_and(|known| known.lease.counter != lease.counter);
        let (moved, witnessed) = match before {
            Some(known) if !changed => (known.moved, known.witnessed),
            Some(_) => (now, true),
            None => (now, false),
        };
        let since = before.map_or(now, |known| known.since);
        let same = before.filter(|known| known.lease.handoff_to == lease.handoff_to);
        let asked = same.map_or(now, |known| known.asked);
        let observed = Observed { lease, since, moved, asked, confirmed: now, witnessed };
        self.leases.insert(observed.lease.key.clone(), observed);
    }

    /// Forgets a lease that does not exist any more.
    pub(crate) fn remove(&mut self, key: &LeaseKey) {
        self.leases.remove(key);
    }

    /// Forgets the leases for which `of_interest` is false.
    pub(crate) fn retain(&mut self, of_interest: impl Fn(&LeaseKey) -> bool) {
        self.leases.retain(|key, _| of_interest(key));
    }

    pub(crate) fn get(&self, key: &LeaseKey) -> Option<&Lease> {
        self.leases.get(key).map(|known| &known.lease)
    }

    /// The worker to which a lease is on its way. After two lease durations a request counts no longer: who asked takes the lease
    /// after one, and so is gone.
    pub(crate) fn asker(&self, key: &LeaseKey, now: Instant) -> Option<&WorkerId> {
        let known = self.leases.get(key)?;
        known.lease.asker().filter(|_| now < known.asked + 2 * self.duration)
    }

    /// All leases in the order of their keys, and since when each is known.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&Lease, Instant)> {
        self.leases.values().map(|known| (&known.lease, known.since))
    }

    /// All leases in the order of their keys.
    pub(crate) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values().map(|known| &known.lease)
    }

    /// All leases in the order of their keys, with the state of their holders at `now`.
    pub(crate) fn judged(&self, now: Instant) -> impl Iterator<Item = (&Lease, Life)> {
        self.leases.values().map(move |known| (&known.lease, self.life(known, now)))
    }

    /// The workers that gave no sign of life for longer than a living one takes to renew, on any lease: they are about to expire.
    pub(crate) fn suspects(&self, now: Instant) -> BTreeSet<&WorkerId> {
        let mut signs: BTreeMap<&WorkerId, Instant> = BTreeMap::new();
        for known in self.leases.values() {
            if let Some(owner) = &known.lease.owner {
                let sign = signs.entry(owner).or_insert(known.moved);
                *sign = known.moved.max(*sign);
            }
        }
        let silence = self.duration * 7 / 10;
        signs.retain(|_, sign| *sign + silence <= now);
        signs.into_keys().collect()
    }

    /// The next instant at which a holder that is alive now counts as dead, unless it gives a sign of life before. Ended
    /// leases, and those for which `of_interest` is false, do not count.
    pub(crate) fn next_expiry(
        &self,
        now: Instant,
        of_interest: impl Fn(&Lease) -> bool,
    ) -> Option<Instant> {
        self.leases
            .values()
            .filter(|known| !known.lease.has_ended() && of_interest(&known.lease))
            .filter(|known| self.life(known, now) == Life::Live)
            .map(|known| known.moved + self.duration)
            .min()
    }

    fn life(&self, known: &Observed, now: Instant) -> Life {
        if known.lease.owner.is_none() {
            return Life::Free(known.moved);
        }
        let expiry = known.moved + self.duration;
        if expiry <= now || (known.lease.has_ended() && !known.witnessed) {
            return Life::Expired(expiry.min(now));
        }
        Life::Live
    }
}

/// No scan shows a state that was replaced longer ago. (DynamoDB: usually a second.)
const OLDEST_SCAN: Duration = Duration::from_secs(5);

#[cfg(test)]
impl View {
    /// How long a holder may be silent.
    pub(crate) fn lease_duration(&self) -> Duration {
        self.duration
    }

    /// Each lease, since when its counter stands still, and whether it was seen to move.
    pub(crate) fn stillness(&self) -> impl Iterator<Item = (&Lease, Instant, bool)> {
        self.leases.values().map(|known| (&known.lease, known.moved, known.witnessed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{key, lease, start};

    const TEN: Duration = Duration::from_secs(10);

    fn scan(leases: &[Lease]) -> Scan {
        let leases = leases.to_vec();
        Scan { leases, ..Scan::default() }
    }

    fn life(view: &View, shard: &str, now: Instant) -> Life {
        view.judged(now).find(|(lease, _)| lease.key == key(shard)).unwrap().1
    }

    /// Each row: what a scan shows of the lease at this second, and what the view then says of it.
    #[test]
    fn a_holder_is_dead_when_its_counter_stood_still_for_a_lease_duration() {
        let t0 = start();
        let at = |s: u64| t0 + Duration::from_secs(s);
        let table = [
            // second, owner, counter -> life
            (0, "bar", 5, Life::Live), // first sight of an owned lease counts as a sign of life
            (5, "bar", 5, Life::Live),
            (6, "bar", 6, Life::Live),
            (9, "bar", 4, Life::Live), // stale: passed over
            (15, "bar", 6, Life::Live),
            (16, "bar", 6, Life::Expired(at(16))),
            (20, "bar", 6, Life::Expired(at(16))),
            (21, "bar", 7, Life::Live), // it was only slow
            (22, "", 8, Life::Free(at(22))),
            (40, "", 8, Life::Free(at(22))),
        ];
        let mut view = View::new(TEN);
        for (second, owner, counter, expected) in table {
            let now = at(second);
            view.fold_scan(scan(&[lease("s", owner, counter)]), now, now);
            assert_eq!(life(&view, "s", now), expected, "at second {second}");
        }
    }

    #[test]
    fn the_next_expiry_is_the_instant_to_wake() {
        let (t0, mut view) = (start(), View::new(TEN));
        let second = Duration::from_secs(1);
        view.observe(lease("free", "", 0), t0);
        view.observe(lease("early", "bar", 1), t0);
        view.observe(lease("late", "bar", 1), t0 + second);
        view.observe(lease("mine", "me", 1), t0 - second);
        let others = |lease: &Lease| lease.owner != Some("me".parse().unwrap());
        assert_eq!(view.next_expiry(t0 + second, others), Some(t0 + TEN));
        assert_eq!(view.next_expiry(t0 + TEN, others), Some(t0 + TEN + second));
        assert_eq!(view.next_expiry(t0 + 2 * TEN, others), None);
    }

    #[test]
    fn a_scan_removes_what_it_does_not_show_but_not_what_was_written_since() {
        let (t0, mut view) = (start(), View::new(TEN));
        let second = Duration::from_secs(1);
        view.observe(lease("gone", "bar", 1), t0);
        view.observe(lease("new", "", 0), t0 + 2 * second);
        view.fold_scan(scan(&[]), t0 + second, t0 + 3 * second);
        assert!(view.get(&key("gone")).is_none());
        assert!(view.get(&key("new")).is_some());
    }

    #[test]
    fn a_lease_made_anew_under_a_known_key_is_believed_in_the_end() {
        let (t0, mut view) = (start(), View::new(TEN));
        let second = Duration::from_secs(1);
        view.observe(lease("s", "bar", 90), t0);
        for (began, counter) in [(t0, 90), (t0 + 4 * second, 90), (t0 + 5 * second, 3)] {
            view.fold_scan(scan(&[lease("s", "", 3)]), began, t0 + TEN);
            assert_eq!(view.get(&key("s")).unwrap().counter, counter);
        }
        // Once it was seen to be gone, its new life is believed at once.
        view.fold_scan(scan(&[]), t0 + 2 * TEN, t0 + 2 * TEN);
        view.fold_scan(scan(&[lease("s", "", 1)]), t0 + 2 * TEN, t0 + 2 * TEN);
        assert_eq!(view.get(&key("s")).unwrap().counter, 1);
    }

    #[test]
    fn the_name_on_an_ended_lease_is_no_sign_of_life_until_it_is_seen_to_move() {
        let (t0, mut view) = (start(), View::new(TEN));
        let ended = |counter| Lease {
            position: kcl_core::Position::ShardEnd,
            ..lease("s", "bar", counter)
        };
        view.observe(ended(7), t0);
        assert_eq!(life(&view, "s", t0), Life::Expired(t0));
        view.observe(ended(8), t0);
        assert_eq!(life(&view, "s", t0), Life::Live);
    }
}
