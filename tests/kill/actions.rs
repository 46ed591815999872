//! Many random actions on a larger fleet, and what a takeover takes. Minutes long: run with `--ignored`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::TURN;
use crate::loopback::process::{Process, Signal};
use crate::loopback::world::World;

const ACTIONS: u32 = 100;
const WORKERS: usize = 8;
const SHARDS: i32 = 64;
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// S1, S5, S6: 8 processes and 64 shards under SIGKILL, SIGTERM, SIGSTOP and SIGCONT and restarts, with splits and merges.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "about four minutes"]
async fn a_hundred_random_actions_lose_nothing() {
    let _turn = TURN.lock().await;
    let seed = std::env::var("KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("KILL_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let world = World::new(SHARDS, "3s").await;
    let mut producer = world.produce(200, 400);
    let mut fleet: Vec<Process> =
        (0..WORKERS).map(|n| world.consume("orders-app", &format!("w{n}"))).collect();
    let mut asleep: Vec<(Process, Instant)> = Vec::new();
    let (mut counts, mut names) = (BTreeMap::<&str, u32>::new(), 0);
    for action in 0..ACTIONS {
        tokio::time::sleep(Duration::from_millis(rng.u64(200..2_500))).await;
        let (over, still): (Vec<_>, Vec<_>) =
            asleep.into_iter().partition(|(_, until)| *until <= Instant::now());
        asleep = still;
        for (process, _) in over {
            process.signal(Signal::Continue).await;
            fleet.push(process);
        }
        if action % 10 == 4 {
            world.split(&mut rng).await;
        } else if action % 10 == 9 {
            world.merge(&mut rng).await;
        }
        let process = fleet.swap_remove(rng.usize(..fleet.len()));
        let what = match rng.u32(..10) {
            0..4 => "kill",
            4..7 => "stop",
            _ if asleep.len() < 2 => "pause",
            _ => "kill",
        };
        *counts.entry(what).or_default() += 1;
        let mut id = process.id.clone();
        match what {
            "kill" => process.kill().await,
            "stop" => {
                process.terminate().await;
                // Another worker may take one of its leases meanwhile, which is told by the exit code.
                process.has_ended(STOP_LIMIT).await;
            }
            _ => {
                process.signal(Signal::Stop).await;
                let span = Duration::from_millis(rng.u64(500..15_000));
                asleep.push((process, Instant::now() + span));
                continue;
            }
        }
        if rng.bool() {
            names += 1;
            id = format!("new-{names}");
        }
        fleet.push(world.consume("orders-app", &id));
    }
    for (process, _) in asleep {
        process.signal(Signal::Continue).await;
        fleet.push(process);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    producer.stop().await;
    world.drained().await;
    for process in &fleet {
        process.terminate().await;
    }
    for process in fleet {
        process.has_drained().await;
    }
    let deliveries = world.deliveries();
    let account = deliveries.account(&world.put_so_far());
    println!("{counts:?} and {} reshards: {account:?}", ACTIONS / 5);
    assert_eq!((account.lost, account.out_of_order, account.unknown), (0, 0, 0), "seed {seed}");
}

const TAKEOVERS: u32 = 20;

/// L1, L8: how long a record waits at most after a SIGKILL at a failover time of 10 s, and after a SIGTERM. The bounds are
/// three seconds above the failover time, and two seconds, with room for a busy machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "about eight minutes"]
async fn takeovers_take_the_failover_time_and_stops_a_moment() {
    let _turn = TURN.lock().await;
    let world = World::new(16, "10s").await;
    let mut producer = world.produce(64, 200);
    let mut fleet: Vec<Process> =
        (0..3).map(|n| world.consume("orders-app", &format!("w{n}"))).collect();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let (mut killed, mut stopped) = (Vec::new(), Vec::new());
    for round in 0..TAKEOVERS {
        for (longest, kills, window) in [(&mut killed, true, 17), (&mut stopped, false, 5)] {
            let from = now_ms();
            let process = fleet.remove(0);
            if kills {
                process.kill().await;
            } else {
                process.terminate().await;
                process.has_ended(STOP_LIMIT).await;
            }
            tokio::time::sleep(Duration::from_secs(window)).await;
            let (repeated, wait) = world.deliveries().between(from, now_ms());
            println!("round {round}, kill {kills}: waited {wait:?} at most, {repeated} repeated");
            longest.push(wait);
            fleet.push(world.consume("orders-app", &format!("{round}-{kills}")));
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
    }
    producer.stop().await;
    world.drained().await;
    for longest in [&mut killed, &mut stopped] {
        longest.sort();
    }
    let figures = |waits: &[Duration]| (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("SIGKILL, p50 and p100 of {TAKEOVERS}: {:?}", figures(&killed));
    println!("SIGTERM, p50 and p100 of {TAKEOVERS}: {:?}", figures(&stopped));
    assert!(killed.last() < Some(&Duration::from_secs(15)), "{killed:?}");
    assert!(stopped.last() < Some(&Duration::from_secs(4)), "{stopped:?}");
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
