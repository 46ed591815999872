//! Restarts: a stop repeats nothing, a crash loses nothing.

use std::time::Duration;

use kcl_core::WorkerEvent;

use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// S15, L8: a graceful stop leads to no duplicate at all, and peers start at once.
#[tokio::test(start_paused = true)]
async fn a_graceful_stop_repeats_nothing() {
    let world = World::new(4).await;
    let mut worker = world.start("worker-0");
    for round in 1..10 {
        world.put(12, 3).await;
        tokio::time::sleep(Duration::from_millis(137 * round)).await;
        let report = worker.stop().await;
        assert!(report.is_clean(), "{report:?}");
        worker = world.start(&format!("worker-{round}"));
    }
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.duplicates, account.out_of_order), (0, 0, 0));
    worker.stop().await;
}

/// S15, S26: workers that join a fleet get their share without a duplicate, while records come.
#[tokio::test(start_paused = true)]
async fn workers_that_join_repeat_nothing() {
    let world = World::new(6).await;
    let mut workers = vec![world.start("worker-0")];
    for round in 1..4 {
        for _ in 0..40 {
            world.put(12, 3).await;
            tokio::time::sleep(Duration::from_millis(97 * round)).await;
        }
        workers.push(world.start(&format!("worker-{round}")));
    }
    for _ in 0..40 {
        world.put(12, 3).await;
        tokio::time::sleep(Duration::from_millis(211)).await;
    }
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.duplicates, account.out_of_order), (0, 0, 0));
    let mut drained = Vec::new();
    for worker in workers {
        let report = worker.stop().await;
        assert!(report.is_clean(), "{report:?}");
        drained.push(report.drained.len());
    }
    assert!(drained[0] <= 2, "the others had their share: {drained:?}");
}

/// S1, S3: a crash at any moment loses nothing; the lease expires and the next worker repeats only what was not durable.
#[tokio::test(start_paused = true)]
async fn a_crash_loses_nothing() {
    let world = World::new(4).await;
    let mut worker = world.start("worker-0");
    for round in 1..=20 {
        world.put(12, 3).await;
        tokio::time::sleep(Duration::from_millis(211 * round)).await;
        worker.kill().await;
        worker = world.start(&format!("worker-{round}"));
    }
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.out_of_order), (0, 0), "{account:?}");
    worker.stop().await;
}

/// L1: a survivor delivers a dead worker's shards within the lease duration and one scan.
#[tokio::test(start_paused = true)]
async fn a_survivor_takes_over_within_the_lease_duration() {
    let world = World::new(4).await;
    let (dying, survivor) = (world.start("dying"), world.start("survivor"));
    tokio::time::sleep(MINUTE).await;
    dying.kill().await;
    #[expect(clippy::disallowed_methods, reason = "the test stands outside of the library")]
    let died = tokio::time::Instant::now();
    world.put(40, 1).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.out_of_order), (0, 0), "{account:?}");
    let last = world.oracle.delivered().iter().map(|delivered| delivered.at).max().unwrap();
    assert!(last - died <= Duration::from_secs(16), "took {:?}", last - died);
    survivor.stop().await;
}

/// A worker that is restarted under its own id takes its leases up at once, though they have not expired.
#[tokio::test(start_paused = true)]
async fn a_restart_under_the_same_id_does_not_wait() {
    let world = World::new(4).await;
    let first = world.start("stable");
    world.put(12, 1).await;
    world.oracle.drained(MINUTE).await;
    first.kill().await;
    #[expect(clippy::disallowed_methods, reason = "the test stands outside of the library")]
    let restarted = tokio::time::Instant::now();
    let second = world.start("stable");
    world.put(12, 1).await;
    let account = world.oracle.drained(MINUTE).await;
    assert_eq!((account.lost, account.out_of_order), (0, 0), "{account:?}");
    let last = world.oracle.delivered().iter().map(|delivered| delivered.at).max().unwrap();
    assert!(last - restarted <= Duration::from_secs(1), "took {:?}", last - restarted);
    second.stop().await;
}

/// After a graceful stop of one of two workers the other one goes on within a second or so, not after an expiry.
#[tokio::test(start_paused = true)]
async fn a_peer_takes_freed_leases_soon() {
    let world = World::new(4).await;
    let (leaving, staying) = (world.start("leaving"), world.start("staying"));
    tokio::time::sleep(MINUTE).await;
    assert!(leaving.stop().await.is_clean());
    let held = |events: &[WorkerEvent]| {
        events.iter().filter(|event| matches!(event, WorkerEvent::Granted { .. })).count()
    };
    let before = held(&staying.events());
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(held(&staying.events()) > before, "freed leases were not taken");
    staying.stop().await;
}
