//! LocalStack stands still, or is started again and has forgotten everything, while workers run.
//!
//! Nothing else can run beside these: `localstack/test.sh` runs them last and one by one. `LOCALSTACK_CONTROL` names a program
//! that takes `pause`, `resume` and `restart`, such as `localstack/host.sh` within its own `run`.

use std::time::Duration;

use kcl_core::StartFrom;
use tokio::process::Command;

use crate::member::{Log, Member, Way};
use crate::place::{Place, Target, on_endpoint};

const SECONDS: Duration = Duration::from_secs(1);

async fn control(place: &Place, act: &str) {
    assert_eq!(place.target, Target::LocalStack, "only LocalStack can be stopped");
    let program = std::env::var("LOCALSTACK_CONTROL").expect("LOCALSTACK_CONTROL");
    assert!(Command::new(program).arg(act).status().await.unwrap().success(), "{act}");
}

/// Through a minute in which nothing is answered: 0 lost, by polling and by fan-out, without anybody's help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it stops the LocalStack that other tests use: localstack/test.sh"]
async fn a_minute_without_answers_loses_nothing() {
    on_endpoint(|place| async move {
        let world = place.stream(2).await;
        let mut producer = world.produce(20, 40);
        let members = [Way::Polling, Way::FanOut].map(|way| {
            let (app, log) = (place.application(), Log::default());
            (way, Member::start(&world, &app, 1, way, StartFrom::TrimHorizon, &log), log)
        });
        for (_, member, _) in &members {
            member.ready(&place).await;
        }
        tokio::time::sleep(3 * SECONDS).await;
        control(&place, "pause").await;
        tokio::time::sleep(60 * SECONDS).await;
        control(&place, "resume").await;
        tokio::time::sleep(5 * SECONDS).await;
        producer.stop().await;
        for (way, member, log) in members {
            log.drained(&place, &world, 30 * SECONDS).await;
            member.stop().await;
            let account = log.account(&world);
            println!("after a minute without answers, {way:?}: {account:?}");
            assert_eq!(account.lost, 0, "{account:?}");
        }
    })
    .await;
}

/// Stream and lease table are gone: a worker ends with exit code 2, and says what is missing. It does not make a table of its
/// own: whoever starts it again starts a new application.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it restarts the LocalStack that other tests use: localstack/test.sh"]
async fn a_worker_says_that_everything_is_gone() {
    on_endpoint(|place| async move {
        let (world, app) = (place.stream(2).await, place.application());
        world.put(20).await;
        let consumer = world.consume(&app, "only");
        consumer.first_line().await;
        world.drained().await;
        control(&place, "restart").await;
        let log = consumer.log_path();
        let status = consumer.has_ended(30 * SECONDS).await;
        let log = std::fs::read_to_string(log).unwrap();
        let last = log.lines().rev().take(2).collect::<Vec<_>>();
        println!("after a restart: {status}, {last:#?}");
        assert_eq!(status.code(), Some(2), "{log}");
        assert!(log.contains(&format!("lease table does not exist: table={app}")), "{log}");
    })
    .await;
}
