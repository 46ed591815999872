//! A fleet, its stream and its table in one thread: everything that happens follows from a seed.
//!
//! ```text
//!  seed ──> Schedule: settings, climate, acts, trials                   history ──> invariants
//!             │         │          │                                       ^
//!             v         v          v                                       │
//!  Worker ──Polling──> SimKinesis ──> emulator's state machine    every put, delivery, write, fault
//!    │ └────FanOut────> SDK ──> Line ──────┘
//!    └───StoreLeases──> SimStore ──> MemoryStore
//! ```
//!
//! That is the tier at the library's ports, the fast one. At the tier of the wire, the same worker has the real AWS SDK
//! between it and the emulator.
//!
//! A run has phases. *Chaos*: processes crash, stall and come back, calls go wrong, shards split and merge, leases are
//! deleted and set back. *Healed*: nothing goes wrong any more, and everything must be done within [`HEAL_BOUND`]. *Trials*, once
//! the leases have come to rest: one thing happens in calm weather, and its own bound must hold. *Stopped*: every worker is
//! asked to stop and must leave a clean table.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use kcl_core::leasing::LeaseTiming;
use kcl_core::{
    Clock, Position, SequenceNumber, ShardId, StartFrom, Stream, StreamAddress, StreamId,
    StreamName, Tasks,
};
use kcl_emulator::{Emulator, EmulatorClock, Limits};
use serde_json::json;

mod api;
mod calls;
mod climate;
mod crew;
mod gauges;
pub mod history;
mod lies;
mod log;
mod operators;
mod play;
mod processor;
mod producers;
mod rare;
mod render;
pub mod schedule;
mod settings;
pub mod shrink;
mod sources;
mod store;
mod table;
mod trials;
pub mod weather;
mod wire;

use history::{History, Seen, Terms, What};
use log::Log;
use schedule::{Schedule, Settings, Start, Trial};
use store::MemoryTable;
use table::Table;
use weather::Weather;
use wire::Wire;

use crate::invariants::{self, Violation};

/// How soon after healing every record is processed, every closed shard ended, and every open one owned by a live worker.
pub const HEAL_BOUND: Duration = Duration::from_secs(120);

/// In every partition key.
const KEY_CANARY: &str = "customer-canary";

/// In every payload.
const PAYLOAD_CANARY: &str = "payload-canary";

/// What must never be seen outside of records: parts of their keys and payloads, and what requests are signed with.
pub const CANARIES: [&str; 3] = [KEY_CANARY, PAYLOAD_CANARY, "secret"];

/// What all parts of a run share.
pub(crate) struct World {
    seed: u64,
    settings: Settings,
    emulator: Emulator,
    stream: Stream,
    table: Table,
    /// The way of the real SDK: for everything at its tier, else for subscriptions.
    wire: Arc<Wire>,
    log: Log,
    weather: Weather,
    clock: Clock,
    timing: LeaseTiming,
    /// Payloads that do not say which record they are.
    strange: Mutex<BTreeMap<Vec<u8>, (u32, u64)>>,
    /// Requests that are under way without their sender.
    tasks: Tasks,
    /// What was put until then is no position that Kinesis knows.
    forgotten: Mutex<Option<Duration>>,
}

/// Where the simulation meets the library.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tier {
    /// At its ports: calls to Kinesis and to the lease store.
    #[default]
    Port,
    /// At the HTTP client of the AWS SDK.
    Wire,
}

/// What a seed led to.
#[derive(Debug, Clone)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// What happened.
    pub history: History,
    /// What should not have.
    pub violations: Vec<Violation>,
    /// From healing to the moment when everything was done; `None` when it never was.
    pub healed_after: Option<Duration>,
}

impl Run {
    /// The virtual time that passed, but for that in which nobody lived.
    #[must_use]
    pub fn virtual_time(&self) -> Duration {
        let events = &self.history.events;
        let absent = |event: &&history::Event| matches!(event.what, What::Tries(Trial::Absence));
        let absences = events.iter().filter(absent).count() as u32;
        let all = events.last().map_or(Duration::ZERO, |event| event.at);
        all.saturating_sub(trials::ABSENCE * absences)
    }

    /// How many calls went wrong on purpose.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.history.events.iter().filter(|event| matches!(event.what, What::Fault(..))).count()
    }

    /// Whether this was violated.
    #[must_use]
    pub fn violates(&self, invariant: &str) -> bool {
        self.violations.iter().any(|violation| violation.invariant == invariant)
    }
}

/// Plays the schedule of a seed at port level to its end and judges it.
#[must_use]
pub fn run(seed: u64) -> Run {
    play(Tier::Port, &Schedule::draw(seed))
}

