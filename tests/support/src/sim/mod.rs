//! A fleet, its stream and its table in one thread: everything that happens follows from a seed.
//!
//! ```text
//!  seed ──> weather, crew, operators                                     history ──> invariants
//!             │        │       │                                           ^
//!             v        v       v                                           │
//!  Worker ──Polling──> SimKinesis ──> emulator's state machine    every put, delivery, write, fault
//!     └───StoreLeases──> SimStore ──> MemoryStore
//! ```
//!
//! That is the tier at the library's ports, the fast one. At the tier of the wire, the same worker has the real AWS SDK
//! between it and the emulator.
//!
//! A run has phases. *Chaos*: processes crash, stall and come back, calls go wrong, shards split and merge, leases are
//! deleted. *Healed*: nothing goes wrong any more, and everything must be done within [`HEAL_BOUND`]. *Stopped*: every worker is
//! asked to stop, once the leases have come to rest, and must leave a clean table.

use std::cell::RefCell;
use std::sync::{Arc, Once};
use std::time::{Duration, UNIX_EPOCH};

use kcl_core::leasing::LeaseTiming;
use kcl_core::{Clock, Position, Stream, StreamAddress, StreamId, StreamName, Tasks};
use kcl_emulator::{Emulator, EmulatorClock, Limits};
use serde_json::json;

mod api;
mod crew;
pub mod history;
mod operators;
mod processor;
mod store;
mod table;
mod weather;
mod wire;

use crew::Crew;
use history::{History, Log, What};
use operators::Operators;
use store::MemoryTable;
use table::Table;
use weather::{Service, Weather};
use wire::Wire;

use crate::invariants::{self, Violation};

/// How soon after healing every record is processed, every closed shard ended, and every open one owned by a live worker.
pub const HEAL_BOUND: Duration = Duration::from_secs(120);

/// From everything done to the request to stop: until then, every move of leases for balance has ended.
const SETTLING: Duration = Duration::from_secs(60);

/// How soon every worker has stopped: the drain limit, and the time to free leases.
const STOP_BOUND: Duration = Duration::from_secs(26);

/// What all parts of a run share.
pub(crate) struct World {
    emulator: Emulator,
    stream: Stream,
    table: Table,
    log: Log,
    weather: Weather,
    clock: Clock,
    timing: LeaseTiming,
    /// The most records of one reply.
    page: u32,
    /// Requests that are under way without their sender.
    tasks: Tasks,
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
    /// The virtual time that passed.
    #[must_use]
    pub fn virtual_time(&self) -> Duration {
        self.history.events.last().map_or(Duration::ZERO, |event| event.at)
    }

    /// How many calls went wrong on purpose.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.history.events.iter().filter(|event| matches!(event.what, What::Fault(..))).count()
    }
}

/// Runs a seed at port level to its end and judges it.
///
/// # Panics
/// When no runtime can be built.
#[must_use]
pub fn run(seed: u64) -> Run {
    run_at(Tier::Port, seed)
}

/// Runs a seed to its end and judges it.
///
/// # Panics
/// When no runtime can be built.
#[must_use]
#[expect(clippy::expect_used, reason = "a runtime without I/O needs nothing that could fail")]
pub fn run_at(tier: Tier, seed: u64) -> Run {
    count_panics();
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (history, healed_after) = runtime.block_on(Box::pin(play(tier, seed)));
    drop(runtime);
    let mut violations = invariants::check(&history);
    PANICS.with_borrow_mut(|panics| {
        violations.extend(panics.drain(..).map(|what| Violation::new("panic", None, what)));
    });
    Run { seed, history, violations, healed_after }
}

