//! What a seed decides before a run begins: the settings, the weather, and what is done when.
//!
//! A schedule is data, so that a failing one can be [cut](super::shrink) to what matters, and a scenario can be written by
//! hand: [`Schedule::calm`], then [`at`](Schedule::at) for each act.

use std::collections::BTreeSet;
use std::time::Duration;

pub use super::settings::{Checkpoints, Reading, Settings, Start};
use super::weather::{Climate, Fate, Mood, Service};

/// A run before it is played.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Seeds all chance that is drawn during the run.
    pub seed: u64,
    /// The application and its stream.
    pub settings: Settings,
    /// How calls and processors go wrong until healing.
    pub climate: Climate,
    /// What is done, and when, in the order of time.
    pub acts: Vec<(Duration, Act)>,
    /// When everything heals.
    pub heals_at: Duration,
    /// What is tried once everything is at rest, one after the other.
    pub trials: Vec<Trial>,
}

/// Something that somebody does. Numbers named `pick` choose among what there is at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of an act are in its sentence")]
pub enum Act {
    /// Up to so many records are put.
    Put { most: u32 },
    /// A shard is split or two are merged.
    Reshard { pick: u32, merge: bool },
    /// The stream is scaled to this share of its shards, in percent.
    Scale { percent: u32 },
    /// A process dies, and another one starts after the pause, under the same id or a new one.
    Crash { pick: u32, pause: Duration, same_id: bool },
    /// A process is stopped by its host, and goes on later as if nothing had been.
    Stall { pick: u32, span: Duration },
    /// A process is stopped by its host just after it sends its next write, and goes on later.
    StallWriting { pick: u32, span: Duration },
    /// While a process is stopped by its host another one starts under its id; the first goes on, and is killed soon.
    Zombie { pick: u32, span: Duration },
    /// A worker is asked to stop, and another one starts after the pause.
    Stop { pick: u32, pause: Duration, same_id: bool },
    /// A worker is asked to stop while the lease table calls its writes invalid, and another one starts after the pause.
    StopRefused { pick: u32, span: Duration, pause: Duration },
    /// One more worker.
    Join,
    /// In an application of several streams: a worker reads the stream no longer, until so much later.
    Unread { pick: u32, span: Duration },
    /// One worker, or nobody, reaches a service.
    Outage { pick: Option<u32>, service: Service, span: Duration },
    /// The next write of one worker is under way for so long, and then the lease table does not answer that worker.
    LateThenSilent { pick: u32, late: Duration, silent: Duration },
    /// The credentials of one worker, or of all, are not accepted.
    Expire { pick: Option<u32>, span: Duration },
    /// An operator deletes a lease.
    DeleteLease { pick: u32 },
    /// An operator frees a lease and sets its checkpoint back to the beginning.
    Rewind { pick: u32 },
    /// Somebody leaves items in the table that are no leases (on the wire).
    Strew,
    /// The next calls of this operation end like this.
    Next { operation: &'static str, fate: Fate, times: u32 },
    /// The next calls of processors end like this.
    Feel { mood: Mood, times: u32 },
}

/// What is tried in calm weather, to see how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// A worker crashes for good (L1).
    Crash,
    /// Every worker but one crashes for good (L2).
    CrashAllButOne,
    /// A worker crashes and comes back under its id (L1).
    Restart,
    /// A shard is split, or two are merged (L3).
    Reshard,
    /// A worker joins (L4).
    Join,
    /// The lease table answers nobody for so long (L5).
    StoreOutage(Duration),
    /// Kinesis answers nobody for so long (L5).
    KinesisOutage(Duration),
    /// The processor of a shard fails for so long (L6).
    Poison(Duration),
    /// The lease of an open shard is deleted (L7).
    DeleteLease,
    /// A worker is asked to stop (L8).
    Stop,
    /// All workers are asked to stop, one after another, and each is replaced (L10).
    Deploy,
    /// In an application of several streams: a worker leaves the stream, and comes back (L8).
    Leave,
    /// Large records gather while nobody reads; then one worker with slow processors reads them (S16).
    Flood,
    /// All workers stop, and come back when the stream has forgotten what they did.
    Absence,
}

/// A part of a schedule that can be left out as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Faults of calls to the lease table.
    Store,
    /// Faults of calls to Kinesis.
    Kinesis,
    /// Strange answers of Kinesis.
    Oddities,
    /// Old and torn scans.
    Staleness,
    /// Failing processors.
    Moods,
    /// Wall clocks that are off.
    Skew,
    /// Trials after healing.
    Trials,
}

/// What is left of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut {
    /// The acts that stay, by their place; `None` for all.
    pub acts: Option<BTreeSet<usize>>,
    /// The parts that are left out.
    pub without: BTreeSet<Part>,
}

