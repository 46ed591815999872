//! Which calls go wrong, and how: drawn from the seed, and ended by healing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::ShardId;
use tokio::sync::oneshot;

pub use super::climate::{Chances, Climate};
use super::history::Life;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
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
    /// Refused without effect: the credentials have expired.
    Expired,
    /// Refused without effect, and not to be tried again: the request is called invalid.
    Refused,
}

/// Which service a call goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The lease table.
    Store,
    /// Kinesis.
    Kinesis,
}

impl Service {
    /// The service that has this operation.
    #[must_use]
    pub fn of(operation: &str) -> Self {
        match operation {
            "Scan" | "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "DescribeTable"
            | "CreateTable" => Self::Store,
            _ => Self::Kinesis,
        }
    }
}

/// What a processor's call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It returns `Ok`.
    Good,
    /// It returns `Ok` after so long.
    Slow(Duration),
    /// It returns an error.
    Fails,
    /// It panics.
    Panics,
    /// It does not return.
    Hangs,
}

/// From the arrival of a late write until the lease table is silent.
const UNTIL_SILENCE: Duration = Duration::from_millis(300);

/// The weather of a run. All chance in calls comes from here, for each kind of chance from a generator of its own.
#[derive(Debug)]
pub(crate) struct Weather(Mutex<State>);

#[derive(Debug)]
struct State {
    climate: Climate,
    healed: bool,
    store: fastrand::Rng,
    kinesis: fastrand::Rng,
    moods: fastrand::Rng,
    delays: fastrand::Rng,
    outages: Vec<Outage>,
    next: Vec<(&'static str, Fate, u32)>,
    felt: Vec<(Mood, u32)>,
    poisoned: Option<(ShardId, Duration)>,
    /// Whose next write is late, how late, and how long the store is silent to that worker afterwards.
    late: Vec<(u32, Duration, Duration)>,
    /// Whose writes are refused, and until when.
    refused: Vec<(Life, Duration)>,
    /// Who wants to know of the next write of a process.
    listeners: Vec<(Life, oneshot::Sender<()>)>,
}

#[derive(Debug)]
struct Outage {
    /// `None`: from the beginning.
    from: Option<Duration>,
    /// Everybody, or one worker.
    worker: Option<u32>,
    /// `None`: both, for credentials that have expired.
    service: Option<Service>,
    until: Duration,
}

impl Weather {
    pub(crate) fn new(climate: Climate, mut rng: fastrand::Rng) -> Self {
        Self(Mutex::new(State {
            climate,
            healed: false,
            store: rng.fork(),
            kinesis: rng.fork(),
            moods: rng.fork(),
            delays: rng.fork(),
            outages: Vec::new(),
            next: Vec::new(),
            felt: Vec::new(),
            poisoned: None,
            late: Vec::new(),
            refused: Vec::new(),
            listeners: Vec::new(),
        }))
    }

    /// From now on every call is clear, but for outages and poison that are called for later.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        state.healed = true;
        state.outages.clear();
        state.next.clear();
        state.felt.clear();
        state.late.clear();
        state.refused.clear();
        state.listeners.clear();
    }

    pub(crate) fn has_healed(&self) -> bool {
        self.lock().healed
    }

