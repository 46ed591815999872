//! A process starts: a worker with settings that follow from its name and the seed.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use kcl_core::builder::{HasStreams, Missing};
use kcl_core::{Checkpoint, Clock, FailurePolicy, StreamSet, Tasks, Worker, WorkerBuilder};
use kcl_lease::{DynamoLeases, StoreLeases};
use tokio_util::sync::CancellationToken;

use super::{Crew, REPLACED, Slot, State, observe, worker_id};
use crate::sim::World;
use crate::sim::calls::Calls;
use crate::sim::gauges::Gauges;
use crate::sim::history::{Life, Turn, What};
use crate::sim::processor::SimProcessor;
use crate::sim::schedule::Checkpoints;
use crate::sim::sources;
use crate::sim::store::SimStore;
use crate::sim::table::Table;
use crate::sim::wire::APPLICATION;

/// A process before it runs.
struct Process {
    life: Life,
    tasks: Tasks,
    gauges: Arc<Gauges>,
    limited: bool,
    rng: fastrand::Rng,
}

impl Crew {
    pub(super) fn start(&self, life: Life) -> Slot {
        let world = &self.world;
        // Of its own, so that one process's settings do not depend on which others there were before.
        let seed = world.seed ^ (u64::from(life.worker) << 32) ^ u64::from(life.life);
        let rng = fastrand::Rng::with_seed(seed);
        let (tasks, stop, finished) = (Tasks::new(), CancellationToken::new(), Arc::default());
        // Others must be there to take the rest.
        let is_there = |slot: &Slot| !matches!(slot.state, State::Down { .. } | State::Gone);
        let limited = world.settings.limited
            && life.worker.is_multiple_of(2)
            && life.life == 1
            && self.slots.iter().any(|slot| is_there(slot) && !slot.limited);
        let gauges = Arc::new(Gauges::new(life, world.log.clone()));
        let process = Process { life, tasks: tasks.clone(), gauges, limited, rng };
        let builder = Worker::builder(APPLICATION);
        let (worker, streams) = if world.settings.several {
            let streams = StreamSet::new();
            self.read(&streams);
            (self.build(process, builder.streams(streams.clone())), Some(streams))
        } else {
            let name = world.stream.id.name().as_str();
            (self.build(process, builder.stream(name, world.start_from())), None)
        };
        world.log.note(What::Process(life, Turn::Starts));
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
        let state = State::Up;
        Slot { life, tasks, stop, finished, state, then: REPLACED, limited, streams, unread: None }
    }

    #[expect(clippy::expect_used, reason = "settings that are checked by every run")]
    fn build<S: HasStreams>(
        &self,
        process: Process,
        worker: WorkerBuilder<S, Missing, Missing, Missing>,
    ) -> Worker {
        let world = &self.world;
        let Process { life, tasks, gauges, limited, mut rng } = process;
        let of_observer = world.clone();
        let (of_processor, processor_seed) = (world.clone(), rng.u64(..));
        let calls = Calls::new(life, world.log.clone(), tasks.clone());
        let failure = match world.settings.attempts {
            Some(attempts) => FailurePolicy::attempts(attempts),
            None => FailurePolicy::forever(),
        };
        let failure = failure
            .backoff(Duration::from_millis(100), Duration::from_secs(2))
            .time_limit(Duration::from_secs(30));
        let checkpoint = match (world.settings.checkpoint, rng.u32(0..3)) {
            (Checkpoints::Manual, _) => Checkpoint::manual(),
            (Checkpoints::Automatic, 0) => Checkpoint::every(rng.u64(1..20)),
            (Checkpoints::Automatic, 1) => {
                Checkpoint::with_renewals().or_after(Duration::from_millis(700))
            }
            (Checkpoints::Automatic, _) => Checkpoint::with_renewals(),
        };
        let source = sources::source(world, life, &gauges, &mut rng);
        let worker = worker.source(source);
        let worker = match &world.table {
            Table::Memory(table) => {
                let store = SimStore { world: world.clone(), life, table: table.clone() };
                worker.leases(StoreLeases::new(store))
            }
            Table::Wire(wire) => {
                worker.leases(DynamoLeases::new(&wire.config(world, life, &gauges)))
            }
        };
        let worker = worker
            .processor(move |_| {
                SimProcessor::new(of_processor.clone(), life, calls.clone(), processor_seed)
            })
            .worker_id(worker_id(life))
            .timing(world.timing)
            .memory_budget(world.settings.budget())
            .clock(Clock::starting_at(skewed(world, life, &mut rng)))
            .seed(rng.u64(..))
            .tasks(tasks)
            .on_failure(failure)
            .checkpoint(checkpoint)
            .observer(move |event| observe(&of_observer, life, &gauges, event));
        let worker = if limited { worker.max_leases(NonZeroU32::MIN) } else { worker };
        worker.build().expect("valid settings")
    }

    /// Puts the stream into a worker's set.
    #[expect(clippy::expect_used, reason = "a name that is checked by every run")]
    pub(super) fn read(&self, streams: &StreamSet) {
        let name = self.world.stream.id.name().as_str();
        streams.add(name, self.world.start_from()).expect("a valid name");
    }
}

/// A host's wall clock.
fn skewed(world: &World, life: Life, rng: &mut fastrand::Rng) -> SystemTime {
    let most = world.weather.skew().as_millis() as i64;
    let off = if rng.bool() { 0 } else { rng.i64(-most..=most) };
    let (wall, span) = (world.clock.wall(), Duration::from_millis(off.unsigned_abs()));
    if off != 0 {
        let way = if off < 0 { "behind" } else { "ahead" };
        world.log.note(What::Weather(format!("the clock of {life} is {span:?} {way}")));
    }
    if off < 0 { wall - span } else { wall + span }
}
