//! Random histories: puts, reshards, crashes, stops and faults of every kind, then peace. Whatever happened, everything is
//! delivered, in order, parents first, and no checkpoint ever moved back or past what was delivered (S1-S3, S6, S7, L5).
//!
//! `KCL_SEED=n` replays one history; `KCL_SEEDS=n` runs that many.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::{Batch, Position, RecordProcessor, ShardContext, ShardId, StartFrom, WorkerId};
use kcl_emulator::{Fault, Rule, Service};

use crate::reshards::open_shards;
use crate::world::{Reading, Recorder, Running, STREAM, World};

const SEEDS: u64 = 40;
const SECOND: Duration = Duration::from_secs(1);
/// A stop ends within this, whatever cannot be reached: the drain limit, and a few seconds.
const STOP: Duration = Duration::from_secs(27);
/// After the faults end, everything is delivered within this: a lease expires, its shard is read, and then its children.
const PEACE: Duration = Duration::from_secs(90);

#[tokio::test(start_paused = true)]
async fn random_histories_lose_nothing_even() {
    histories(0, SEEDS, Reading::Polling).await;
}

#[tokio::test(start_paused = true)]
async fn random_histories_lose_nothing_odd() {
    histories(1, SEEDS, Reading::Polling).await;
}

#[tokio::test(start_paused = true)]
async fn random_histories_by_fan_out_lose_nothing() {
    histories(0, SEEDS / 2, Reading::FanOut).await;
}

#[tokio::test(start_paused = true)]
async fn random_histories_of_mixed_fleets_lose_nothing() {
    histories(1, SEEDS / 2, Reading::Mixed).await;
}

/// Of the seeds, half: for two cores.
async fn histories(half: u64, count: u64, reading: Reading) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seeds = match number("KCL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KCL_SEEDS").unwrap_or(count),
    };
    for seed in seeds.filter(|seed| seed % 2 == half) {
        let _told = Told(seed);
        history(seed, reading).await;
    }
}

/// Tells the seed of a history that fails.
struct Told(u64);

impl Drop for Told {
    #[expect(clippy::print_stderr, reason = "for whoever replays it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("history {seed} failed; replay it with KCL_SEED={seed}", seed = self.0);
        }
    }
}

async fn history(seed: u64, reading: Reading) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let world = World::seeded(seed, rng.i32(1..4)).await.by(reading);
    let mut workers = vec![start(&world, "w0", seed), start(&world, "w1", seed + 1)];
    let mut checkpoints = BTreeMap::new();
    let end = rng.u32(25..40);
    for step in 0..end {
        workers.retain(|worker| !worker.has_ended());
        world.put(6, rng.u32(0..3)).await;
        act(&world, &mut workers, step, &mut rng).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(0..10_000))).await;
        check(&world, &mut checkpoints).await;
    }
    world.emulator.faults().clear();
    workers.retain(|worker| !worker.has_ended());
    if workers.is_empty() {
        workers.push(start(&world, "last", seed));
    }
    let account = world.oracle.drained(PEACE).await;
    assert_eq!((account.lost, account.out_of_order), (0, 0), "{account:?}");
    check(&world, &mut checkpoints).await;
    parents_first(&world).await;
    for worker in workers {
        let report = worker.stop().await;
        assert!(report.halted.is_empty(), "{report:?}");
    }
    check(&world, &mut checkpoints).await;
}

fn start(world: &World, id: &str, seed: u64) -> Running {
    let (oracle, worker) = (world.oracle.clone(), WorkerId::new(id).unwrap());
    world.start_with(id, StartFrom::TrimHorizon, move |shard| {
        let mood = seed ^ shard.as_str().bytes().map(u64::from).sum::<u64>();
        let rng = fastrand::Rng::with_seed(mood);
        Moody { recorder: Recorder { oracle: oracle.clone(), worker: worker.clone() }, rng }
    })
}

/// Takes its time, and sometimes fails, before it records.
struct Moody {
    recorder: Recorder,
    rng: fastrand::Rng,
}

impl RecordProcessor for Moody {
    type Error = String;

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), String> {
        if self.rng.u32(..3) == 0 {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(..4_000))).await;
        }
        if self.rng.u32(..15) == 0 {
            return Err("not in the mood".into());
        }
        self.recorder.process_records(batch, shard).await.map_err(|never| match never {})
    }
}

