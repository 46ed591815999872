//! Workers in this process, and what their processors got.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kcl_core::retrieval::{Polling, RecordSource};
use kcl_core::{
    Batch, RecordProcessor, RunError, ShardContext, ShardId, ShutdownReport, StartFrom, StreamSet,
    Worker, WorkerBuilder, WorkerEvent, builder,
};
use kcl_fanout::{Auto, FanOut};
use kcl_lease::DynamoLeases;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::loopback::account::{Account, Deliveries, Delivery};
use crate::loopback::world::World;
use crate::place::{FAILOVER, Place};

/// How a worker reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Polling,
    FanOut,
    Auto,
}

/// What the workers of a test got, in the order in which they got it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug, Clone)]
struct Entry {
    stream: String,
    delivery: Delivery,
}

/// A worker that runs as a task. Its processor has done a batch when it has noted it.
pub(crate) struct Member {
    events: Arc<Mutex<Vec<WorkerEvent>>>,
    stop: CancellationToken,
    task: JoinHandle<Result<ShutdownReport, RunError>>,
}

struct Recorder {
    worker: usize,
    log: Log,
}

impl RecordProcessor for Recorder {
    type Error = Infallible;

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), Infallible> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let stream = shard.stream_id().name().as_str();
        let mut log = self.log.0.lock().unwrap();
        for record in &batch {
            let data = std::str::from_utf8(record.data()).unwrap();
            let (key, number) = data.split_once(':').unwrap();
            let (sequence, number) = (record.sequence_number().as_str(), number.parse().unwrap());
            let shard = shard.shard_id().as_str();
            let delivery = Delivery::new(self.worker, shard, sequence, key, number, now);
            log.push(Entry { stream: stream.to_owned(), delivery });
        }
        Ok(())
    }
}

impl Log {
    /// What became of a stream's records. They came in order.
    pub(crate) fn account(&self, world: &World) -> Account {
        let deliveries = self.of(world);
        let account = deliveries.account(&world.put_so_far());
        assert_eq!((account.unknown, account.out_of_order), (0, 0), "{account:?}");
        assert_eq!(deliveries.shards_out_of_order(), Vec::<String>::new());
        account
    }

    fn of(&self, world: &World) -> Deliveries {
        let log = self.0.lock().unwrap();
        let ours = log.iter().filter(|entry| entry.stream == world.stream);
        Deliveries::new(ours.map(|entry| entry.delivery.clone()).collect())
    }

    /// How many records a worker got so far.
    pub(crate) fn taken_by(&self, worker: usize) -> usize {
        self.0.lock().unwrap().iter().filter(|entry| entry.delivery.process == worker).count()
    }

    /// The numbers of each key that were delivered.
    pub(crate) fn numbers(&self) -> BTreeMap<String, BTreeSet<u64>> {
        let mut numbers: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for Entry { delivery, .. } in &*self.0.lock().unwrap() {
            let (key, number) = delivery.record();
            numbers.entry(key.to_owned()).or_default().insert(number);
        }
        numbers
    }

    /// Waits until everything put was delivered. `span` is the emulator's.
    pub(crate) async fn drained(&self, place: &Place, world: &World, span: Duration) {
        let put = world.put_so_far();
        eventually(place, span, || {
            let account = self.of(world).account(&put);
            (account.lost > 0).then(|| format!("{account:?}"))
        })
        .await;
    }
}

/// Waits until `missing` says nothing more. `span` is how long the emulator may take.
pub(crate) async fn eventually(
    place: &Place,
    span: Duration,
    missing: impl Fn() -> Option<String>,
) {
    let (begin, limit) = (Instant::now(), place.patience(span));
    while let Some(missing) = missing() {
        assert!(begin.elapsed() < limit, "not within {limit:?}: {missing}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Member {
    /// Starts the worker number `id` of the application on a stream.
    pub(crate) fn start(
        world: &World,
        app: &str,
        id: usize,
        way: Way,
        from: StartFrom,
        log: &Log,
    ) -> Self {
        let log = log.clone();
        let recorder = move |_: &ShardId| Recorder { worker: id, log: log.clone() };
        Self::with(world, app, id, way, from, recorder)
    }

    /// One whose processors are made by `processor`.
    pub(crate) fn with<P: RecordProcessor>(
        world: &World,
        app: &str,
        id: usize,
        way: Way,
        from: StartFrom,
        processor: impl Fn(&ShardId) -> P + Send + Sync + 'static,
    ) -> Self {
        let worker = Worker::builder(app).stream(&*world.stream, from);
        Self::launch(world, app, id, way, worker, processor)
    }

    /// One that reads several streams.
    pub(crate) fn of_streams(
        world: &World,
        app: &str,
        id: usize,
        way: Way,
        streams: &StreamSet,
        log: &Log,
    ) -> Self {
        let log = log.clone();
        let worker = Worker::builder(app).streams(streams.clone());
        Self::launch(world, app, id, way, worker, move |_| Recorder {
            worker: id,
            log: log.clone(),
        })
    }

    fn launch<S, P: RecordProcessor>(
        world: &World,
        app: &str,
        id: usize,
        way: Way,
        worker: WorkerBuilder<S, builder::Missing, builder::Missing, builder::Missing>,
        processor: impl Fn(&ShardId) -> P + Send + Sync + 'static,
    ) -> Self
    where
        S: builder::HasStreams,
    {
        let polling = || Polling::new(&world.aws);
        let fan_out = || FanOut::new(&world.aws).consumer(app);
        let source: Arc<dyn RecordSource> = match way {
            Way::Polling => Arc::new(polling()),
            Way::FanOut => Arc::new(fan_out()),
            Way::Auto => Arc::new(Auto::new(polling(), fan_out())),
        };
        let events: Arc<Mutex<Vec<WorkerEvent>>> = Arc::default();
        let seen = events.clone();
        let worker = worker
            .leases(DynamoLeases::new(&world.aws))
            .source(source)
            .processor(processor)
            .worker_id(format!("worker-{id}").parse().unwrap())
            .lease_duration(FAILOVER)
            .observer(move |event| seen.lock().unwrap().push(event.clone()))
            .build()
            .unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run(stop.clone().cancelled_owned()));
        Self { events, stop, task }
    }

    /// Waits until what is put from now on will be read.
    pub(crate) async fn ready(&self, place: &Place) {
        eventually(place, Duration::from_secs(15), || {
            let events = self.events.lock().unwrap();
            let ready = events.iter().any(|event| matches!(event, WorkerEvent::Ready));
            (!ready).then(|| format!("not ready: {events:?}"))
        })
        .await;
    }

    /// How it ended, by itself.
    pub(crate) async fn ended(self) -> Result<ShutdownReport, RunError> {
        self.task.await.unwrap()
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let report = self.task.await.unwrap().unwrap();
        assert!(report.is_clean(), "{report:?}");
    }

    /// It dies where it waits, and leaves its leases behind.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
