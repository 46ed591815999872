//! The workers: processes that start, crash, stall, resume, and stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::{ShardRef, StreamSet, Tasks, WorkerEvent, WorkerId};
use tokio_util::sync::CancellationToken;

use super::World;
use super::gauges::Gauges;
use super::history::{Life, Turn, What};

mod start;

/// The workers of a run.
pub(crate) struct Crew {
    world: Arc<World>,
    next_worker: u32,
    slots: Vec<Slot>,
}

struct Slot {
    life: Life,
    tasks: Tasks,
    stop: CancellationToken,
    finished: Arc<AtomicBool>,
    state: State,
    /// What comes after this process.
    then: Then,
    /// It may hold one lease only.
    limited: bool,
    /// Where streams may come and go.
    streams: Option<StreamSet>,
    /// Until when the stream is not among them.
    unread: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Stalled {
        until: Duration,
    },
    Stopping,
    Down {
        until: Duration,
    },
    /// It does not come back.
    Gone,
}

/// What comes after a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Then {
    pause: Duration,
    same_id: bool,
}

/// After a process that ended by itself.
const REPLACED: Then = Then { pause: Duration::from_secs(2), same_id: false };

/// How long a process goes on that was stalled while another one was started under its id.
const ZOMBIE_SPAN: Duration = Duration::from_secs(3);

/// Never more slots than these, or than there were at first.
const MOST_WORKERS: usize = 6;

impl Crew {
    pub(crate) fn new(world: Arc<World>, workers: u32) -> Self {
        let mut crew = Self { world, next_worker: 1, slots: Vec::new() };
        for _ in 0..workers {
            crew.join();
        }
        crew
    }

    /// What is due: stalled processes that resume, dead ones that come back, stopped ones that have gone.
    pub(crate) fn tend(&mut self) {
        let now = self.world.log.elapsed();
        for at in 0..self.slots.len() {
            self.read_again(at, now);
            let slot = &mut self.slots[at];
            match slot.state {
                State::Stalled { until } if until <= now => {
                    self.world.log.note(What::Process(slot.life, Turn::Resumes));
                    slot.tasks.resume();
                    slot.state = State::Up;
                }
                State::Up | State::Stopping if slot.finished.load(Ordering::SeqCst) => {
                    slot.state = State::Down { until: now + slot.then.pause };
                }
                State::Down { until } if until <= now => {
                    let Life { worker, life } = slot.life;
                    let life = if slot.then.same_id {
                        Life { worker, life: life + 1 }
                    } else {
                        self.newcomer()
                    };
                    self.slots[at] = self.start(life);
                }
                State::Up
                | State::Stalled { .. }
                | State::Stopping
                | State::Down { .. }
                | State::Gone => {}
            }
        }
    }

    /// A worker reads the stream no longer, until so much later.
    pub(crate) fn unread(&mut self, pick: u32, span: Duration) {
        let until = self.world.log.elapsed() + span;
        let name = self.world.stream.id.name().to_string();
        if let Some(slot) = self.up(pick)
            && let Some(streams) = &slot.streams
            && streams.remove(&name).unwrap_or_default()
        {
            slot.unread = Some(until);
            let life = slot.life;
            self.world.log.note(What::Process(life, Turn::LeavesTheStream));
        }
    }

    fn read_again(&mut self, at: usize, now: Duration) {
        let slot = &mut self.slots[at];
        if slot.unread.take_if(|until| *until <= now).is_some() {
            let (life, streams) = (slot.life, slot.streams.clone());
            self.world.log.note(What::Process(life, Turn::ReadsTheStream));
            streams.iter().for_each(|streams| self.read(streams));
        }
    }

    /// A process dies without a word; another one takes its place after the pause.
    pub(crate) fn crash(&mut self, pick: u32, pause: Duration, same_id: bool) {
        let now = self.world.log.elapsed();
        if let Some(slot) = self.up(pick) {
            slot.tasks.stop();
            slot.then = Then { pause, same_id };
            slot.state = State::Down { until: now + pause };
            let life = slot.life;
            self.world.log.note(What::Process(life, Turn::Crashes));
        }
    }

    /// A process dies and is not replaced.
    pub(crate) fn lose(&mut self, pick: u32) {
        self.crash(pick, Duration::ZERO, false);
        for slot in &mut self.slots {
            if matches!(slot.state, State::Down { .. }) {
                slot.state = State::Gone;
            }
        }
    }

    /// A process is stopped by its host, and goes on later as if nothing had been.
    pub(crate) fn stall(&mut self, pick: u32, span: Duration) {
        let now = self.world.log.elapsed();
        if let Some(slot) = self.up(pick) {
            slot.tasks.stall();
            slot.state = State::Stalled { until: now + span };
            let life = slot.life;
            self.world.log.note(What::Process(life, Turn::Stalls));
        }
    }

    /// A process is stopped by its host just after it sends its next write, and goes on later.
    pub(crate) fn stall_writing(&mut self, pick: u32, span: Duration) {
        let Some(slot) = self.up(pick) else {
            return;
        };
        let (life, tasks) = (slot.life, slot.tasks.clone());
        let sent = self.world.weather.tell_of_write(life);
        let world = self.world.clone();
        self.world.tasks.spawn(async move {
            if sent.await.is_err() || tasks.is_empty() {
                return;
            }
            world.log.note(What::Process(life, Turn::Stalls));
            tasks.stall();
            let until = world.log.elapsed() + span;
            while world.log.elapsed() < until && !world.weather.has_healed() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            world.log.note(What::Process(life, Turn::Resumes));
            tasks.resume();
        });
    }

