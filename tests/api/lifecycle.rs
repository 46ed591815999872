//! What a processor is told and when, what it may checkpoint, and how a worker begins and ends.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kcl_core::leasing::{CheckpointError, LeaseTiming};
use kcl_core::retrieval::Polling;
use kcl_core::{
    Batch, BuildError, Checkpoint, Checkpointer, FailurePolicy, Position, Record, RecordProcessor,
    ShardContext, ShardId, StartFrom, Worker, WorkerEvent,
};
use kcl_emulator::{Emulator, Fault, Rule, Service};
use kcl_lease::DynamoLeases;

use crate::world::{Ready, Running, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Calls, in order, each as `shard number:call`.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    fn note(&self, shard: &ShardId, call: &str) {
        let number: u64 = shard.as_str().rsplit('-').next().unwrap().parse().unwrap();
        self.0.lock().unwrap().push(format!("{number}:{call}"));
    }

    /// The calls for one shard.
    fn of(&self, shard: u64) -> Vec<String> {
        let prefix = format!("{shard}:");
        let calls = self.0.lock().unwrap();
        calls.iter().filter_map(|call| call.strip_prefix(&prefix)).map(str::to_owned).collect()
    }
}

/// Notes every call; hangs, fails or dies where it is told to.
struct Noting {
    calls: Calls,
    shard: ShardId,
    /// How many calls of `initialize` still fail.
    failing: Arc<AtomicU32>,
    hangs: bool,
}

impl RecordProcessor for Noting {
    type Error = String;

    async fn initialize(&mut self, shard: &mut ShardContext) -> Result<(), String> {
        self.calls.note(shard.shard_id(), "initialize");
        let left = |left: u32| left.checked_sub(1);
        match self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left) {
            Ok(_) => Err("not yet".into()),
            Err(_) => Ok(()),
        }
    }

    async fn process_records(&mut self, _: Batch, shard: &mut ShardContext) -> Result<(), String> {
        self.calls.note(shard.shard_id(), "records");
        if self.hangs {
            let _dropped = Dropped(&self.calls, shard.shard_id());
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn shard_ended(&mut self, shard: &mut ShardContext) -> Result<(), String> {
        self.calls.note(shard.shard_id(), "ended");
        Ok(())
    }

    async fn shutdown_requested(&mut self, shard: &mut ShardContext) -> Result<(), String> {
        self.calls.note(shard.shard_id(), "shutdown");
        Ok(())
    }

    async fn lease_lost(&mut self) {
        self.calls.note(&self.shard, "lost");
    }
}

/// Notes that a call's future was dropped.
struct Dropped<'a>(&'a Calls, &'a ShardId);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.note(self.1, "dropped");
    }
}

fn start(
    world: &World,
    id: &str,
    calls: &Calls,
    failing: u32,
    hangs: bool,
    set: impl FnOnce(Ready) -> Ready,
) -> Running {
    let (calls, failing) = (calls.clone(), Arc::new(AtomicU32::new(failing)));
    let processor = move |shard: &ShardId| Noting {
        calls: calls.clone(),
        shard: shard.clone(),
        failing: failing.clone(),
        hangs,
    };
    world.start_set(id, StartFrom::TrimHorizon, processor, set)
}

/// Takes the lease table away from a worker.
fn cut_off(world: &World, id: &str) {
    let rule = Rule::new(Fault::ErrorBefore(500)).service(Service::DynamoDb).caller(id);
    world.emulator.faults().add(rule);
}

#[tokio::test(start_paused = true)]
async fn a_processor_is_told_of_its_beginning_and_of_its_end() {
    let world = World::new(1).await;
    let calls = Calls::default();
    let worker = start(&world, "a", &calls, 2, false, |set| set);
    world.put(1, 1).await;
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(calls.of(0), ["initialize", "initialize", "initialize", "records"]);
    world.split("shardId-000000000000").await;
    tokio::time::sleep(10 * SECOND).await;
    world.put(8, 1).await;
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(calls.of(0)[4..], ["ended"]);
    assert!(worker.stop().await.is_clean());
    for child in [1, 2] {
        let calls = calls.of(child);
        assert_eq!(
            (&*calls[0], calls.last().map(|call| &**call)),
            ("initialize", Some("shutdown"))
        );
        assert!(calls[1..calls.len() - 1].iter().all(|call| call == "records"), "{calls:?}");
    }
}

