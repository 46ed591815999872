//! Workers of ours and of the real Java KCL 2.x share a stream and a lease table: joins, kills, stops, reshards.
//!
//! It takes seven minutes, Java 17 and Maven, so it runs only when asked: `bash tests/compat/run.sh`.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says what it measured, and with which seed")]
#![expect(
    clippy::disallowed_methods,
    reason = "the test stands outside of the library: it has a clock and tasks of its own"
)]

mod fleet;
mod java;
#[path = "../loopback/mod.rs"]
mod loopback;
mod report;
mod watch;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet::Fleet;
use java::Java;
use loopback::world::World;
use report::Limits;
use watch::Sample;

const FAILOVER: Duration = Duration::from_secs(10);

/// A lease duration; a scan until the holder's last sign of life is seen; a scan for which what is left is up to workers
/// that have less; and half a second.
const TAKEOVER: Duration = Duration::from_secs(13);

/// Java's taker runs every two lease durations, and takes one lease of a live worker at a time.
const JAVA_TURN: Duration = Duration::from_secs(21);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "seven minutes, with Java and Maven: bash tests/compat/run.sh"]
async fn a_fleet_of_java_and_ours_loses_nothing() {
    let Some(java) = Java::build().await else { return };
    let seed = std::env::var("COMPAT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("COMPAT_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let world = World::new(8, "10s").await;
    let mut producer = world.produce(40, 100);
    let mut fleet = Fleet::new(world, java, FAILOVER);

    let step = fleet.begin("Java alone founds the application");
    fleet.start_java("java-1");
    fleet.settle(step, Limits { silence: None, ..patience(60) }, any).await;

    let step = fleet.begin("ours joins Java");
    fleet.start_ours("ours-1");
    fleet.settle(step, patience(15), any).await;

    let step = fleet.begin("one more of each joins");
    fleet.start_java("java-2");
    fleet.start_ours("ours-2");
    fleet.settle(step, patience(80), any).await;

    let step = fleet.begin("they are left alone for a minute");
    fleet.rest(step, Limits { changes: 0, ..patience(60) }).await;

    let mut step = fleet.begin("one of ours is killed");
    fleet.kill("ours-2", &mut step).await;
    fleet.settle(step, patience(80), any).await;

    let mut step = fleet.begin("one of Java is killed");
    fleet.kill("java-2", &mut step).await;
    fleet.settle(step, patience(80), any).await;

    let mut step = fleet.begin("Java is stopped, ours alone");
    fleet.stop("java-1", &mut step).await;
    fleet.settle(step, patience(50), any).await;

    let step = fleet.begin("Java joins ours");
    fleet.start_ours("ours-3");
    fleet.start_java("java-3");
    fleet.settle(step, patience(80), any).await;

    let mut step = fleet.begin("one of ours is stopped");
    fleet.stop("ours-1", &mut step).await;
    fleet.settle(step, patience(60), any).await;

    let step = fleet.begin("a split and a merge");
    let before = fleet.table();
    fleet.world.split(&mut rng).await;
    fleet.world.merge(&mut rng).await;
    let children = |sample: &Sample| {
        let new = sample.leases.iter().filter(|(key, _)| !before.leases.contains_key(*key));
        let new: Vec<_> = new.collect();
        new.len() == 3 && new.iter().all(|(_, lease)| lease.has_progressed())
    };
    fleet.settle(step, Limits { balance: false, ..patience(80) }, children).await;

    // Java takes and steals ended leases too, and counts them as its load until it deletes them after five minutes. So
    // it reads less than its share of what is open, which is not judged.
    let mut step = fleet.begin("a turn of Java after that");
    tokio::time::sleep(JAVA_TURN).await;
    fleet.note_ended(&mut step);
    fleet.settle(step, Limits { balance: false, ..patience(30) }, any).await;

    producer.stop().await;
    fleet.world.drained().await;
    fleet.disband().await;
    let deliveries = fleet.world.deliveries();
    let account = deliveries.account(&fleet.world.put_so_far());
    println!("{}\n{account:?}", report::table(&fleet.rows, &deliveries));
    let unordered = deliveries.shards_out_of_order();
    let broken: Vec<_> = fleet.rows.iter().flat_map(|row| &row.broken).collect();
    let sound = (account.lost, account.out_of_order, account.unknown) == (0, 0, 0);
    if !(sound && unordered.is_empty() && broken.is_empty()) {
        panic!("{account:?} {unordered:?} {broken:#?}\n{}", fleet.world.keep());
    }
}

/// The usual limits of a step that may take so long to be balanced.
fn patience(seconds: u64) -> Limits {
    let slack = slack();
    Limits {
        patience: Duration::from_secs(seconds) + slack,
        balance: true,
        takeover: TAKEOVER + slack,
        silence: Some(TAKEOVER + slack),
        changes: usize::MAX,
    }
}

/// What a busy machine is granted beside the limits of time: `COMPAT_SLACK` in seconds.
fn slack() -> Duration {
    let slack = std::env::var("COMPAT_SLACK").ok().and_then(|slack| slack.parse().ok());
    Duration::from_secs(slack.unwrap_or_default())
}

fn any(_: &Sample) -> bool {
    true
}

/// Unix time. One host, so that what the processes write can be compared.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}