async fn play(tier: Tier, seed: u64) -> (History, Option<Duration>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let base = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let clock = Clock::starting_at(base);
    let lease = [3, 10, 10, 20][rng.usize(0..4)];
    let timing = LeaseTiming::for_duration(Duration::from_secs(lease));
    let emulator = Emulator::builder()
        .seed(rng.u64(..))
        .limits(Limits::aws())
        .clock(EmulatorClock::starting_at(base))
        .build();
    let log = Log::new(clock.clone(), History::new(timing, HEAL_BOUND));
    let table = match tier {
        Tier::Port => Table::Memory(MemoryTable::default()),
        Tier::Wire => Table::Wire(Arc::new(Wire::new(emulator.clone(), seed))),
    };
    let world = Arc::new(World {
        emulator,
        stream: stream(),
        table,
        log,
        weather: Weather::new(rng.fork()),
        clock,
        timing,
        page: [50, 200, 1_000, 10_000][rng.usize(0..4)],
        tasks: Tasks::new(),
    });
    let mut operators = Operators::new(rng.fork());
    let name = world.stream.id.name().as_str();
    // A name and a number: nothing to refuse.
    let _ =
        world.call("CreateStream", &json!({ "StreamName": name, "ShardCount": rng.u32(1..=4) }));
    operators.survey(&world);
    operators.put(&world, 40);
    let workers = rng.u32(1..=4);
    let mut crew = Crew::new(world.clone(), rng.fork(), workers);
    chaos(&world, &mut rng, &mut crew, &mut operators).await;

    world.log.note(What::Healed);
    world.weather.heal();
    crew.heal();
    operators.put(&world, 20);
    let begun = world.log.elapsed();
    let mut healed_after = None;
    while world.log.elapsed() < begun + 2 * HEAL_BOUND {
        crew.tend();
        if is_drained(&world, &crew, &operators).await {
            world.log.note(What::Drained);
            healed_after = Some(world.log.elapsed() - begun);
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(SETTLING).await;
    // Work that no renewal has made durable yet.
    operators.put(&world, 20);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    world.log.note(What::Stopping);
    if crew.stop_all(STOP_BOUND).await {
        world.log.note(What::Stopped);
    }
    crew.abandon();
    world.tasks.stop();
    let history = world.log.lock().clone();
    (history, healed_after)
}

async fn chaos(world: &World, rng: &mut fastrand::Rng, crew: &mut Crew, operators: &mut Operators) {
    let end = Duration::from_secs(rng.u64(20..240));
    let step = rng.u64(200..4_000);
    let deletes = rng.u32(0..4) == 0;
    while world.log.elapsed() < end {
        tokio::time::sleep(Duration::from_millis(rng.u64(1..=step))).await;
        crew.tend();
        let until = |rng: &mut fastrand::Rng| {
            world.log.elapsed() + Duration::from_millis(rng.u64(500..30_000))
        };
        match rng.u32(0..100) {
            0..45 => operators.put(world, 15),
            45..53 => operators.reshard(world),
            53..63 => crew.crash(),
            63..75 => crew.stall(),
            75..80 => crew.stop(),
            80..83 => crew.join(),
            83..87 => {
                let (worker, until) = (crew.anyone(), until(rng));
                let service = if rng.bool() { Service::Store } else { Service::Kinesis };
                world.log.note(What::Weather(format!("w{worker} does not reach {service:?}")));
                world.weather.outage(Some(worker), service, until);
            }
            87..89 => {
                let until = until(rng);
                let service = if rng.bool() { Service::Store } else { Service::Kinesis };
                world.log.note(What::Weather(format!("nobody reaches {service:?}")));
                world.weather.outage(None, service, until);
            }
            89..91 if deletes => operators.delete_lease(world).await,
            _ => {}
        }
    }
}

/// Everything put is done, every closed shard has ended, and every open one is owned by a worker that lives.
async fn is_drained(world: &World, crew: &Crew, operators: &Operators) -> bool {
    let leases = world.table.all().await.unwrap_or_default();
    let settled = operators.known().iter().all(|shard| {
        let lease = leases.iter().find(|lease| lease.key.shard() == shard);
        match lease {
            Some(lease) if operators.is_closed(shard) => lease.position == Position::ShardEnd,
            Some(lease) => lease.owner.as_ref().is_some_and(|owner| crew.is_up(owner)),
            // An ended lease is cleaned up in the end.
            None => operators.is_closed(shard),
        }
    });
    settled && world.log.everything_done()
}

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