/// `shard_ended` returns before the end is durable; it is not called again while the store is away.
#[tokio::test(start_paused = true)]
async fn shard_ended_is_called_once_though_the_end_cannot_be_written_at_first() {
    let world = World::new(1).await;
    let calls = Calls::default();
    let worker = start(&world, "a", &calls, 0, false, |set| set);
    world.put(1, 1).await;
    tokio::time::sleep(5 * SECOND).await;
    let rule = Rule::new(Fault::ErrorBefore(500)).service(Service::DynamoDb).caller("a");
    world.emulator.faults().add(rule);
    world.split("shardId-000000000000").await;
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(calls.of(0), ["initialize", "records", "ended"]);
    assert!(calls.of(1).is_empty());
    world.emulator.faults().clear();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(calls.of(0), ["initialize", "records", "ended"]);
    assert_eq!((calls.of(1), calls.of(2)), (vec!["initialize".into()], vec!["initialize".into()]));
    worker.stop().await;
}

/// After a loss the running call gets a grace, then its future is dropped; then `lease_lost`, and nothing else.
#[tokio::test(start_paused = true)]
async fn a_call_that_outlives_its_lease_is_dropped_after_the_grace() {
    let world = World::new(1).await;
    let calls = Calls::default();
    let worker = start(&world, "a", &calls, 0, true, |set| set);
    world.put(1, 1).await;
    tokio::time::sleep(5 * SECOND).await;
    cut_off(&world, "a");
    tokio::time::sleep(12 * SECOND).await;
    assert_eq!(calls.of(0), ["initialize", "records"], "the grace is a lease duration");
    tokio::time::sleep(12 * SECOND).await;
    assert_eq!(calls.of(0), ["initialize", "records", "dropped", "lost"]);
    assert!(worker.events().iter().any(|event| matches!(event, WorkerEvent::Lost(_))));
    worker.stop().await;
}

