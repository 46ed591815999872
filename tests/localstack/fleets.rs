//! Several workers, several streams, and workers that go.

use std::time::Duration;

use kcl_core::{StartFrom, StreamSet};

use crate::member::{Log, Member, Way, eventually};
use crate::place::{FAILOVER, on_endpoint};

const SECONDS: Duration = Duration::from_secs(1);

/// S1, S6, S15, L4: three workers share the shards, each reads in its own way, and who stops hands on what it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_workers_share_and_stop_one_by_one() {
    on_endpoint(|place| async move {
        let (world, app, log) = (place.stream(4).await, place.application(), Log::default());
        let mut producer = world.produce(40, 80);
        let start = |id, way| Member::start(&world, &app, id, way, StartFrom::TrimHorizon, &log);
        let mut members = Vec::new();
        for (id, way) in [Way::Polling, Way::FanOut, Way::Auto].into_iter().enumerate() {
            members.push(start(id, way));
            eventually(&place, 30 * SECONDS, || {
                (log.taken_by(id) == 0).then(|| format!("worker {id} reads nothing"))
            })
            .await;
        }
        members.remove(0).stop().await;
        tokio::time::sleep(2 * SECONDS).await;
        producer.stop().await;
        log.drained(&place, &world, 20 * SECONDS).await;
        for member in members {
            member.stop().await;
        }
        let account = log.account(&world);
        assert_eq!((account.lost, account.duplicates), (0, 0), "{account:?}");
    })
    .await;
}

/// Each of two streams is read whole, and both have their leases in one table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_streams_are_read_by_one_application() {
    on_endpoint(|place| async move {
        let (orders, payments) = (place.stream(2).await, place.stream(1).await);
        let (app, log, streams) = (place.application(), Log::default(), StreamSet::new());
        for world in [&orders, &payments] {
            world.put(20).await;
            assert!(streams.add(&world.stream, StartFrom::TrimHorizon).unwrap());
        }
        let start = |id, way| Member::of_streams(&orders, &app, id, way, &streams, &log);
        let members = [start(1, Way::Polling), start(2, Way::FanOut)];
        for world in [&orders, &payments] {
            world.put(20).await;
            log.drained(&place, world, 20 * SECONDS).await;
        }
        for member in members {
            member.stop().await;
        }
        for world in [&orders, &payments] {
            let account = log.account(world);
            assert_eq!((account.put, account.lost, account.duplicates), (40, 0, 0), "{account:?}");
        }
    })
    .await;
}

/// S1, S6, L2: processes; one is killed with SIGKILL, its shards are taken over, and SIGTERM ends the other in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_is_taken_over() {
    on_endpoint(|place| async move {
        let (world, app) = (place.stream(4).await, place.application());
        let mut producer = world.produce(40, 80);
        let (first, second) = (world.consume(&app, "first"), world.consume(&app, "second"));
        first.first_line().await;
        second.first_line().await;
        first.kill().await;
        // Its leases run out, and are taken.
        tokio::time::sleep(place.patience(FAILOVER)).await;
        producer.stop().await;
        world.drained().await;
        second.terminate().await;
        second.has_drained().await;
        let before = world.deliveries();
        world.put(40).await;
        let third = world.consume(&app, "third");
        world.drained().await;
        third.terminate().await;
        third.has_drained().await;
        let deliveries = world.deliveries();
        let account = deliveries.account(&world.put_so_far());
        assert_eq!((account.lost, account.out_of_order, account.unknown), (0, 0, 0), "{account:?}");
        assert_eq!(deliveries.shards_out_of_order(), Vec::<String>::new());
        assert_eq!(deliveries.after(&before).repeated(&before), 0, "repeated after SIGTERM");
        println!("after one SIGKILL: {account:?}");
    })
    .await;
}
