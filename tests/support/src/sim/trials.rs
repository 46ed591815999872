//! What is tried in calm weather, one thing at a time. How long it may take is the invariants' matter (`l1` to `l10`); here each
//! trial gets the time that it needs at the most.

use std::time::Duration;

use super::history::What;
use super::play::Cast;
use super::schedule::Trial;
use super::weather::{Mood, Service};

/// Records of each half second of a trial.
const PUTS: u32 = 4;

/// A worker that is asked to stop in a trial is not replaced.
const NEVER: Duration = Duration::from_secs(1_000_000);

/// Longer than the retention, which is a day.
pub(super) const ABSENCE: Duration = Duration::from_secs(25 * 3_600);

/// How long everybody may take to stop before that.
const ABSENCE_BEGINS: Duration = Duration::from_secs(30);

/// Records, in groups, that wait for those who were absent.
const ABSENCE_PUTS: u32 = 12;

/// How long large records gather, and at what rate: more of them than Kinesis takes.
const FLOOD: Duration = Duration::from_secs(20);
const FLOOD_PAUSE: Duration = Duration::from_millis(250);
const FLOOD_PUTS: u32 = 40;

/// More than a fifth of the records that a shard has when it is read again.
const REREAD: u32 = 600;

/// From one worker of a deploy to the next, and how soon another is there for it.
const DEPLOY_STEP: Duration = Duration::from_millis(1500);
const DEPLOY_PAUSE: Duration = Duration::from_millis(500);

/// So long a worker leaves a stream.
const AWAY: Duration = Duration::from_secs(9);

/// So soon a crashed process comes back.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn carry_out(cast: &mut Cast, trial: Trial, pick: u32) {
    let timing = cast.world.timing;
    let noticed = timing.lease_duration + timing.scan_interval + Duration::from_secs(3);
    let (up, now) = (cast.crew.count_up(), cast.world.log.elapsed());
    if up < 2 && matches!(trial, Trial::Crash | Trial::CrashAllButOne | Trial::Stop) {
        return; // nobody would be left
    }
    if cast.world.settings.attempts.is_some() && matches!(trial, Trial::Poison(_)) {
        return; // everybody would give the shard up, as they are told to
    }
    if trial == Trial::Absence {
        // What is not done and durable would be forgotten.
        cast.pass(2 * timing.lease_duration, 0).await;
        if !cast.world.log.everything_done() {
            return;
        }
    }
    cast.world.log.note(What::Tries(trial));
    let Cast { world, crew, operators, .. } = cast;
    let span = match trial {
        Trial::Crash => {
            crew.lose(pick);
            noticed
        }
        Trial::CrashAllButOne => {
            for _ in 1..up {
                crew.lose(pick);
            }
            noticed
        }
        Trial::Restart => {
            crew.crash(pick, RESTART_PAUSE, true);
            Duration::from_secs(6)
        }
        Trial::Reshard => {
            operators.reshard(world, pick, pick % 2 == 1);
            Duration::from_secs(5)
        }
        Trial::Join => {
            crew.join();
            Duration::from_secs(12)
        }
        Trial::StoreOutage(span) => {
            world.weather.outage(None, Service::Store, now + span);
            span + Duration::from_secs(12)
        }
        Trial::KinesisOutage(span) => {
            world.weather.outage(None, Service::Kinesis, now + span);
            span + Duration::from_secs(12)
        }
        Trial::Poison(span) => {
            if let Some(shard) = operators.open_shard(world, pick) {
                world.weather.poison(shard.clone(), now + span);
                world.log.on(&shard, What::Poisoned);
                cast.pass(span, PUTS).await;
                cast.world.log.on(&shard, What::Cured);
            }
            Duration::from_secs(6)
        }
        Trial::DeleteLease => {
            operators.delete_open_lease(world, pick).await;
            // The shard is read from its beginning, by small pages at five a second, or what is large at two megabytes: the next
            // trial begins after that.
            let bytes = if world.settings.large { 60 } else { 0 };
            Duration::from_secs(12 + bytes + u64::from(REREAD / world.settings.page))
        }
        Trial::Stop => {
            let _ = crew.stop(pick, NEVER, false);
            Duration::from_secs(9)
        }
        Trial::Deploy => {
            for pick in (0u32..).take(up) {
                let _ = cast.crew.stop(pick, DEPLOY_PAUSE, false);
                cast.pass(DEPLOY_STEP, PUTS).await;
            }
            Duration::from_secs(12)
        }
        Trial::Leave => {
            crew.unread(pick, AWAY);
            AWAY + Duration::from_secs(9)
        }
        Trial::Flood => {
            for _ in 1..up {
                crew.lose(pick);
            }
            crew.crash(pick, FLOOD, false);
            cast.producers.large = true;
            for _ in 0..FLOOD.as_millis() / FLOOD_PAUSE.as_millis() {
                cast.producers.put(&cast.world, FLOOD_PUTS);
                tokio::time::sleep(FLOOD_PAUSE).await;
            }
            cast.producers.large = false;
            cast.world.weather.feel(Mood::Slow(Duration::from_secs(8)), 24);
            // Until the last of it is done, by Kinesis's quota.
            cast.pass(noticed + Duration::from_secs(60), 0).await;
            noticed
        }
        Trial::Absence => {
            for _ in 0..up {
                let _ = crew.stop(0, ABSENCE, pick % 2 == 1);
            }
            // All have stopped, and nothing is left that the stream could forget undone.
            cast.pass(ABSENCE_BEGINS, 0).await;
            tokio::time::sleep(ABSENCE).await;
            cast.world.forget();
            for _ in 0..ABSENCE_PUTS {
                cast.producers.put(&cast.world, PUTS);
            }
            noticed
        }
    };
    cast.pass(span, PUTS).await;
    cast.world.log.note(What::Tried);
    // What the trial moved for balance comes to rest before the next.
    cast.pass(2 * timing.lease_duration, PUTS).await;
}
