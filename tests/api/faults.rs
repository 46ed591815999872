//! Calls that fail: throttles, errors, lost answers, outages, expired iterators and credentials. Nothing is lost, nobody
//! delivers without a lease, and nobody has to mend anything by hand (S1, S5, C1, C4, L5, A16, B10, D6).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::metrics::{ITERATORS_EXPIRED, Metric, Metrics, RECORDS_LOST};
use kcl_core::{Batch, RecordProcessor, ShardContext, ShardId, StartFrom, StreamId, WorkerEvent};
use kcl_emulator::{Fault, Rule, Service};

use crate::oracle::Account;
use crate::world::{Recorder, Running, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// An outage is over; reading goes on within this.
const RECOVERY: Duration = Duration::from_secs(10);

fn error(status: u16, name: &str) -> Fault {
    Fault::Custom { status, error: name.into(), message: "said so".into() }
}

/// Everything once, and in order.
fn assert_exact(account: &Account, what: &str) {
    let Account { put: _, lost, duplicates, out_of_order } = *account;
    assert_eq!((lost, duplicates, out_of_order), (0, 0, 0), "{what}: {account:?}");
}

/// Everything at least once, and in order.
fn assert_complete(account: &Account, what: &str) {
    assert_eq!((account.lost, account.out_of_order), (0, 0), "{what}: {account:?}");
}

fn lost(worker: &Running) -> usize {
    worker.events().iter().filter(|event| matches!(event, WorkerEvent::Lost(_))).count()
}

/// Whatever a call does, everything is delivered once: no lease is lost, no record repeated.
#[tokio::test(start_paused = true)]
async fn errors_and_throttles_cost_time_and_nothing_else() {
    let faults = [Fault::Throttle, Fault::ErrorBefore(500), Fault::ErrorBefore(503)];
    let unclear =
        [Fault::ErrorAfter, Fault::LostAfter, Fault::CutBody { at: 3 }, Fault::LostBefore];
    for (seed, fault) in faults.into_iter().chain(unclear).enumerate() {
        for service in [Service::Kinesis, Service::DynamoDb] {
            let what = format!("{fault:?} of {service:?}");
            let world = World::new(3).await;
            let rule = Rule::new(fault.clone()).service(service).caller("a");
            world.emulator.faults().add(rule.chance(0.2 + 0.02 * seed as f64));
            let worker = world.start("a");
            for _ in 0..15 {
                world.put(9, 2).await;
                tokio::time::sleep(SECOND).await;
            }
            world.split("shardId-000000000001").await;
            world.put(9, 2).await;
            assert_exact(&world.oracle.drained(MINUTE).await, &what);
            assert_eq!(lost(&worker), 0, "{what}");
            world.emulator.faults().clear();
            assert!(worker.stop().await.is_clean(), "{what}");
        }
    }
}

/// C1: the first writes of every kind take effect and their answers are lost.
#[tokio::test(start_paused = true)]
async fn c1_lost_answers_of_every_write_kind_cost_no_lease() {
    for operation in ["PutItem", "UpdateItem", "CreateTable"] {
        for n in 1..=6 {
            let what = format!("{operation} {n}");
            let world = World::new(2).await;
            let rule = || Rule::new(Fault::LostAfter).operation(operation).caller("a");
            world.emulator.faults().add(rule().nth(n));
            world.emulator.faults().add(rule().nth(n + 1));
            let worker = world.start("a");
            for _ in 0..4 {
                world.put(6, 2).await;
                tokio::time::sleep(3 * SECOND).await;
            }
            world.split("shardId-000000000000").await;
            world.put(6, 2).await;
            assert_exact(&world.oracle.drained(MINUTE).await, &what);
            assert_eq!(lost(&worker), 0, "{what}");
            let report = worker.stop().await;
            assert!(report.is_clean(), "{what}: {report:?}");
        }
    }
}

/// Two workers with two shards each.
async fn balanced(world: &World) -> [Running; 2] {
    let workers = [world.start("a"), world.start("b")];
    tokio::time::sleep(20 * SECOND).await;
    workers
}

/// S5, L5: without DynamoDB the leases end by themselves, nothing is delivered after that, and everybody is back within
/// seconds of its return.
#[tokio::test(start_paused = true)]
async fn dynamodb_may_be_away_for_a_minute() {
    let world = World::new(4).await;
    let workers = balanced(&world).await;
    let before = workers.iter().map(lost).sum::<usize>();
    world.emulator.faults().add(Rule::new(Fault::ErrorBefore(500)).service(Service::DynamoDb));
    let away = now();
    for _ in 0..60 {
        world.put(12, 1).await;
        tokio::time::sleep(SECOND).await;
    }
    let last = world.oracle.delivered().iter().map(|delivered| delivered.at).max().unwrap();
    assert!(last - away <= 9 * SECOND, "delivered {:?} after the last renewal", last - away);
    assert_eq!(workers.iter().map(lost).sum::<usize>(), before + 4);
    world.emulator.faults().clear();
    let account = world.oracle.drained(RECOVERY).await;
    assert_complete(&account, "DynamoDB away");
    for worker in workers {
        assert!(worker.stop().await.is_clean());
    }
}

/// L5: without Kinesis the leases stay, and reading goes on within seconds of its return.
#[tokio::test(start_paused = true)]
async fn kinesis_may_be_away_for_a_minute() {
    let world = World::new(4).await;
    let workers = balanced(&world).await;
    let before = workers.iter().map(lost).sum::<usize>();
    for id in ["a", "b"] {
        let rule = Rule::new(Fault::LostBefore).service(Service::Kinesis);
        world.emulator.faults().add(rule.caller(id));
    }
    for _ in 0..60 {
        world.put(12, 1).await;
        tokio::time::sleep(SECOND).await;
    }
    world.emulator.faults().clear();
    assert_exact(&world.oracle.drained(RECOVERY).await, "Kinesis away");
    assert_eq!(workers.iter().map(lost).sum::<usize>(), before);
    for worker in workers {
        assert!(worker.stop().await.is_clean());
    }
}

/// S5, C4: a worker that is cut off from DynamoDB, and not from Kinesis, has stopped before another one begins.
#[tokio::test(start_paused = true)]
async fn a_cut_off_worker_delivers_nothing_after_its_successor_has_begun() {
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::Latency(40 * SECOND)] {
        let what = format!("{fault:?}");
        let world = World::new(4).await;
        let [zombie, successor] = balanced(&world).await;
        let rule = Rule::new(fault).service(Service::DynamoDb).caller(zombie.id.as_str());
        world.emulator.faults().add(rule);
        let cut_off = now();
        for _ in 0..80 {
            world.put(12, 1).await;
            tokio::time::sleep(SECOND / 2).await;
        }
        let delivered = world.oracle.delivered();
        let mut begun = BTreeMap::new();
        for delivery in delivered.iter().filter(|delivery| delivery.at >= cut_off) {
            if delivery.worker == successor.id {
                begun.entry(delivery.shard.clone()).or_insert(delivery.at);
            }
        }
        assert_eq!(begun.len(), 4, "{what}: the successor has not taken all shards");
        let late = delivered.iter().filter(|delivery| {
            delivery.worker == zombie.id
                && delivery.at >= cut_off
                && delivery.at >= begun[&delivery.shard]
        });
        assert_eq!(late.count(), 0, "{what}");
        assert_complete(&world.oracle.drained(RECOVERY).await, &what);
        world.emulator.faults().clear();
        tokio::time::sleep(MINUTE).await;
        zombie.stop().await;
        successor.stop().await;
    }
}