    /// A process is stopped by its host and another one is started under its id; the first goes on later, for a few seconds.
    pub(crate) fn zombie(&mut self, pick: u32, span: Duration) {
        let Some(slot) = self.up(pick) else {
            return;
        };
        let (life, tasks) = (slot.life, slot.tasks.clone());
        let at = self.slots.iter().position(|slot| slot.life == life).unwrap_or_default();
        tasks.stall();
        self.world.log.note(What::Process(life, Turn::Stalls));
        self.slots[at] = self.start(Life { life: life.life + 1, ..life });
        let log = self.world.log.clone();
        self.world.tasks.spawn(async move {
            tokio::time::sleep(span).await;
            log.note(What::Process(life, Turn::Resumes));
            tasks.resume();
            tokio::time::sleep(ZOMBIE_SPAN).await;
            log.note(What::Process(life, Turn::Crashes));
            tasks.stop();
        });
    }

    /// A worker is asked to stop; another one takes its place after the pause.
    pub(crate) fn stop(&mut self, pick: u32, pause: Duration, same_id: bool) -> Option<Life> {
        let slot = self.up(pick)?;
        {
            slot.stop.cancel();
            slot.then = Then { pause, same_id };
            slot.state = State::Stopping;
            let life = slot.life;
            self.world.log.note(What::Process(life, Turn::IsAskedToStop));
            Some(life)
        }
    }

    /// One more worker, if there is room.
    pub(crate) fn join(&mut self) {
        let gone = self.slots.iter().position(|slot| slot.state == State::Gone);
        let most = MOST_WORKERS.max(self.world.settings.workers as usize);
        if gone.is_none() && self.slots.len() >= most {
            return;
        }
        let life = self.newcomer();
        let slot = self.start(life);
        match gone {
            Some(at) => self.slots[at] = slot,
            None => self.slots.push(slot),
        }
    }

    /// Any worker's number.
    pub(crate) fn anyone(&self, pick: u32) -> u32 {
        self.slots[pick as usize % self.slots.len()].life.worker
    }

    /// How many processes live and are not about to stop.
    pub(crate) fn count_up(&self) -> usize {
        self.slots.iter().filter(|slot| slot.state == State::Up).count()
    }

    /// Everybody lives and goes on. Workers that gave shards up are replaced, as their operators would do.
    pub(crate) fn heal(&mut self) {
        let halted: Vec<Life> = {
            let history = self.world.log.lock();
            let halts = history.events.iter().filter_map(|event| match event.what {
                What::Process(life, Turn::HaltedIt) => Some(life),
                _ => None,
            });
            halts.collect()
        };
        for slot in &mut self.slots {
            if let State::Stalled { until } | State::Down { until } = &mut slot.state {
                *until = Duration::ZERO;
            }
            slot.then.pause = Duration::ZERO;
            slot.unread = slot.unread.and(Some(Duration::ZERO));
        }
        self.tend();
        for at in 0..self.slots.len() {
            if halted.contains(&self.slots[at].life) && self.slots[at].state == State::Up {
                let life = self.slots[at].life;
                self.slots[at].tasks.stop();
                self.world.log.note(What::Process(life, Turn::Crashes));
                let newcomer = self.newcomer();
                self.slots[at] = self.start(newcomer);
            }
        }
    }

    /// Whether this is the id of a worker that lives.
    pub(crate) fn is_up(&self, id: &WorkerId) -> bool {
        self.slots.iter().any(|slot| slot.state == State::Up && slot.life.is(id))
    }

    /// Asks everybody to stop; returns whether all have by `limit`.
    pub(crate) async fn stop_all(&mut self, limit: Duration) -> bool {
        for slot in &self.slots {
            slot.stop.cancel();
        }
        let begun = self.world.log.elapsed();
        let gone = |slot: &Slot| {
            slot.finished.load(Ordering::SeqCst)
                || matches!(slot.state, State::Down { .. } | State::Gone)
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

    fn up(&mut self, pick: u32) -> Option<&mut Slot> {
        let up: Vec<usize> =
            (0..self.slots.len()).filter(|at| self.slots[*at].state == State::Up).collect();
        let at = *up.get(pick as usize % up.len().max(1))?;
        self.slots.get_mut(at)
    }

    fn newcomer(&mut self) -> Life {
        let worker = self.next_worker;
        self.next_worker += 1;
        Life { worker, life: 1 }
    }
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slots = self.slots.iter().map(|slot| (slot.life, slot.state));
        f.debug_list().entries(slots).finish()
    }
}

#[expect(clippy::expect_used, reason = "a letter and digits")]
fn worker_id(life: Life) -> WorkerId {
    WorkerId::new(format!("w{}", life.worker)).expect("a valid id")
}

fn observe(world: &World, life: Life, gauges: &Gauges, event: &WorkerEvent) {
    let turn = |shard: &ShardRef, turn| world.log.on(&shard.shard, What::Process(life, turn));
    match event {
        WorkerEvent::Ready => world.log.note(What::Process(life, Turn::IsReady)),
        WorkerEvent::StreamReady(_) => world.log.note(What::Process(life, Turn::StreamIsReady)),
        WorkerEvent::Granted { shard, position } => {
            gauges.begins(&shard.shard);
            world.log.on(&shard.shard, What::Granted(life, position.clone()));
        }
        WorkerEvent::Ended(shard) => turn(shard, Turn::EndedIt),
        WorkerEvent::Drained(shard) => turn(shard, Turn::DrainedIt),
        WorkerEvent::HandedOver(shard) => turn(shard, Turn::HandedItOver),
        WorkerEvent::Lost(shard) => turn(shard, Turn::LostIt),
        WorkerEvent::Halted { shard, .. } => turn(shard, Turn::HaltedIt),
        WorkerEvent::Abandoned(shard) => turn(shard, Turn::AbandonedIt),
        _ => {}
    }
}