/// Something happens, or nothing.
async fn act(world: &World, workers: &mut Vec<Running>, step: u32, rng: &mut fastrand::Rng) {
    let faults = world.emulator.faults();
    match rng.u32(..14) {
        0 => {
            let open = open_shards(world).await;
            if open.len() < 6 {
                world.split(&open[rng.usize(..open.len())].0).await;
            }
        }
        1 => {
            let open = open_shards(world).await;
            if open.len() > 1 {
                let left = rng.usize(..open.len() - 1);
                world.merge(&open[left].0, &open[left + 1].0).await;
            }
        }
        2 if !workers.is_empty() => {
            workers.swap_remove(rng.usize(..workers.len())).kill().await;
        }
        3 if !workers.is_empty() => {
            let worker = workers.swap_remove(rng.usize(..workers.len()));
            worker.ask_to_stop();
            let stopped = async {
                while !worker.has_ended() {
                    tokio::time::sleep(SECOND).await;
                }
            };
            tokio::time::timeout(STOP, stopped).await.unwrap();
        }
        2..=5 if workers.len() < 3 => workers.push(start(world, &format!("w{step}"), rng.u64(..))),
        6..=8 => {
            let by_events = world.reading() != Reading::Polling && rng.u32(..3) == 0;
            let fault = if by_events { fault_of_events(rng) } else { fault(rng) };
            let service = if rng.bool() { Service::Kinesis } else { Service::DynamoDb };
            for worker in &*workers {
                let rule = Rule::new(fault.clone()).service(service).chance(0.15);
                faults.add(rule.caller(worker.id.as_str()));
            }
        }
        9 if !workers.is_empty() => {
            // Away altogether, for one worker.
            let cut_off = &workers[rng.usize(..workers.len())];
            let rule = Rule::new(fault(rng)).caller(cut_off.id.as_str());
            faults.add(if rng.bool() { rule } else { rule.service(Service::DynamoDb) });
        }
        10 | 11 => faults.clear(),
        _ => {}
    }
}

fn fault(rng: &mut fastrand::Rng) -> Fault {
    match rng.u32(..10) {
        0 => Fault::Throttle,
        1 => Fault::ErrorBefore(500),
        2 => Fault::ErrorBefore(503),
        3 => Fault::ErrorAfter,
        4 => Fault::LostBefore,
        5 => Fault::LostAfter,
        6 => Fault::CutBody { at: rng.usize(..100) },
        7 => Fault::Latency(SECOND * rng.u32(1..20)),
        8 => Fault::LateReply(SECOND * rng.u32(1..20)),
        _ => Fault::Custom {
            status: 400,
            error: "ExpiredTokenException".into(),
            message: "credentials".into(),
        },
    }
}

/// What befalls a subscription.
fn fault_of_events(rng: &mut fastrand::Rng) -> Fault {
    let events = rng.usize(..3);
    let errors =
        ["InternalFailureException", "ResourceInUseException", "ResourceNotFoundException"];
    match rng.u32(..5) {
        0 => Fault::CutStream { events },
        1 => Fault::Silence { events },
        2 => Fault::LateEvents(SECOND * rng.u32(1..8)),
        3 => Fault::CutBody { at: rng.usize(..900) },
        _ => Fault::StreamError {
            events,
            error: errors[rng.usize(..errors.len())].into(),
            message: "asked for".into(),
        },
    }
}

/// S2, S3: no checkpoint has moved back since the last look, and none is past what was delivered.
async fn check(world: &World, checkpoints: &mut BTreeMap<ShardId, Position>) {
    let leases = world.leases().await;
    let mut newest: BTreeMap<ShardId, Position> = BTreeMap::new();
    for delivery in world.oracle.delivered() {
        let known = newest.entry(delivery.shard).or_insert(delivery.position.clone());
        *known = delivery.position.max(known.clone());
    }
    for lease in leases {
        let before = checkpoints.insert(lease.shard.clone(), lease.position.clone());
        assert!(before.is_none_or(|before| before <= lease.position), "moved back: {lease:?}");
        if let Position::Sequence { .. } = lease.position {
            let delivered = newest.get(&lease.shard);
            assert!(delivered >= Some(&lease.position), "{lease:?} is past {delivered:?}");
        }
    }
}

/// S7: the first delivery of each record of a shard comes before any delivery of the shard's children.
async fn parents_first(world: &World) {
    let shards = world.kinesis.list_shards().stream_name(STREAM).send().await.unwrap();
    let mut begun = BTreeMap::new();
    let mut last_first = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for delivery in world.oracle.delivered() {
        begun.entry(delivery.shard.to_string()).or_insert(delivery.at);
        if seen.insert((delivery.key, delivery.number)) {
            last_first.insert(delivery.shard.to_string(), delivery.at);
        }
    }
    for shard in shards.shards() {
        let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
        for parent in parents.into_iter().flatten() {
            if let (Some(parent), Some(child)) =
                (last_first.get(parent), begun.get(shard.shard_id()))
            {
                assert!(parent <= child, "{} began before its parent was read", shard.shard_id());
            }
        }
    }
}