/// Plays a schedule to its end and judges it.
///
/// # Panics
/// When no runtime can be built.
#[must_use]
#[expect(clippy::expect_used, reason = "a runtime without I/O needs nothing that could fail")]
pub fn play(tier: Tier, schedule: &Schedule) -> Run {
    count_panics();
    fastrand::seed(schedule.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (history, healed_after) = runtime.block_on(Box::pin(play::play(tier, schedule)));
    drop(runtime);
    let mut violations = invariants::check(&history);
    PANICS.with_borrow_mut(|panics| {
        violations.extend(panics.drain(..).map(|what| Violation::new("panic", None, what)));
    });
    Run { seed: schedule.seed, history, violations, healed_after }
}

impl World {
    fn new(tier: Tier, schedule: &Schedule, rng: &mut fastrand::Rng) -> Self {
        let base = UNIX_EPOCH + Duration::from_secs(BASE);
        let clock = Clock::starting_at(base);
        let timing = LeaseTiming::for_duration(schedule.settings.lease);
        let emulator = Emulator::builder()
            .seed(rng.u64(..))
            .limits(Limits::aws())
            .clock(EmulatorClock::starting_at(base))
            .push_delay(PUSH_DELAY)
            .event_records(schedule.settings.page as usize)
            .build();
        let terms = Terms {
            timing,
            heal_bound: HEAL_BOUND,
            start: schedule.settings.start,
            checkpoint: schedule.settings.checkpoint,
            page: schedule.settings.page,
            budget: schedule.settings.budget(),
            limited: schedule.settings.limited,
        };
        let wire = Arc::new(Wire::new(emulator.clone(), schedule.seed));
        let table = match tier {
            Tier::Port => Table::Memory(MemoryTable::default()),
            Tier::Wire => Table::Wire(wire.clone()),
        };
        let world = Self {
            seed: schedule.seed,
            settings: schedule.settings.clone(),
            emulator,
            stream: stream(),
            table,
            wire,
            log: Log::new(clock.clone(), History::new(terms)),
            weather: Weather::new(schedule.climate.clone(), rng.fork()),
            clock,
            timing,
            strange: Mutex::default(),
            tasks: Tasks::new(),
            forgotten: Mutex::default(),
        };
        let name = world.stream.id.name().as_str();
        let shards = schedule.settings.shards;
        // A name and a number: nothing to refuse.
        let _ = world.call("CreateStream", &json!({ "StreamName": name, "ShardCount": shards }));
        world
    }

    fn start_from(&self) -> StartFrom {
        match self.settings.start {
            Start::TrimHorizon => StartFrom::TrimHorizon,
            Start::Latest => StartFrom::Latest,
            Start::After(span) => {
                StartFrom::Timestamp(UNIX_EPOCH + Duration::from_secs(BASE) + span)
            }
        }
    }

    /// Remembers which record a payload is.
    fn learn_strange(&self, payload: Vec<u8>, key: u32, nth: u64) {
        let mut strange = self.strange.lock().unwrap_or_else(PoisonError::into_inner);
        strange.insert(payload, (key, nth));
    }

    /// From now on the stream does not know the records that were put.
    fn forget(&self) {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        *forgotten = Some(self.log.elapsed());
    }

    /// Whether this is a position past which the retention has gone.
    fn is_forgotten(&self, shard: &ShardId, number: &SequenceNumber) -> bool {
        let forgotten = *self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = forgotten else { return false };
        let history = self.log.lock();
        let puts = history.events.iter().take_while(|event| event.at <= until);
        puts.filter(|event| event.shard.as_ref() == Some(shard)).any(|event| match &event.what {
            What::Put(Seen { position: Position::Sequence { number: put, .. }, .. }) => {
                put == number
            }
            _ => false,
        })
    }

    fn strange(&self, payload: &[u8]) -> Option<(u32, u64)> {
        let strange = self.strange.lock().unwrap_or_else(PoisonError::into_inner);
        strange.get(payload).copied()
    }
}

/// How long a record is in its shard before a subscription sends it.
const PUSH_DELAY: Duration = Duration::from_millis(20);

/// When the emulator's world begins, in seconds since the epoch.
const BASE: u64 = 1_700_000_000;

#[expect(clippy::expect_used, reason = "constants that keep AWS's rules")]
fn stream() -> Stream {
    let name = StreamName::new("orders").expect("a valid name");
    let id = StreamId::new("000000000000", name.clone(), 1_700_000_000).expect("a valid id");
    Stream { id, address: StreamAddress::Name(name) }
}

thread_local! {
    /// Panics that nobody planned: those of tasks would be lost with their handles.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let _ = PANICS.try_with(|panics| panics.borrow_mut().push(info.to_string()));
            before(info);
        }));
    });
}