/// B10: a batch takes longer than an iterator lives; nothing is lost or repeated.
#[tokio::test(start_paused = true)]
async fn b10_an_iterator_may_expire_while_the_processor_is_busy() {
    struct Slow(Recorder);
    impl RecordProcessor for Slow {
        type Error = std::convert::Infallible;
        async fn process_records(
            &mut self,
            batch: Batch,
            shard: &mut ShardContext,
        ) -> Result<(), Self::Error> {
            tokio::time::sleep(6 * MINUTE).await;
            self.0.process_records(batch, shard).await
        }
    }

    let world = World::new(1).await;
    let figures = Figures::default();
    let (oracle, seen) = (world.oracle.clone(), figures.clone());
    let slow = move |_: &ShardId| {
        Slow(Recorder { oracle: oracle.clone(), worker: "slow".parse().unwrap() })
    };
    let worker = world.start_set("slow", StartFrom::TrimHorizon, slow, |set| set.metrics(seen));
    for _ in 0..10 {
        world.put(3, 1).await;
        tokio::time::sleep(MINUTE).await;
    }
    assert_exact(&world.oracle.drained(60 * MINUTE).await, "slow processor");
    assert!(figures.sum(ITERATORS_EXPIRED) > 0.0);
    worker.ask_to_stop();
    assert!(worker.stop().await.is_clean());
}