/// C10, B11: a lease that is lost and granted again to the same worker waits for its old consumer.
#[tokio::test(start_paused = true)]
async fn a_shard_never_has_two_consumers_in_one_worker() {
    struct Counting(Arc<AtomicI32>);
    impl RecordProcessor for Counting {
        type Error = std::convert::Infallible;
        async fn process_records(
            &mut self,
            _: Batch,
            _: &mut ShardContext,
        ) -> Result<(), Self::Error> {
            std::future::pending().await
        }
    }
    impl Drop for Counting {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    let world = World::new(1).await;
    let (live, most) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicI32::new(0)));
    let (counter, highest) = (live.clone(), most.clone());
    let processor = move |_: &ShardId| {
        highest.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Counting(counter.clone())
    };
    let worker = world.start_set("a", StartFrom::TrimHorizon, processor, |set| set);
    world.put(1, 1).await;
    tokio::time::sleep(5 * SECOND).await;
    for _ in 0..3 {
        cut_off(&world, "a");
        tokio::time::sleep(10 * SECOND).await; // lost, and the old call still runs
        world.emulator.faults().clear();
        tokio::time::sleep(15 * SECOND).await; // granted again
    }
    let granted =
        worker.events().iter().filter(|e| matches!(e, WorkerEvent::Granted { .. })).count();
    assert!(granted >= 3, "{:?}", worker.events());
    assert_eq!((live.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (1, 1));
    worker.kill().await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

/// A run that is dropped leaves no task behind: no request, no processor.
#[tokio::test(start_paused = true)]
async fn a_dropped_run_ends_everything() {
    let world = World::new(4).await;
    let calls = Calls::default();
    let worker = start(&world, "a", &calls, 0, true, |set| set);
    world.put(40, 1).await;
    tokio::time::sleep(20 * SECOND).await;
    worker.kill().await;
    tokio::time::sleep(SECOND).await;
    let counts = world.emulator.counts();
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(world.emulator.counts(), counts);
    for shard in 0..4 {
        assert_eq!(calls.of(shard), ["initialize", "records", "dropped"]);
    }
}

/// A stop that comes before the worker has joined is obeyed at once, whatever the join waits for.
#[tokio::test(start_paused = true)]
async fn a_stop_during_the_join_is_obeyed_at_once() {
    for operation in ["DescribeStreamSummary", "CreateTable", "ListShards", "Scan"] {
        let world = World::new(2).await;
        let late = Rule::new(Fault::Latency(20 * SECOND)).operation(operation).caller("a");
        world.emulator.faults().add(late);
        let worker = start(&world, "a", &Calls::default(), 0, false, |set| set);
        tokio::time::sleep(SECOND).await;
        #[expect(clippy::disallowed_methods, reason = "the test stands outside of the library")]
        let asked = tokio::time::Instant::now();
        assert!(worker.stop().await.is_clean(), "{operation}");
        assert_eq!(asked.elapsed(), Duration::ZERO, "{operation}");
    }
}

/// A stop at any moment after the start: grants that are under way come to nothing, and their leases are free.
#[tokio::test(start_paused = true)]
async fn a_stop_may_race_with_grants() {
    for millis in (0..600).step_by(11) {
        let world = World::new(3).await;
        for operation in ["UpdateItem", "PutItem", "GetRecords"] {
            let late = Rule::new(Fault::LateReply(Duration::from_millis(50)));
            world.emulator.faults().add(late.operation(operation).caller("a"));
        }
        let calls = Calls::default();
        let worker = start(&world, "a", &calls, 0, false, |set| set);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let report = worker.stop().await;
        assert!(report.is_clean(), "{millis} ms: {report:?}");
        for lease in world.leases().await {
            assert_eq!(lease.owner, None, "{millis} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hung_call_is_abandoned_after_the_drain_limit() {
    let world = World::new(2).await;
    let calls = Calls::default();
    let worker = start(&world, "a", &calls, 0, true, |set| set.drain_limit(7 * SECOND));
    world.put(8, 1).await;
    tokio::time::sleep(5 * SECOND).await;
    let report = worker.stop().await;
    assert_eq!((report.abandoned.len(), report.unreleased), (2, 0), "{report:?}");
    assert!(report.took >= 7 * SECOND && report.took < 8 * SECOND, "{report:?}");
    assert_eq!(calls.of(0), ["initialize", "records", "dropped"]);
}

/// A call that blocks its thread cannot be dropped; the worker reports it and goes all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn b9_a_call_that_blocks_its_thread_does_not_hold_up_the_stop() {
    struct Blocking(std::sync::mpsc::Receiver<()>);
    impl RecordProcessor for Blocking {
        type Error = std::convert::Infallible;
        async fn process_records(
            &mut self,
            _: Batch,
            _: &mut ShardContext,
        ) -> Result<(), Self::Error> {
            let _ = self.0.recv();
            Ok(())
        }
    }
    let world = World::new(1).await;
    let (unblock, blocked) = std::sync::mpsc::channel();
    let blocked = Mutex::new(Some(blocked));
    let processor = move |_: &ShardId| Blocking(blocked.lock().unwrap().take().unwrap());
    let soon = |set: Ready| set.drain_limit(SECOND / 5);
    let worker = world.start_set("a", StartFrom::TrimHorizon, processor, soon);
    world.put(1, 1).await;
    tokio::time::sleep(2 * SECOND).await;
    let report = tokio::time::timeout(10 * SECOND, worker.stop()).await;
    unblock.send(()).unwrap();
    let report = report.unwrap();
    assert_eq!((report.abandoned.len(), report.unreleased), (1, 0), "{report:?}");
}

/// A processor's factory that panics costs its own shard and no other.
#[tokio::test(start_paused = true)]
async fn a_factory_that_panics_halts_its_own_shard() {
    struct Quiet;
    impl RecordProcessor for Quiet {
        type Error = std::convert::Infallible;
        async fn process_records(
            &mut self,
            _: Batch,
            _: &mut ShardContext,
        ) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    let world = World::new(3).await;
    let factory = |shard: &ShardId| {
        assert!(!shard.as_str().ends_with('1'), "boom");
        Quiet
    };
    let worker = world.start_with("a", StartFrom::TrimHorizon, factory);
    world.put(8, 1).await;
    tokio::time::sleep(MINUTE).await;
    let report = worker.stop().await;
    assert_eq!((report.drained.len(), report.halted.len()), (2, 1), "{report:?}");
    assert!(report.halted[0].failure.contains("boom"), "{report:?}");
}

/// What a manual processor was handed, and its way to checkpoint it.
type Handed = (Vec<Record>, Checkpointer);

/// Hands out its records and its checkpointer, and notes what it found pending.
struct Manual(Arc<Mutex<Vec<Handed>>>, Arc<Mutex<Vec<Option<Bytes>>>>);

fn start_manual(
    world: &World,
    id: &str,
    handed: &Arc<Mutex<Vec<Handed>>>,
    pending: &Arc<Mutex<Vec<Option<Bytes>>>>,
) -> Running {
    let (handed, pending) = (handed.clone(), pending.clone());
    let processor = move |_: &ShardId| Manual(handed.clone(), pending.clone());
    let manual = |set: Ready| set.checkpoint(Checkpoint::manual());
    world.start_set(id, StartFrom::TrimHorizon, processor, manual)
}

impl RecordProcessor for Manual {
    type Error = std::convert::Infallible;

    async fn initialize(&mut self, shard: &mut ShardContext) -> Result<(), Self::Error> {
        let state = shard.pending_checkpoint().map(|pending| pending.state.clone().unwrap());
        self.1.lock().unwrap().push(state);
        Ok(())
    }

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), Self::Error> {
        let handed = (batch.records().to_vec(), shard.checkpointer().clone());
        self.0.lock().unwrap().push(handed);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_manual_checkpoint_says_what_is_done_and_a_prepared_one_is_found_again() {
    let world = World::new(1).await;
    let (handed, pending): (Arc<Mutex<Vec<Handed>>>, Arc<Mutex<Vec<_>>>) = Default::default();
    let start = |id: &str| start_manual(&world, id, &handed, &pending);
    let first = start("a");
    world.put(1, 6).await;
    tokio::time::sleep(20 * SECOND).await;
    let take = || {
        let mut handed = handed.lock().unwrap();
        let checkpointer = handed[0].1.clone();
        (handed.drain(..).flat_map(|(records, _)| records).collect::<Vec<_>>(), checkpointer)
    };
    let (records, checkpointer) = take();
    assert_eq!(records.len(), 6);
    assert_eq!(world.leases().await[0].position, Position::TrimHorizon, "nothing by itself");

    checkpointer.checkpoint_at(&records[2]).await.unwrap();
    assert_eq!(world.leases().await[0].position, records[2].position());
    let backward = checkpointer.checkpoint_at(&records[1]).await;
    assert!(matches!(backward, Err(CheckpointError::Backward { .. })), "{backward:?}");
    let ahead = checkpointer.checkpoint_at_sequence(records[5].sequence_number().clone(), 1).await;
    assert!(matches!(ahead, Err(CheckpointError::NotDelivered { .. })), "{ahead:?}");
    assert_eq!(world.leases().await[0].position, records[2].position());

    let _announced = checkpointer.prepare_at(&records[3], Some("note".into())).await.unwrap();
    assert_eq!(world.leases().await[0].position, records[2].position());
    first.kill().await;

    let second = start("b");
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(*pending.lock().unwrap(), [None, Some(Bytes::from("note"))]);
    let (again, checkpointer) = take();
    assert_eq!(again, records[3..]);
    let prepared = checkpointer.prepare(None).await.unwrap();
    assert_eq!(*prepared.position(), records[5].position());
    prepared.commit().await.unwrap();
    assert_eq!(world.leases().await[0].position, records[5].position());
    assert!(second.stop().await.is_clean());
}

/// Java's row 71, C7.
#[tokio::test(start_paused = true)]
async fn java_row_71_an_older_prepared_checkpoint_is_refused_after_a_newer_one() {
    let world = World::new(1).await;
    let (handed, pending): (Arc<Mutex<Vec<Handed>>>, _) = Default::default();
    let worker = start_manual(&world, "a", &handed, &pending);
    world.put(1, 3).await;
    tokio::time::sleep(20 * SECOND).await;
    let handed = std::mem::take(&mut *handed.lock().unwrap());
    let records: Vec<_> = handed.iter().flat_map(|(records, _)| records).collect();
    let checkpointer = &handed[0].1;
    let older = checkpointer.prepare_at(records[1], None).await.unwrap();
    let newer = checkpointer.prepare_at(records[2], None).await.unwrap();
    newer.commit().await.unwrap();
    let refused = older.commit().await;
    assert!(matches!(refused, Err(CheckpointError::Backward { .. })), "{refused:?}");
    assert_eq!(world.leases().await[0].position, records[2].position());
    assert!(worker.stop().await.is_clean());
}

/// After a loss every call of an old checkpointer says so, also when nothing is to be written, and when the worker has the
/// shard again.
#[tokio::test(start_paused = true)]
async fn a_checkpointer_dies_with_its_lease() {
    let world = World::new(1).await;
    let (handed, pending): (Arc<Mutex<Vec<Handed>>>, _) = Default::default();
    let worker = start_manual(&world, "a", &handed, &pending);
    world.put(1, 3).await;
    tokio::time::sleep(5 * SECOND).await;
    let (records, old) = handed.lock().unwrap()[0].clone();
    old.checkpoint_at(&records[0]).await.unwrap();
    cut_off(&world, "a");
    tokio::time::sleep(15 * SECOND).await;
    world.emulator.faults().clear();
    tokio::time::sleep(15 * SECOND).await;
    let lost = [
        old.checkpoint().await,
        old.checkpoint_at(&records[0]).await,
        old.checkpoint_at_sequence("1".parse().unwrap(), 0).await,
        old.checkpoint_at_sequence("9".repeat(60).parse().unwrap(), 0).await,
        old.prepare(None).await.map(|_| ()),
    ];
    assert!(lost.iter().all(|e| matches!(e, Err(CheckpointError::LeaseLost))), "{lost:?}");
    let (records, new) = handed.lock().unwrap().last().unwrap().clone();
    new.checkpoint_at(records.last().unwrap()).await.unwrap();
    assert!(worker.stop().await.is_clean());
}

/// Every nonsense is refused, and none of it panics.
#[test]
fn nonsense_settings_are_refused() {
    let aws = Emulator::builder().build().sdk_config();
    let build = |application: &str, streams: &[&str], set: &dyn Fn(Ready) -> Ready| {
        let mut worker = Worker::builder(application)
            .stream(streams[0], StartFrom::TrimHorizon)
            .leases(DynamoLeases::new(&aws))
            .source(Polling::new(&aws))
            .processor(|_: &ShardId| Manual(Arc::default(), Arc::default()));
        for stream in &streams[1..] {
            worker = worker.stream(*stream, StartFrom::Latest);
        }
        set(worker).build()
    };
    let same = |set: Ready| set;
    assert!(build("app", &["orders"], &same).is_ok());
    for name in ["", "a b", &"a".repeat(300)] {
        assert!(matches!(build(name, &["orders"], &same), Err(BuildError::Name(_))), "{name}");
        assert!(matches!(build("app", &[name], &same), Err(BuildError::Name(_))), "{name}");
    }
    let twice = build("app", &["orders", "users", "orders"], &same);
    assert!(matches!(twice, Err(BuildError::DuplicateStream(_))));

    let timing = LeaseTiming::for_duration(10 * SECOND);
    let bad: [(&str, &dyn Fn(Ready) -> Ready); 19] = [
        ("lease_duration", &|set| set.lease_duration(Duration::ZERO)),
        ("lease_duration", &|set| set.lease_duration(Duration::MAX)),
        ("lease_duration", &|set| set.lease_duration(SECOND / 2)),
        ("fence_margin", &|set| set.timing(LeaseTiming { fence_margin: Duration::ZERO, ..timing })),
        ("renew_interval", &|set| {
            set.timing(LeaseTiming { renew_interval: Duration::ZERO, ..timing })
        }),
        ("scan_interval", &|set| {
            set.timing(LeaseTiming { scan_interval: Duration::ZERO, ..timing })
        }),
        ("sync_interval", &|set| {
            set.timing(LeaseTiming { sync_interval: Duration::ZERO, ..timing })
        }),
        ("sync_interval", &|set| {
            set.timing(LeaseTiming { sync_interval: Duration::MAX, ..timing })
        }),
        ("2 x renew_interval", &|set| {
            set.timing(LeaseTiming { renew_interval: Duration::MAX, ..timing })
        }),
        ("2 x renew_interval", &|set| {
            set.timing(LeaseTiming { fence_margin: Duration::MAX, ..timing })
        }),
        ("2 x renew_interval", &|set| {
            set.timing(LeaseTiming { renew_interval: 5 * SECOND, ..timing })
        }),
        ("scan_interval", &|set| set.timing(LeaseTiming { scan_interval: 11 * SECOND, ..timing })),
        ("drain_limit", &|set| set.drain_limit(Duration::ZERO)),
        ("drain_limit", &|set| set.drain_limit(Duration::MAX)),
        ("memory_budget", &|set| set.memory_budget(1024)),
        ("memory_budget", &|set| set.memory_budget(usize::MAX)),
        ("warn_after", &|set| set.warn_after(Duration::ZERO)),
        ("time_limit", &|set| set.on_failure(FailurePolicy::default().time_limit(Duration::ZERO))),
        ("backoff", &|set| {
            set.on_failure(FailurePolicy::forever().backoff(Duration::ZERO, Duration::MAX))
        }),
    ];
    for (setting, set) in bad {
        let error = build("app", &["orders"], set).unwrap_err().to_string();
        assert!(error.contains(setting), "{setting}: {error}");
    }
}

/// "Never" is a sensible answer to some questions.
#[tokio::test(start_paused = true)]
async fn the_longest_times_are_no_nonsense() {
    let world = World::new(1).await;
    let calls = Calls::default();
    let worker = start(&world, "a", &calls, 0, false, |set| {
        set.warn_after(Duration::MAX).on_failure(
            FailurePolicy::forever().backoff(SECOND, Duration::MAX).time_limit(Duration::MAX),
        )
    });
    world.put(1, 1).await;
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(calls.of(0), ["initialize", "records"]);
    assert!(worker.stop().await.is_clean());
}
