//! A stream, a lease table and workers, all in one process on a paused clock.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use kcl_core::leasing::{
    Grant, LeaseControl, LeaseEvent, LeaseTiming, Leases, LeasingError, Member, Release,
};
use kcl_core::metrics::{Metric, MetricKind, Metrics};
use kcl_core::{Clock, Position, ShardId, StartFrom, Stream, StreamId, Tasks};
use kcl_lease::store::{Consistency, LeaseStore};
use kcl_lease::{Lease, LeaseKey, StoreLeases};

use crate::faults::Faulty;
use crate::kinesis::Kinesis;

pub(crate) const DURATION: Duration = Duration::from_secs(10);

pub(crate) fn id(n: u32) -> ShardId {
    format!("shardId-{n:012}").parse().unwrap()
}

pub(crate) fn key(n: u32) -> LeaseKey {
    LeaseKey::single(id(n))
}

/// Everything up to this record is done.
pub(crate) fn at(sequence: u64) -> Position {
    Position::at(sequence.to_string().parse().unwrap(), 0)
}

pub(crate) fn stream(name: &str) -> Stream {
    Stream {
        id: StreamId::new("123456789012", name.parse().unwrap(), 1_700_000_000).unwrap(),
        address: name.parse().unwrap(),
    }
}

/// Figures by name.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<BTreeMap<&'static str, f64>>);

impl Metrics for Figures {
    fn record(&self, metric: Metric, _: Option<(&StreamId, &ShardId)>, value: f64) {
        let mut figures = self.0.lock().unwrap();
        let figure = figures.entry(metric.name).or_default();
        *figure = if metric.kind == MetricKind::Gauge { value } else { *figure + value };
    }
}

impl Figures {
    /// The sum, or the newest value of a gauge.
    pub(crate) fn sum(&self, metric: Metric) -> f64 {
        self.0.lock().unwrap().get(metric.name).copied().unwrap_or(0.0)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) kinesis: Kinesis,
    pub(crate) store: Faulty,
    pub(crate) clock: Clock,
    pub(crate) timing: LeaseTiming,
    pub(crate) start: StartFrom,
    /// Further streams.
    pub(crate) more: Vec<(Stream, StartFrom)>,
    pub(crate) begun: Instant,
    /// How long a consumer takes to drain what is wanted; `None` when it never does.
    pub(crate) drain: Option<Duration>,
    /// What happened, one line each, with the time since the beginning.
    pub(crate) trace: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub(crate) fn new(shards: u32) -> Self {
        let clock = Clock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let trace = Arc::new(Mutex::new(Vec::new()));
        Self {
            kinesis: Kinesis::with_shards(shards),
            store: Faulty::new(clock.clone()),
            begun: clock.now(),
            clock,
            timing: LeaseTiming::for_duration(DURATION),
            start: StartFrom::TrimHorizon,
            more: Vec::new(),
            drain: Some(Duration::ZERO),
            trace,
        }
    }

    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// Waits until something holds; says how long that took.
    pub(crate) async fn until(&self, limit: Duration, what: impl Fn() -> bool) -> Duration {
        let begun = self.clock.now();
        while !what() {
            let passed = self.clock.now() - begun;
            assert!(passed < limit, "not within {limit:?}: {:#?}", self.trace());
            self.pass(Duration::from_millis(10)).await;
        }
        self.clock.now() - begun
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.lock().unwrap().clone()
    }

    pub(crate) async fn worker(&self, name: &str) -> Worker {
        self.worker_with(name, None).await.unwrap()
    }

    pub(crate) async fn worker_with(
        &self,
        name: &str,
        max: Option<u32>,
    ) -> Result<Worker, LeasingError> {
        self.worker_as(name, name, max).await
    }