/// S9: shards cannot be listed, streams not described, when the application starts.
#[tokio::test(start_paused = true)]
async fn b8_the_first_calls_may_fail_for_a_while() {
    for operation in ["ListShards", "DescribeStreamSummary", "DescribeTable", "CreateTable", "Scan"]
    {
        for fault in [Fault::ErrorBefore(500), Fault::Throttle, Fault::LostAfter] {
            let what = format!("{fault:?} of {operation}");
            let world = World::new(2).await;
            let rule = Rule::new(fault).operation(operation).caller("a");
            world.emulator.faults().add(rule.first(4));
            let worker = world.start("a");
            world.put(6, 2).await;
            assert_exact(&world.oracle.drained(MINUTE).await, &what);
            assert!(worker.stop().await.is_clean(), "{what}");
        }
    }
}

/// B6: a connection that never answers holds nothing for ever, at the start as later.
#[tokio::test(start_paused = true)]
async fn b6_a_call_that_is_never_answered_is_given_up() {
    for operation in
        ["DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords", "UpdateItem"]
    {
        let world = World::new(2).await;
        let rule = Rule::new(Fault::Latency(2400 * MINUTE)).operation(operation).caller("a");
        world.emulator.faults().add(rule.first(1));
        let worker = world.start("a");
        world.put(6, 2).await;
        assert_exact(&world.oracle.drained(2 * MINUTE).await, operation);
        assert!(worker.stop().await.is_clean(), "{operation}");
    }
}

/// D6: credentials expire for ten minutes; leases and records wait, and nobody has to restart anything.
#[tokio::test(start_paused = true)]
async fn credentials_may_be_expired_for_ten_minutes() {
    let world = World::new(3).await;
    let worker = world.start("a");
    world.put(9, 3).await;
    assert_exact(&world.oracle.drained(MINUTE).await, "before");
    let expired = || Rule::new(error(400, "ExpiredTokenException")).caller("a");
    world.emulator.faults().add(expired());
    let before = requests(&world);
    for _ in 0..10 {
        world.put(9, 1).await;
        tokio::time::sleep(MINUTE).await;
    }
    let made = requests(&world) - before - 90;
    assert!(made < 2_500, "{made} requests in ten minutes of refusals");
    world.emulator.faults().clear();
    assert_complete(&world.oracle.drained(RECOVERY).await, "after");
    assert!(worker.stop().await.is_clean());
}

