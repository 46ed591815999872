//! The workers: processes that start, crash, stall, resume, and stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::retrieval::Polling;
use kcl_core::{Checkpoint, Clock, FailurePolicy, StartFrom, Tasks, Worker, WorkerEvent, WorkerId};
use kcl_lease::{DynamoLeases, StoreLeases};
use tokio_util::sync::CancellationToken;

use super::World;
use super::api::SimKinesis;
use super::history::{Life, What};
use super::processor::SimProcessor;
use super::store::SimStore;
use super::table::Table;
use super::wire::APPLICATION;

/// The workers of a run.
pub(crate) struct Crew {
    world: Arc<World>,
    rng: fastrand::Rng,
    next_worker: u32,
    slots: Vec<Slot>,
}

struct Slot {
    life: Life,
    /// How far this host's wall clock is off, in seconds.
    skew: i64,
    tasks: Tasks,
    stop: CancellationToken,
    finished: Arc<AtomicBool>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Stalled { until: Duration },
    Stopping,
    Down { until: Duration },
}

impl Crew {
    pub(crate) fn new(world: Arc<World>, rng: fastrand::Rng, workers: u32) -> Self {
        let mut crew = Self { world, rng, next_worker: 1, slots: Vec::new() };
        for _ in 0..workers {
            let life = crew.newcomer();
            let slot = crew.start(life);
            crew.slots.push(slot);
        }
        crew
    }