    /// A worker under some id; `name` is who it is in the trace and to the store's rules.
    pub(crate) async fn worker_as(
        &self,
        name: &str,
        worker_id: &str,
        max: Option<u32>,
    ) -> Result<Worker, LeasingError> {
        let tasks = Tasks::new();
        let figures = Arc::new(Figures::default());
        let mut streams = vec![(stream("orders"), self.start)];
        streams.extend(self.more.iter().cloned());
        let several = streams.len() > 1;
        let member = Member {
            application: "orders-app".parse().unwrap(),
            worker: worker_id.parse().unwrap(),
            streams,
            several_streams: several,
            api: Arc::new(self.kinesis.clone()),
            timing: self.timing,
            max_leases: max.and_then(NonZeroU32::new),
            clock: self.clock.clone(),
            seed: name.bytes().map(u64::from).sum(),
            tasks: tasks.clone(),
            metrics: figures.clone(),
        };
        let mut joined = StoreLeases::new(self.store.of(name)).join(member).await?;
        let grants = Arc::new(Mutex::new(BTreeMap::new()));
        let failed = Arc::new(Mutex::new(None));
        let granted = grants.clone();
        let (failure, world, who) = (failed.clone(), self.clone(), name.to_owned());
        let inner = tasks.clone();
        tasks.spawn(async move {
            while let Some(event) = joined.events.recv().await {
                match event {
                    LeaseEvent::Granted(grant) => {
                        let grant: Arc<Grant> = Arc::from(grant);
                        let stream = several.then(|| grant.stream.id.clone());
                        let shard = match stream {
                            Some(stream) => LeaseKey::multi(stream, grant.shard.clone()),
                            None => LeaseKey::single(grant.shard.clone()),
                        };
                        world.note(&who, &format!("granted {shard} at {}", grant.position));
                        granted.lock().unwrap().insert(shard.clone(), grant.clone());
                        let (granted, world, who) = (granted.clone(), world.clone(), who.clone());
                        let (lost, token) =
                            (grant.lease.lost().clone(), grant.lease.fencing_token());
                        let wanted = grant.lease.wanted().clone();
                        inner.spawn(async move {
                            let drained = async {
                                wanted.cancelled().await;
                                let Some(drain) = world.drain else { std::future::pending().await };
                                world.pass(drain).await;
                            };
                            let how = tokio::select! {
                                biased;
                                () = lost.cancelled() => "lost",
                                () = drained => "drained",
                            };
                            let grant = {
                                let mut granted = granted.lock().unwrap();
                                let now = granted.get(&shard);
                                let same =
                                    now.is_some_and(|now| now.lease.fencing_token() == token);
                                same.then(|| granted.remove(&shard)).flatten()
                            };
                            world.note(&who, &format!("{how} {shard}"));
                            if let Some(grant) = grant.filter(|_| how == "drained") {
                                let _ = grant.lease.release(Release::Wanted).await;
                            }
                        });
                    }
                    LeaseEvent::Failed(error) => *failure.lock().unwrap() = Some(error),
                    _ => {}
                }
            }
            world.note(&who, "left");
        });
        Ok(Worker { world: self.clone(), grants, failed, control: joined.control, tasks, figures })
    }

    fn note(&self, worker: &str, what: &str) {
        let time = (self.clock.now() - self.begun).as_millis();
        self.trace.lock().unwrap().push(format!("{time:>6} {worker} {what}"));
    }

    /// An operator deletes a lease by hand.
    pub(crate) async fn delete(&self, n: u32) {
        let lease = self.lease(n).await;
        self.store.plain().delete(&key(n), &lease.fence()).await.unwrap();
    }

    /// How many writes a lease has seen since it was first created.
    pub(crate) fn age(&self, lease: &Lease) -> usize {
        self.store.writes().iter().filter(|(_, written)| written.key == lease.key).count() - 1
    }

    /// How often a shard was granted to anybody.
    pub(crate) fn grants_of(&self, n: u32) -> usize {
        let granted = format!("granted {} ", key(n));
        self.trace().iter().filter(|line| line.contains(&granted)).count()
    }

    pub(crate) async fn lease(&self, n: u32) -> Lease {
        self.store.plain().read(&key(n)).await.unwrap().unwrap()
    }

    pub(crate) async fn leases(&self) -> Vec<Lease> {
        self.store.plain().scan(Consistency::Eventual).await.unwrap().leases
    }

    /// The owner of each lease that has not ended.
    pub(crate) async fn owners(&self) -> BTreeMap<String, String> {
        let unended = self.leases().await.into_iter().filter(|lease| !lease.has_ended());
        let named = |lease: Lease| {
            (lease.key.to_string(), lease.owner.map_or("-".into(), |o| o.to_string()))
        };
        unended.map(named).collect()
    }
}

/// A joined worker, and a consumer that only keeps its grants.
pub(crate) struct Worker {
    world: World,
    pub(crate) grants: Arc<Mutex<BTreeMap<LeaseKey, Arc<Grant>>>>,
    pub(crate) failed: Arc<Mutex<Option<LeasingError>>>,
    pub(crate) control: Arc<dyn LeaseControl>,
    pub(crate) tasks: Tasks,
    pub(crate) figures: Arc<Figures>,
}

impl Worker {
    pub(crate) fn shards(&self) -> BTreeSet<ShardId> {
        self.grants.lock().unwrap().keys().map(|key| key.shard().clone()).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.grants.lock().unwrap().len()
    }

    pub(crate) fn grant(&self, n: u32) -> Arc<Grant> {
        self.grants.lock().unwrap().get(&key(n)).expect("granted").clone()
    }

    /// Ends a shard that has children.
    pub(crate) async fn end(&self, n: u32) -> Result<(), kcl_core::leasing::CheckpointError> {
        let grant = self.grant(n);
        let ended = grant.lease.end(self.world.kinesis.children(&grant.shard)).await;
        if ended.is_ok() {
            self.grants.lock().unwrap().remove(&key(n));
        }
        ended
    }

    pub(crate) async fn release(&self, n: u32, why: Release) {
        let grant = self.grant(n);
        grant.lease.release(why).await.unwrap();
        self.grants.lock().unwrap().remove(&key(n));
    }

    /// Drops the consumer's side of a lease, as a consumer that panics.
    pub(crate) fn crash_consumer(&self, n: u32) {
        self.grants.lock().unwrap().remove(&key(n)).expect("granted");
    }

    /// As SIGKILL.
    pub(crate) fn crash(&self) {
        self.tasks.stop();
    }
}