/// A16: what expired while nobody read is gone; reading goes on with the oldest record, whether Kinesis refuses the old
/// position or passes over it.
#[tokio::test(start_paused = true)]
async fn a16_a_checkpoint_older_than_the_retention_goes_on_with_the_oldest_record() {
    for refused in [false, true] {
        let world = World::new(2).await;
        let worker = world.start("a");
        world.put(8, 3).await;
        assert_exact(&world.oracle.drained(MINUTE).await, "before");
        assert!(worker.stop().await.is_clean());
        world.put_expiring(8, 2).await;
        tokio::time::sleep(25 * 60 * MINUTE).await;
        world.put(8, 3).await;
        if refused {
            let rule = Rule::new(error(400, "InvalidArgumentException"));
            let old = rule.operation("GetShardIterator").body_contains("AT_SEQUENCE_NUMBER");
            world.emulator.faults().add(old);
        }
        let figures = Figures::default();
        let (oracle, seen) = (world.oracle.clone(), figures.clone());
        let recorder =
            move |_: &ShardId| Recorder { oracle: oracle.clone(), worker: "late".parse().unwrap() };
        let late = world.start_set("late", StartFrom::TrimHorizon, recorder, |s| s.metrics(seen));
        assert_exact(&world.oracle.drained(MINUTE).await, "after");
        assert_eq!(figures.sum(RECORDS_LOST) > 0.0, refused);
        assert!(late.stop().await.is_clean());
    }
}

/// S7: a fresh application reads a shard whose parents have expired.
#[tokio::test(start_paused = true)]
async fn a_fresh_application_reads_the_children_of_expired_parents() {
    let world = World::new(2).await;
    world.put_expiring(6, 2).await;
    world.split("shardId-000000000000").await;
    tokio::time::sleep(10 * SECOND).await;
    world.merge("shardId-000000000003", "shardId-000000000001").await;
    tokio::time::sleep(49 * 60 * MINUTE).await;
    world.put(6, 2).await;
    let worker = world.start("a");
    assert_exact(&world.oracle.drained(MINUTE).await, "fresh");
    assert!(worker.stop().await.is_clean());
}

/// B12, B14: an application that slept while a shard was split and its retention passed reads the children.
#[tokio::test(start_paused = true)]
async fn b12_a_sleeping_application_reads_the_children_of_a_shard_that_is_gone() {
    let world = World::new(2).await;
    let worker = world.start("a");
    world.put(6, 2).await;
    assert_exact(&world.oracle.drained(MINUTE).await, "before");
    assert!(worker.stop().await.is_clean());
    world.put_expiring(6, 2).await;
    world.split("shardId-000000000000").await;
    tokio::time::sleep(49 * 60 * MINUTE).await;
    world.put(6, 2).await;
    let late = world.start("late");
    assert_exact(&world.oracle.drained(3 * MINUTE).await, "after");
    late.stop().await;
}

/// L8: a stop while the leases cannot be written says that not all is durable.
#[tokio::test(start_paused = true)]
async fn a_stop_while_the_lease_table_is_away_is_not_clean() {
    let world = World::new(2).await;
    let worker = world.start("a");
    world.put(6, 2).await;
    world.oracle.drained(MINUTE).await;
    world.emulator.faults().add(Rule::new(Fault::ErrorBefore(500)).service(Service::DynamoDb));
    world.put(6, 2).await;
    world.oracle.drained(SECOND).await;
    let report = worker.stop().await;
    assert!(!report.is_clean(), "{report:?}");
    assert!(report.took <= 25 * SECOND, "{report:?}");
    world.emulator.faults().clear();
    let next = world.start("b");
    assert_complete(&world.oracle.drained(MINUTE).await, "next");
    next.stop().await;
}

fn requests(world: &World) -> u64 {
    world.emulator.counts().values().sum()
}

#[expect(clippy::disallowed_methods, reason = "the test stands outside of the library")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The sums of all figures.
#[derive(Debug, Clone, Default)]
struct Figures(Arc<Mutex<BTreeMap<&'static str, f64>>>);

impl Figures {
    fn sum(&self, metric: Metric) -> f64 {
        self.0.lock().unwrap().get(metric.name).copied().unwrap_or_default()
    }
}

impl Metrics for Figures {
    fn record(&self, metric: Metric, _shard: Option<(&StreamId, &ShardId)>, value: f64) {
        *self.0.lock().unwrap().entry(metric.name).or_default() += value;
    }
}
