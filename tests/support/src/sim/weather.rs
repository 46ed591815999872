//! Which calls go wrong, and how: drawn from the seed, and ended by healing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::history::Life;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives, takes effect, and is answered.
    Clear,
    /// Refused without effect: too many.
    Throttled,
    /// Fails without effect.
    Before,
    /// Takes effect, and the answer is an error.
    After,
    /// Never arrives, never answered.
    HangBefore,
    /// Takes effect, never answered.
    HangAfter,
    /// On its way for so long; takes effect also when the caller has given up or died.
    Late(Duration),
}

/// Which service a call goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Store,
    Kinesis,
}

/// Chances in thousandths.
#[derive(Debug, Clone, Copy, Default)]
struct Chances {
    throttled: u32,
    before: u32,
    after: u32,
    hang: u32,
    late: u32,
}

/// What a processor's call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Slow(Duration),
    Fails,
    Panics,
    Hangs,
}

/// The weather of a run. All chance in calls comes from here.
#[derive(Debug)]
pub(crate) struct Weather(Mutex<State>);

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    healed: bool,
    store: Chances,
    kinesis: Chances,
    moods: (u32, u32, u32, u32),
    staleness: Duration,
    oddities: u32,
    outages: Vec<(Option<u32>, Service, Duration)>,
}

impl Weather {
    pub(crate) fn new(mut rng: fastrand::Rng) -> Self {
        let calm = rng.u32(0..8) == 0;
        let mut chance = |most: u32| {
            if calm || rng.bool() { 0 } else { rng.u32(0..=most) }
        };
        let mut chances = || Chances {
            throttled: chance(150),
            before: chance(80),
            after: chance(80),
            hang: chance(20),
            late: chance(30),
        };
        let (store, kinesis) = (chances(), chances());
        let moods = (chance(200), chance(80), chance(40), chance(5));
        let oddities = chance(30);
        let staleness = Duration::from_millis(rng.u64(0..4) * 500);
        let outages = Vec::new();
        let rng = rng.fork();
        Self(Mutex::new(State {
            rng,
            healed: false,
            store,
            kinesis,
            moods,
            staleness,
            oddities,
            outages,
        }))
    }

    /// From now on every call is clear.
    pub(crate) fn heal(&self) {
        self.lock().healed = true;
    }

    /// `service` answers nobody, or one worker not, until then.
    pub(crate) fn outage(&self, worker: Option<u32>, service: Service, until: Duration) {
        self.lock().outages.push((worker, service, until));
    }

    /// A span between `from` and `to` milliseconds.
    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.lock().rng.u64(from..=to))
    }

    pub(crate) fn fate(&self, life: Life, service: Service, now: Duration) -> Fate {
        let mut state = self.lock();
        if state.healed {
            return Fate::Clear;
        }
        let out = |(worker, which, until): &(Option<u32>, Service, Duration)| {
            *which == service && now < *until && worker.is_none_or(|worker| worker == life.worker)
        };
        if state.outages.iter().any(out) {
            return if state.rng.u32(0..4) == 0 { Fate::HangBefore } else { Fate::Before };
        }
        let chances = match service {
            Service::Store => state.store,
            Service::Kinesis => state.kinesis,
        };
        let draw = state.rng.u32(0..1000);
        let mut bound = 0;
        let mut hit = |chance: u32| {
            bound += chance;
            draw < bound
        };
        if hit(chances.throttled) {
            return Fate::Throttled;
        }
        if hit(chances.before) {
            return Fate::Before;
        }
        if hit(chances.after) {
            return Fate::After;
        }
        if hit(chances.hang) {
            return if state.rng.bool() { Fate::HangBefore } else { Fate::HangAfter };
        }
        if hit(chances.late) {
            return Fate::Late(Duration::from_millis(state.rng.u64(50..12_000)));
        }
        Fate::Clear
    }

    pub(crate) fn mood(&self) -> Mood {
        let mut state = self.lock();
        if state.healed {
            return Mood::Good;
        }
        let (slow, fails, panics, hangs) = state.moods;
        let draw = state.rng.u32(0..1000);
        if draw < hangs {
            Mood::Hangs
        } else if draw < hangs + panics {
            Mood::Panics
        } else if draw < hangs + panics + fails {
            Mood::Fails
        } else if draw < hangs + panics + fails + slow {
            let most = [300, 3_000, 20_000][state.rng.usize(0..3)];
            Mood::Slow(Duration::from_millis(state.rng.u64(1..most)))
        } else {
            Mood::Good
        }
    }

    /// How old what a scan shows of one lease is.
    pub(crate) fn age(&self) -> Duration {
        let mut state = self.lock();
        let most = state.staleness.as_millis() as u64;
        Duration::from_millis(state.rng.u64(0..=most))
    }

    /// Whether Kinesis answers something strange now.
    pub(crate) fn odd(&self) -> bool {
        let mut state = self.lock();
        let oddities = state.oddities;
        !state.healed && state.rng.u32(0..1000) < oddities
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
