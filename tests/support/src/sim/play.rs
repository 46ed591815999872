//! The phases of a run.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::Position;

use super::crew::Crew;
use super::history::{History, What};
use super::operators::Operators;
use super::producers::Producers;
use super::schedule::{Act, Schedule};
use super::{HEAL_BOUND, Tier, World, trials};

/// Before a trial, and before the end: until then, every move of leases for balance has ended.
const SETTLING: Duration = Duration::from_secs(60);

/// How soon every worker has stopped: the drain limit, and the time to free leases.
const STOP_BOUND: Duration = Duration::from_secs(26);

/// Everybody in a run.
pub(super) struct Cast {
    pub(super) world: Arc<World>,
    pub(super) crew: Crew,
    pub(super) operators: Operators,
    pub(super) producers: Producers,
}

/// Plays a schedule; returns what happened, and how long healing took.
pub(super) async fn play(tier: Tier, schedule: &Schedule) -> (History, Option<Duration>) {
    let mut rng = fastrand::Rng::with_seed(schedule.seed);
    let world = Arc::new(World::new(tier, schedule, &mut rng));
    let mut operators = Operators::default();
    operators.survey(&world);
    let mut producers = Producers::new(rng.fork(), schedule.settings.large);
    producers.put(&world, 40);
    let crew = Crew::new(world.clone(), schedule.settings.workers);
    let mut cast = Cast { world, crew, operators, producers };
    cast.chaos(schedule).await;
    let healed_after = cast.heal().await;
    if healed_after.is_some() {
        cast.pass(SETTLING, 0).await;
        for (nth, trial) in schedule.trials.iter().enumerate() {
            trials::carry_out(&mut cast, *trial, nth as u32).await;
        }
    }
    cast.end().await;
    let history = cast.world.log.lock().clone();
    (history, healed_after)
}

impl Cast {
    async fn chaos(&mut self, schedule: &Schedule) {
        for (at, act) in &schedule.acts {
            self.reach(*at).await;
            self.act(*act).await;
        }
        self.reach(schedule.heals_at).await;
    }

    async fn heal(&mut self) -> Option<Duration> {
        let Self { world, crew, operators, producers } = self;
        world.log.note(What::Healed);
        world.weather.heal();
        crew.heal();
        // Their bytes cost time by Kinesis's quota, which no bound allows for.
        producers.large = false;
        producers.put(world, 20);
        let begun = world.log.elapsed();
        while world.log.elapsed() < begun + 2 * HEAL_BOUND {
            crew.tend();
            if is_drained(world, crew, operators).await {
                world.log.note(What::Drained);
                return Some(world.log.elapsed() - begun);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        None
    }

    async fn end(&mut self) {
        let Self { world, crew, producers, .. } = self;
        // Work that no renewal has made durable yet.
        producers.put(world, 20);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        world.log.note(What::Stopping);
        if crew.stop_all(STOP_BOUND).await {
            world.log.note(What::Stopped);
        }
        crew.abandon();
        world.tasks.stop();
    }

    /// Time passes up to this one, and what is due is done.
    async fn reach(&mut self, at: Duration) {
        let left = at.saturating_sub(self.world.log.elapsed());
        tokio::time::sleep(left).await;
        self.crew.tend();
    }

    /// So much time passes, while up to `most` records are put every half second.
    pub(super) async fn pass(&mut self, span: Duration, most: u32) {
        let end = self.world.log.elapsed() + span;
        while self.world.log.elapsed() < end {
            let left = end - self.world.log.elapsed();
            tokio::time::sleep(left.min(Duration::from_millis(500))).await;
            self.crew.tend();
            if most > 0 {
                self.producers.put(&self.world, most);
            }
        }
    }

    async fn act(&mut self, act: Act) {
        let Self { world, crew, operators, producers } = self;
        let now = world.log.elapsed();
        let worker = |pick: Option<u32>| pick.map(|pick| crew.anyone(pick));
        let who = |worker: Option<u32>| match worker {
            Some(worker) => format!("w{worker}"),
            None => "everybody".to_owned(),
        };
        match act {
            Act::Put { most } => producers.put(world, most),
            Act::Reshard { pick, merge } => operators.reshard(world, pick, merge),
            Act::Scale { percent } => operators.scale(world, percent),
            Act::Crash { pick, pause, same_id } => crew.crash(pick, pause, same_id),
            Act::Stall { pick, span } => crew.stall(pick, span),
            Act::StallWriting { pick, span } => crew.stall_writing(pick, span),
            Act::Zombie { pick, span } => crew.zombie(pick, span),
            Act::Stop { pick, pause, same_id } => drop(crew.stop(pick, pause, same_id)),
            Act::StopRefused { pick, span, pause } => {
                if let Some(life) = crew.stop(pick, pause, false) {
                    world.log.note(What::Weather(format!("the writes of {life} are invalid")));
                    world.weather.refuse(life, now + span);
                }
            }
            Act::Join => crew.join(),
            Act::Unread { pick, span } => crew.unread(pick, span),
            Act::Outage { pick, service, span } => {
                let worker = worker(pick);
                let what = format!("{service:?} is away for {}", who(worker));
                world.log.note(What::Weather(what));
                world.weather.outage(worker, service, now + span);
            }
            Act::LateThenSilent { pick, late, silent } => {
                let worker = crew.anyone(pick);
                world.weather.late_then_silent(worker, late, silent);
            }
            Act::Expire { pick, span } => {
                let worker = worker(pick);
                let what = format!("credentials have expired: {}", who(worker));
                world.log.note(What::Weather(what));
                world.weather.expire(worker, now + span);
            }
            Act::DeleteLease { pick } => operators.delete_lease(world, pick).await,
            Act::Rewind { pick } => operators.rewind(world, pick).await,
            Act::Strew => world.table.strew(),
            Act::Next { operation, fate, times } => world.weather.next(operation, fate, times),
            Act::Feel { mood, times } => world.weather.feel(mood, times),
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
