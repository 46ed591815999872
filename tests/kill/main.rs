//! Real processes of `consume` against the emulator's loopback server: killed, restarted, stopped in order, and timed.
//!
//! `cargo test` builds the examples before it runs the tests. `cargo test --test kill` does not: build them with
//! `cargo build --example consume` first.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says what it measured, and with which seed")]
#![expect(
    clippy::disallowed_methods,
    reason = "the test stands outside of the library: it has a clock and tasks of its own"
)]

mod actions;
#[path = "../loopback/mod.rs"]
mod loopback;

use std::time::{Duration, Instant};

use loopback::account::{self, Deliveries};
use loopback::process::Process;
use loopback::world::World;
use tokio::sync::Mutex;

/// The tests take turns: each wants the machine for itself.
static TURN: Mutex<()> = Mutex::const_new(());

const KILLS: u32 = 24;

/// S1, S6, S15: a kill at any moment loses nothing and keeps the order, and a graceful stop repeats nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_nothing_and_graceful_stops_repeat_nothing() {
    let _turn = TURN.lock().await;
    let seed = std::env::var("KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("KILL_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let world = World::new(4, "2s").await;
    let mut producer = world.produce(40, 400);

    let mut fleet: Vec<Process> = ["a", "b", "c"].map(|id| world.consume("orders-app", id)).into();
    let mut names = 0;
    for kill in 1..=KILLS {
        tokio::time::sleep(Duration::from_millis(rng.u64(100..1900))).await;
        match kill {
            6 | 18 => world.split(&mut rng).await,
            12 => world.merge(&mut rng).await,
            _ => {}
        }
        let slot = rng.usize(..fleet.len());
        let killed = fleet.remove(slot);
        let id = if rng.bool() {
            killed.id.clone()
        } else {
            names += 1;
            format!("new-{names}")
        };
        killed.kill().await;
        if rng.u32(..4) == 0 {
            tokio::time::sleep(Duration::from_millis(rng.u64(..2500))).await;
        }
        fleet.push(world.consume("orders-app", &id));
    }

    // Once they read everything that was put well after the last kill, no lease of a dead process is left.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (put, begin) = (world.put_so_far(), Instant::now());
    while world.deliveries().account(&put).lost > 0 {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{:?}",
            world.deliveries().account(&put)
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    for consumer in &fleet {
        consumer.terminate().await;
    }
    for consumer in fleet {
        consumer.has_drained().await;
    }
    let before = world.deliveries();
    for round in 0..3 {
        let consumer = world.consume("orders-app", &format!("graceful-{round}"));
        let first = consumer.first_line().await;
        assert!(first < Duration::from_secs(6), "freed leases are free at once: {first:?}");
        tokio::time::sleep(Duration::from_millis(rng.u64(500..2000))).await;
        if round == 2 {
            producer.stop().await;
            world.drained().await;
        }
        consumer.terminate().await;
        consumer.has_drained().await;
    }

    let deliveries = world.deliveries();
    let account = deliveries.account(&world.put_so_far());
    println!("{KILLS} kills: {account:?}");
    assert_eq!((account.lost, account.out_of_order, account.unknown), (0, 0, 0), "seed {seed}");
    assert_eq!(deliveries.shards_out_of_order(), Vec::<String>::new(), "seed {seed}");
    let repeated = deliveries.after(&before).repeated(&before);
    assert_eq!(repeated, 0, "delivered again after graceful stops, seed {seed}");
}

/// A record is with the processor within 2 s of the start of a new application, and within 1 s of a restart under the same
/// id (here with three times that, for busy machines; the figures are printed).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_start_fast() {
    let _turn = TURN.lock().await;
    let world = World::new(4, "10s").await;
    let mut figures: [Vec<Duration>; 3] = Default::default();
    for run in 0..3 {
        let app = format!("timing-{run}");
        world.put(40).await;
        let consumer = world.consume(&app, "same");
        figures[0].push(consumer.first_line().await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        consumer.terminate().await;
        consumer.has_drained().await;

        world.put(40).await;
        let consumer = world.consume(&app, "same");
        figures[1].push(consumer.first_line().await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        consumer.kill().await;

        world.put(40).await;
        let consumer = world.consume(&app, "same");
        figures[2].push(consumer.first_line().await);
        consumer.kill().await;
    }
    let [new, stopped, killed] = &figures;
    println!("process start to first record on stdout, 4 shards, 3 runs each:");
    println!("  new application                   {new:?}");
    println!("  same worker id, after SIGTERM     {stopped:?}");
    println!("  same worker id, after SIGKILL     {killed:?}");
    let within = |figures: &[Duration], limit| figures.iter().all(|figure| *figure < limit);
    assert!(within(new, Duration::from_secs(6)));
    assert!(within(stopped, Duration::from_secs(3)));
    assert!(within(killed, Duration::from_secs(3)));
}

/// Deliveries made up by hand are judged right: the other tests fail when they should.
#[test]
fn the_account_sees_what_is_wrong() {
    let line = |process, shard: &str, sequence: &str, key: &str, number, ms| {
        account::Delivery::new(process, shard, sequence, key, number, ms)
    };
    let put = [("k".to_owned(), 4)].into();
    let sound = Deliveries::new(vec![
        line(0, "s", "9", "k", 0, 1),
        line(0, "s", "10", "k", 1, 1),
        line(1, "s", "10", "k", 1, 2),
        line(1, "s", "11", "k", 2, 2),
        line(1, "s", "12", "k", 3, 2),
    ]);
    let account = sound.account(&put);
    assert_eq!((account.lost, account.duplicates, account.out_of_order), (0, 1, 0));
    assert!(sound.shards_out_of_order().is_empty());
    let before = Deliveries::new(vec![line(0, "s", "9", "k", 0, 1), line(0, "s", "10", "k", 1, 1)]);
    assert_eq!(sound.after(&before).repeated(&before), 1);

    let wrong = Deliveries::new(vec![
        line(0, "s", "10", "k", 1, 1),
        line(0, "s", "9", "k", 0, 1),
        line(0, "s", "12", "k", 3, 1),
        line(0, "s", "13", "k", 4, 1),
    ]);
    let account = wrong.account(&put);
    assert_eq!((account.lost, account.out_of_order, account.unknown), (1, 1, 1));
    assert_eq!(wrong.shards_out_of_order(), ["process 0, shard s"]);
}