    /// Is told when this process sends its next write to the lease table.
    pub(crate) fn tell_of_write(&self, life: Life) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        self.lock().listeners.push((life, tell));
        told
    }

    /// The next write of a worker to the lease table is under way for `late`; soon afterwards the table is away for it for
    /// `silent`.
    pub(crate) fn late_then_silent(&self, worker: u32, late: Duration, silent: Duration) {
        self.lock().late.push((worker, late, silent));
    }

    /// The lease table calls the writes of this process invalid until then.
    pub(crate) fn refuse(&self, life: Life, until: Duration) {
        self.lock().refused.push((life, until));
    }

    /// `service` answers nobody, or one worker not, until then.
    pub(crate) fn outage(&self, worker: Option<u32>, service: Service, until: Duration) {
        self.lock().outages.push(Outage { from: None, worker, service: Some(service), until });
    }

    /// The credentials of one worker, or of all, are refused until then.
    pub(crate) fn expire(&self, worker: Option<u32>, until: Duration) {
        self.lock().outages.push(Outage { from: None, worker, service: None, until });
    }

    /// The next calls of an operation end like this.
    pub(crate) fn next(&self, operation: &'static str, fate: Fate, times: u32) {
        self.lock().next.push((operation, fate, times));
    }

    /// The next calls of processors end like this.
    pub(crate) fn feel(&self, mood: Mood, times: u32) {
        self.lock().felt.push((mood, times));
    }

    /// The processor of this shard fails until then.
    pub(crate) fn poison(&self, shard: ShardId, until: Duration) {
        self.lock().poisoned = Some((shard, until));
    }

    /// A span between `from` and `to` milliseconds.
    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.lock().delays.u64(from..=to))
    }

    /// What becomes of a call.
    pub(crate) fn fate(&self, life: Life, operation: &str, now: Duration) -> Fate {
        let service = Service::of(operation);
        let mut state = self.lock();
        let State {
            climate, healed, store, kinesis, outages, next, late, refused, listeners, ..
        } = &mut *state;
        let (chances, rng) = match service {
            Service::Store => (climate.store, store),
            Service::Kinesis => (climate.kinesis, kinesis),
        };
        let out = |outage: &&Outage| {
            now < outage.until
                && outage.from.is_none_or(|from| from <= now)
                && outage.service.is_none_or(|which| which == service)
                && outage.worker.is_none_or(|worker| worker == life.worker)
        };
        match outages.iter().find(out) {
            Some(Outage { service: None, .. }) => return Fate::Expired,
            // After healing an outage is plain: whoever calls is told so.
            Some(_) if *healed => return Fate::Before,
            Some(_) if rng.u32(0..4) == 0 => return Fate::HangBefore,
            Some(_) => return Fate::Before,
            None => {}
        }
        if operation == "UpdateItem" {
            if refused.iter().any(|(of, until)| *of == life && now < *until) {
                return Fate::Refused;
            }
            for at in (0..listeners.len()).rev() {
                if listeners[at].0 == life {
                    // Nobody may listen any more.
                    let _ = listeners.swap_remove(at).1.send(());
                }
            }
            if let Some(at) = late.iter().position(|(worker, ..)| *worker == life.worker) {
                let (worker, late, silent) = late.swap_remove(at);
                // Time for the answer to the read after it, and to the second sending.
                let from = now + late + UNTIL_SILENCE;
                let (worker, until) = (Some(worker), from + silent);
                let service = Some(Service::Store);
                outages.push(Outage { from: Some(from), worker, service, until });
                return Fate::Late(late);
            }
        }
        if let Some(told) = next.iter_mut().find(|told| told.0 == operation && told.2 > 0) {
            told.2 -= 1;
            return told.1;
        }
        if *healed { Fate::Clear } else { chances.draw(rng) }
    }

    pub(crate) fn mood(&self, shard: &ShardId, now: Duration) -> Mood {
        let mut state = self.lock();
        if state
            .poisoned
            .as_ref()
            .is_some_and(|(poisoned, until)| poisoned == shard && now < *until)
        {
            return Mood::Fails;
        }
        if let Some((mood, times)) = state.felt.iter_mut().find(|(_, times)| *times > 0) {
            *times -= 1;
            return *mood;
        }
        if state.healed {
            return Mood::Good;
        }
        let (slow, fails, panics, hangs) = state.climate.moods;
        let draw = state.moods.u32(0..1000);
        if draw < hangs {
            Mood::Hangs
        } else if draw < hangs + panics {
            Mood::Panics
        } else if draw < hangs + panics + fails {
            Mood::Fails
        } else if draw < hangs + panics + fails + slow {
            let most = [300, 3_000, 20_000][state.moods.usize(0..3)];
            Mood::Slow(Duration::from_millis(state.moods.u64(1..most)))
        } else {
            Mood::Good
        }
    }

    /// How old what a scan shows of one lease is.
    pub(crate) fn age(&self) -> Duration {
        let mut state = self.lock();
        if state.healed {
            return Duration::ZERO;
        }
        let most = state.climate.staleness.as_millis() as u64;
        Duration::from_millis(state.delays.u64(0..=most))
    }

    /// How far wall clocks may be off.
    pub(crate) fn skew(&self) -> Duration {
        self.lock().climate.skew
    }

    /// Whether Kinesis answers something strange now.
    pub(crate) fn odd(&self) -> bool {
        let mut state = self.lock();
        let oddities = state.climate.oddities;
        !state.healed && state.kinesis.u32(0..1000) < oddities
    }

    /// One of two, until everything heals.
    pub(crate) fn coin(&self) -> bool {
        let mut state = self.lock();
        !state.healed && state.kinesis.bool()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writes_of_one_process_are_refused_and_only_for_a_while() {
        let weather = Weather::new(Climate::default(), fastrand::Rng::with_seed(1));
        let (ana, bob) = (Life { worker: 1, life: 1 }, Life { worker: 2, life: 1 });
        weather.refuse(ana, Duration::from_secs(5));
        let fate =
            |life, operation, second| weather.fate(life, operation, Duration::from_secs(second));
        assert_eq!(fate(ana, "UpdateItem", 4), Fate::Refused);
        assert_eq!(fate(ana, "GetItem", 4), Fate::Clear);
        assert_eq!(fate(bob, "UpdateItem", 4), Fate::Clear);
        assert_eq!(fate(ana, "UpdateItem", 5), Fate::Clear);
    }
}