    /// What is due: stalled processes that resume, dead ones that come back, stopped ones that have gone.
    pub(crate) fn tend(&mut self) {
        let now = self.world.log.elapsed();
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            match slot.state {
                State::Stalled { until } if until <= now => {
                    self.world.log.note(What::Process(slot.life, "resumes"));
                    slot.tasks.resume();
                    slot.state = State::Up;
                }
                State::Up | State::Stopping if slot.finished.load(Ordering::SeqCst) => {
                    let pause = Duration::from_millis(self.rng.u64(0..15_000));
                    slot.state = State::Down { until: now + pause };
                }
                State::Down { until } if until <= now => {
                    let Life { worker, life } = slot.life;
                    let again = Life { worker, life: life + 1 };
                    let life = if self.rng.bool() { again } else { self.newcomer() };
                    self.slots[at] = self.start(life);
                }
                State::Up | State::Stalled { .. } | State::Stopping | State::Down { .. } => {}
            }
        }
    }

    /// A process dies without a word.
    pub(crate) fn crash(&mut self) {
        let now = self.world.log.elapsed();
        let pause = Duration::from_millis(self.rng.u64(0..25_000));
        if let Some(slot) = self.any_up() {
            slot.tasks.stop();
            slot.state = State::Down { until: now + pause };
            let life = slot.life;
            self.world.log.note(What::Process(life, "crashes"));
        }
    }

    /// A process is stopped by its host, and goes on later as if nothing had been.
    pub(crate) fn stall(&mut self) {
        let now = self.world.log.elapsed();
        let most = [2_000, 9_000, 11_000, 60_000][self.rng.usize(0..4)];
        let span = Duration::from_millis(self.rng.u64(100..most));
        if let Some(slot) = self.any_up() {
            slot.tasks.stall();
            slot.state = State::Stalled { until: now + span };
            let life = slot.life;
            self.world.log.note(What::Process(life, "stalls"));
        }
    }

    /// A worker is asked to stop.
    pub(crate) fn stop(&mut self) {
        if let Some(slot) = self.any_up() {
            slot.stop.cancel();
            slot.state = State::Stopping;
            let life = slot.life;
            self.world.log.note(What::Process(life, "is asked to stop"));
        }
    }

    /// One more worker.
    pub(crate) fn join(&mut self) {
        if self.slots.len() < 6 {
            let life = self.newcomer();
            let slot = self.start(life);
            self.slots.push(slot);
        }
    }

    /// Any worker's number.
    pub(crate) fn anyone(&mut self) -> u32 {
        let at = self.rng.usize(0..self.slots.len());
        self.slots[at].life.worker
    }

    /// Everybody lives and goes on.
    pub(crate) fn heal(&mut self) {
        for slot in &mut self.slots {
            if let State::Stalled { until } | State::Down { until } = &mut slot.state {
                *until = Duration::ZERO;
            }
        }
        self.tend();
    }

    /// Whether this is the id of a worker that lives.
    pub(crate) fn is_up(&self, id: &WorkerId) -> bool {
        let up = |slot: &Slot| slot.state == State::Up && *id == worker_id(slot.life);
        self.slots.iter().any(up)
    }

    /// Asks everybody to stop; returns whether all have by `limit`.
    pub(crate) async fn stop_all(&mut self, limit: Duration) -> bool {
        for slot in &self.slots {
            slot.stop.cancel();
        }
        let begun = self.world.log.elapsed();
        let gone = |slot: &Slot| {
            slot.finished.load(Ordering::SeqCst) || matches!(slot.state, State::Down { .. })
        };
        while !self.slots.iter().all(gone) {
            if self.world.log.elapsed() > begun + limit {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        true
    }

    /// Ends whatever still runs.
    pub(crate) fn abandon(&self) {
        for slot in &self.slots {
            slot.tasks.stop();
        }
    }

    fn any_up(&mut self) -> Option<&mut Slot> {
        let up: Vec<usize> =
            (0..self.slots.len()).filter(|at| self.slots[*at].state == State::Up).collect();
        let at = *up.get(self.rng.usize(0..up.len().max(1)))?;
        self.slots.get_mut(at)
    }

    fn newcomer(&mut self) -> Life {
        let worker = self.next_worker;
        self.next_worker += 1;
        Life { worker, life: 1 }
    }

    #[expect(clippy::expect_used, reason = "settings that are checked by every run")]
    fn start(&mut self, life: Life) -> Slot {
        let skew = if self.rng.bool() { 0 } else { self.rng.i64(-86_400..=86_400) };
        let world = &self.world;
        let wall = world.clock.wall();
        let span = Duration::from_secs(skew.unsigned_abs());
        let wall = if skew < 0 { wall - span } else { wall + span };
        let (tasks, stop, finished) = (Tasks::new(), CancellationToken::new(), Arc::default());
        let (of_processor, of_observer) = (world.clone(), world.clone());
        let failure = FailurePolicy::forever()
            .backoff(Duration::from_millis(100), Duration::from_secs(2))
            .time_limit(Duration::from_secs(30));
        let checkpoint = match self.rng.u32(0..3) {
            0 => Checkpoint::every(self.rng.u64(1..20)),
            1 => Checkpoint::with_renewals().or_after(Duration::from_millis(700)),
            _ => Checkpoint::with_renewals(),
        };
        let worker = Worker::builder(APPLICATION)
            .stream(world.stream.id.name().as_str(), StartFrom::TrimHorizon);
        let worker = match &world.table {
            Table::Memory(table) => {
                let api = SimKinesis { world: world.clone(), life };
                let store = SimStore { world: world.clone(), life, table: table.clone() };
                worker
                    .leases(StoreLeases::new(store))
                    .source(Polling::over(Arc::new(api)).max_records(world.page))
            }
            Table::Wire(wire) => {
                let config = wire.config(world, life);
                worker
                    .leases(DynamoLeases::new(&config))
                    .source(Polling::new(&config).max_records(world.page))
            }
        };
        let worker = worker
            .processor(move |_| SimProcessor { world: of_processor.clone(), life })
            .worker_id(worker_id(life))
            .timing(world.timing)
            .clock(Clock::starting_at(wall))
            .seed(self.rng.u64(..))
            .tasks(tasks.clone())
            .on_failure(failure)
            .checkpoint(checkpoint)
            .observer(move |event| observe(&of_observer, life, event))
            .build()
            .expect("valid settings");
        world.log.note(What::Process(life, "starts"));
        let (stopped, flag, world) = (stop.clone(), Arc::clone(&finished), world.clone());
        tasks.spawn(async move {
            let result = Box::pin(worker.run(stopped.cancelled_owned())).await;
            let how = match result {
                Ok(report) if report.is_clean() => "clean".to_owned(),
                Ok(report) => format!("{report:?}"),
                Err(error) => format!("error: {error:?}"),
            };
            world.log.note(What::Finished(life, how));
            AtomicBool::store(&flag, true, Ordering::SeqCst);
        });
        Slot { life, skew, tasks, stop, finished, state: State::Up }
    }
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slots = self.slots.iter().map(|slot| (slot.life, slot.skew, slot.state));
        f.debug_list().entries(slots).finish()
    }
}

#[expect(clippy::expect_used, reason = "a letter and digits")]
fn worker_id(life: Life) -> WorkerId {
    WorkerId::new(format!("w{}", life.worker)).expect("a valid id")
}

fn observe(world: &World, life: Life, event: &WorkerEvent) {
    match event {
        WorkerEvent::Ready => world.log.note(What::Process(life, "is ready")),
        WorkerEvent::Granted { shard, position } => {
            world.log.on(&shard.shard, What::Granted(life, position.clone()));
        }
        WorkerEvent::Ended(shard) => world.log.on(&shard.shard, What::Process(life, "ended it")),
        WorkerEvent::Drained(shard) => {
            world.log.on(&shard.shard, What::Process(life, "drained it"));
        }
        WorkerEvent::Lost(shard) => world.log.on(&shard.shard, What::Process(life, "lost it")),
        WorkerEvent::Halted { shard, .. } => {
            world.log.on(&shard.shard, What::Process(life, "halted it"));
        }
        WorkerEvent::Abandoned(shard) => {
            world.log.on(&shard.shard, What::Process(life, "abandoned it"));
        }
        _ => {}
    }
}