impl Schedule {
    /// The schedule of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let settings = Settings::draw(&mut rng);
        let climate = Climate::draw(&mut rng, settings.start == Start::Latest);
        let heals_at = Duration::from_secs(rng.u64(20..240));
        let operators = rng.u32(0..3) == 0;
        let mut acts = Vec::new();
        let step = rng.u64(200..4_000);
        let mut now = Duration::ZERO;
        loop {
            now += Duration::from_millis(rng.u64(1..=step));
            if now >= heals_at {
                break;
            }
            acts.extend(Act::draw(&mut rng, settings.lease, operators).map(|act| (now, act)));
        }
        let trials = (0..rng.usize(0..4)).map(|_| Trial::draw(&mut rng, &settings));
        // Bounds of time and balance are for fleets in which everybody takes a share.
        let trials = if settings.limited { Vec::new() } else { trials.collect() };
        let mut schedule = Self { seed, settings, climate, acts, heals_at, trials };
        schedule.add_rare();
        schedule
    }

    /// One worker, one shard, `TRIM_HORIZON`, 10 s leases, and nothing that goes wrong: the beginning of a scenario.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            settings: Settings::default(),
            climate: Climate::default(),
            acts: Vec::new(),
            heals_at: Duration::ZERO,
            trials: Vec::new(),
        }
    }

    /// Other settings.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Another weather.
    #[must_use]
    pub fn under(mut self, climate: Climate) -> Self {
        self.climate = climate;
        self
    }

    /// One more act, so many seconds after the beginning and not before the acts that are there. Healing is a second later.
    #[must_use]
    pub fn at(mut self, second: f64, act: Act) -> Self {
        let at = Duration::from_secs_f64(second);
        self.acts.push((at, act));
        self.heals_at = self.heals_at.max(at + Duration::from_secs(1));
        self
    }

    /// Up to `most` records every half second, from one second to another.
    #[must_use]
    pub fn putting(mut self, most: u32, from: u64, to: u64) -> Self {
        let puts = (2 * from..2 * to).map(|half| Duration::from_millis(500 * half));
        self.acts.extend(puts.map(|at| (at, Act::Put { most })));
        self.acts.sort_by_key(|(at, _)| *at);
        self.heals_at = self.heals_at.max(Duration::from_secs(to));
        self
    }

    /// One more trial.
    #[must_use]
    pub fn then(mut self, trial: Trial) -> Self {
        self.trials.push(trial);
        self
    }

    /// What is left after a cut.
    #[must_use]
    pub fn cut(mut self, cut: &Cut) -> Self {
        if let Some(kept) = &cut.acts {
            let acts = self.acts.into_iter().enumerate();
            self.acts = acts.filter(|(at, _)| kept.contains(at)).map(|(_, timed)| timed).collect();
        }
        self.climate.leave_out(&cut.without);
        if cut.without.contains(&Part::Trials) {
            self.trials.clear();
        }
        self
    }
}

impl Act {
    fn draw(rng: &mut fastrand::Rng, lease: Duration, operators: bool) -> Option<Self> {
        let millis = |rng: &mut fastrand::Rng, from, to| Duration::from_millis(rng.u64(from..to));
        let service = |rng: &mut fastrand::Rng| {
            if rng.bool() { Service::Store } else { Service::Kinesis }
        };
        let pick = rng.u32(..);
        Some(match rng.u32(0..100) {
            0..45 => Self::Put { most: 15 },
            45..53 => Self::Reshard { pick, merge: rng.bool() },
            53..62 => Self::Crash { pick, pause: millis(rng, 0, 25_000), same_id: rng.bool() },
            62..74 => {
                let most = [2_000, 9_000, 11_000, 60_000][rng.usize(0..4)];
                Self::Stall { pick, span: millis(rng, 100, most) }
            }
            74 => Self::Zombie { pick, span: millis(rng, 100, 30_000) },
            75..80 => Self::Stop { pick, pause: millis(rng, 0, 15_000), same_id: rng.bool() },
            80..83 => Self::Join,
            83..87 => {
                let service = service(rng);
                Self::Outage { pick: Some(pick), service, span: millis(rng, 500, 30_000) }
            }
            87..89 => {
                let service = service(rng);
                Self::Outage { pick: None, service, span: millis(rng, 500, 30_000) }
            }
            89 => {
                let who = rng.bool().then_some(pick);
                Self::Expire { pick: who, span: millis(rng, 500, 60_000) }
            }
            90..92 if operators => Self::DeleteLease { pick },
            92 if operators => Self::Rewind { pick },
            93 => Self::Scale { percent: [50, 67, 150, 200][rng.usize(0..4)] },
            // As long as leases last: each ends at about the time when others may take, or the worker gives up.
            94 | 95 => Self::StallWriting { pick, span: lease.mul_f64(0.5 + 0.6 * rng.f64()) },
            96 | 97 => Self::LateThenSilent {
                pick,
                late: lease.mul_f64(0.1 + 0.3 * rng.f64()),
                silent: lease.mul_f64(0.5 + rng.f64()),
            },
            _ => return None,
        })
    }
}

impl Trial {
    fn draw(rng: &mut fastrand::Rng, settings: &Settings) -> Self {
        let span = |rng: &mut fastrand::Rng| settings.lease.mul_f64(2.0 * rng.f64());
        match rng.u32(0..10) {
            0 => Self::Crash,
            1 => Self::CrashAllButOne,
            2 => Self::Restart,
            3 => Self::Reshard,
            4 => Self::Join,
            5 => Self::StoreOutage(span(rng)),
            6 => Self::KinesisOutage(span(rng)),
            7 => Self::Poison(Duration::from_secs(rng.u64(5..40))),
            8 => Self::DeleteLease,
            _ => Self::Stop,
        }
    }
}
