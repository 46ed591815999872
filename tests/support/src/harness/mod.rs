//! A processor under test: the real worker around it, and one shard whose fate the test decides.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use kcl_core::aggregation::Aggregator;
use kcl_core::leasing::Leases;
use kcl_core::retrieval::RecordSource;
use kcl_core::{
    ChildShard, Clock, FailurePolicy, Position, RawRecord, RecordProcessor, RunError,
    SequenceNumber, ShardId, ShutdownReport, StartFrom, Stream, StreamAddress, StreamId,
    StreamName, Tasks, Worker, WorkerBuilder, WorkerEvent, builder,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

mod leases;
mod source;
mod watch;

use leases::OneLease;
use source::FedShard;
use watch::{Watch, Watched};

/// A worker's builder to which every part was given: change its settings.
pub type Ready =
    WorkerBuilder<builder::Streams, Arc<dyn Leases>, Arc<dyn RecordSource>, builder::Processor>;

/// Runs a [`RecordProcessor`] through the real worker, on one shard in memory: no AWS, no network, no waiting.
///
/// Retries, backoffs and time limits are the worker's own, so run it under tokio's paused clock, where they take no time.
/// What `process_records` returned `Ok` for is durable at once, as if the lease had just been renewed.
///
/// ```
/// use kcl_core::{Batch, RecordProcessor, ShardContext};
/// use kcl_testkit::Harness;
///
/// #[derive(Default)]
/// struct Sum(u64);
///
/// impl RecordProcessor for Sum {
///     type Error = Box<dyn std::error::Error + Send + Sync>;
///
///     async fn process_records(&mut self, batch: Batch, _: &mut ShardContext) -> Result<(), Self::Error> {
///         for record in &batch {
///             self.0 += std::str::from_utf8(record.data())?.parse::<u64>()?;
///         }
///         Ok(())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let mut harness = Harness::new(|_shard| Sum::default()).await;
/// let positions = harness.feed([("ana", "1"), ("bob", "2")]).await.unwrap();
/// harness.assert_checkpoint(&positions[1]);
///
/// // A record that cannot be processed is never skipped: the shard is halted before it.
/// let halted = harness.feed([("ana", "three")]).await.unwrap_err();
/// assert!(halted.failures[0].contains("invalid digit"));
/// harness.assert_checkpoint(&positions[1]);
/// # });
/// ```
#[derive(Debug)]
pub struct Harness {
    source: FedShard,
    leases: OneLease,
    watch: Watch,
    clock: Clock,
    stream: Stream,
    shard: ShardId,
    fed: u64,
    stop: CancellationToken,
    finished: Option<oneshot::Receiver<Result<ShutdownReport, RunError>>>,
    tasks: Tasks,
}

/// The processor did not do what was asked of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("processor did not finish: failures={failures:?}")]
#[non_exhaustive]
pub struct Unfinished {
    /// Every failed call so far, in order: the operation and the error, `panicked`, or `was dropped`.
    pub failures: Vec<String>,
}

/// How long to wait for a processor, in virtual time.
const PATIENCE: Duration = Duration::from_secs(3600);

impl Harness {
    /// Starts a worker with its default settings, but three attempts before a shard is halted. `factory` makes the processor
    /// of each grant, as [`WorkerBuilder::processor`] does.
    pub async fn new<P: RecordProcessor>(
        factory: impl Fn(&ShardId) -> P + Send + Sync + 'static,
    ) -> Self {
        Self::with(factory, |worker| worker).await
    }

    /// Like [`new`](Self::new), with settings of the worker, such as `|worker| worker.checkpoint(Checkpoint::manual())`.
    ///
    /// # Panics
    /// When the worker refuses the settings.
    #[expect(clippy::panic, reason = "tests fail by panicking")]
    pub async fn with<P: RecordProcessor>(
        factory: impl Fn(&ShardId) -> P + Send + Sync + 'static,
        settings: impl FnOnce(Ready) -> Ready,
    ) -> Self {
        let (stream, shard) = names();
        let (source, leases) =
            (FedShard::new(stream.clone()), OneLease::new(Position::TrimHorizon));
        let watch = Watch::default();
        let (clock, tasks) = (Clock::starting_at(UNIX_EPOCH), Tasks::new());
        let (watched, told) = (watch.clone(), watch.clone());
        let ready = Worker::builder("harness")
            .stream("harness", StartFrom::TrimHorizon)
            .leases(leases.clone())
            .source(source.clone())
            .processor(move |shard| Watched { processor: factory(shard), watch: watched.clone() })
            .clock(clock.clone())
            .seed(0)
            .tasks(tasks.clone())
            .on_failure(FailurePolicy::attempts(3));
        let worker = settings(ready)
            .observer(move |event| observe(&told, event))
            .build()
            .unwrap_or_else(|error| panic!("settings cannot be used: {error}"));
        let stop = CancellationToken::new();
        let (sender, finished) = oneshot::channel();
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            let _ = sender.send(Box::pin(worker.run(stopped)).await);
        });
        let finished = Some(finished);
        let mut harness =
            Self { source, leases, watch, clock, stream, shard, fed: 0, stop, finished, tasks };
        harness.grant().await;
        harness
    }

    /// Puts records, each with its partition key, and waits until the processor has returned `Ok` for all of them. Returns
    /// their positions.
    ///
    /// # Errors
    /// When the shard was halted, or nothing happened for an hour of virtual time.
    pub async fn feed<K: AsRef<str>, D: Into<Bytes>>(
        &mut self,
        records: impl IntoIterator<Item = (K, D)>,
    ) -> Result<Vec<Position>, Unfinished> {
        let mut positions = Vec::new();
        for (key, data) in records {
            let number = self.push(key.as_ref(), data.into());
            positions.push(Position::at(number, 0));
        }
        self.processed(positions.last().cloned()).await?;
        Ok(positions)
    }

    /// Puts records as one KPL aggregate, and waits like [`feed`](Self::feed).
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    ///
    /// # Panics
    /// When the records do not fit into one Kinesis record of 1 MiB.
    #[expect(clippy::panic, reason = "tests fail by panicking")]
    pub async fn feed_aggregate<K: AsRef<str>, D: AsRef<[u8]>>(
        &mut self,
        records: impl IntoIterator<Item = (K, D)>,
    ) -> Result<Vec<Position>, Unfinished> {
        let mut aggregator = Aggregator::new(1 << 20);
        for (key, data) in records {
            if !aggregator.push(key.as_ref(), None, data.as_ref()) {
                panic!("records do not fit into one aggregate");
            }
        }
        let Some(aggregate) = aggregator.finish() else {
            return Ok(Vec::new());
        };
        let number = self.push(&aggregate.partition_key, aggregate.data);
        let positions: Vec<Position> = (0..aggregate.user_records as u64)
            .map(|sub| Position::at(number.clone(), sub))
            .collect();
        self.processed(positions.last().cloned()).await?;
        Ok(positions)
    }

    /// Takes the lease away, as a faster worker would, and waits until the processor is gone. Records that are fed from now
    /// on wait for [`grant`](Self::grant).
    pub async fn lose_lease(&mut self) {
        let stops = self.watch.seen().stops;
        if self.leases.lose() {
            self.wait(|seen| seen.stops > stops).await;
        }
    }

    /// Grants the shard again, to a new processor, which resumes after the durable checkpoint. Nothing happens while the
    /// lease is held or once the shard has ended.
    pub async fn grant(&mut self) {
        for _ in 0..100 {
            self.watch.note(|seen| seen.halted = false);
            if self.leases.grant(&self.clock, &self.stream, &self.shard).await {
                return;
            }
            tokio::task::yield_now().await; // the worker has not joined yet
        }
    }

    /// Closes the shard into the shards of these numbers, and waits until its end is durable.
    ///
    /// # Errors
    /// When the processor's `shard_ended` fails for good.
    pub async fn end_shard(&mut self, children: &[u32]) -> Result<(), Unfinished> {
        let child = |number: &u32| ChildShard {
            id: shard_id(*number),
            parents: vec![self.shard.clone()],
            hash_range: kcl_core::HashRange::WHOLE,
        };
        let stops = self.watch.seen().stops;
        self.source.end(children.iter().map(child).collect());
        self.wait(|seen| seen.stops > stops).await;
        if self.leases.position() == Position::ShardEnd { Ok(()) } else { Err(self.unfinished()) }
    }

    /// The children with which the end of the shard was written.
    #[must_use]
    pub fn children(&self) -> Vec<ShardId> {
        self.leases.children().into_iter().map(|child| child.id).collect()
    }

    /// Stops the worker in order and returns its report; `None` the second time.
    pub async fn shutdown(&mut self) -> Option<ShutdownReport> {
        self.stop.cancel();
        self.finished.take()?.await.ok()?.ok()
    }

    /// The durable checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Position {
        self.leases.position()
    }

    /// How many user records were returned `Ok`; one that came twice counts twice.
    #[must_use]
    pub fn processed_records(&self) -> usize {
        self.watch.seen().processed
    }

    /// Every failed call so far: see [`Unfinished::failures`].
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.watch.seen().failures
    }

    /// Compares the durable checkpoint.
    ///
    /// # Panics
    /// When it is another one; the message tells both, and the failures so far.
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion")]
    pub fn assert_checkpoint(&self, expected: &Position) {
        let found = self.checkpoint();
        if found != *expected {
            panic!("checkpoint is {found}, not {expected}; failures: {:?}", self.failures());
        }
    }

    fn push(&mut self, key: &str, data: Bytes) -> SequenceNumber {
        self.fed += 1;
        let number = number(self.fed);
        self.source.push(RawRecord {
            sequence_number: number.clone(),
            partition_key: key.to_owned().into(),
            data,
            approximate_arrival: self.clock.wall(),
        });
        number
    }

    async fn processed(&self, last: Option<Position>) -> Result<(), Unfinished> {
        let Some(last) = last else {
            return Ok(());
        };
        let done = |seen: &watch::Seen| seen.done.as_ref().is_some_and(|done| *done >= last);
        self.wait(|seen| done(seen) || seen.halted).await;
        tokio::task::yield_now().await; // the worker notes what its processor has done
        if done(&self.watch.seen()) { Ok(()) } else { Err(self.unfinished()) }
    }

    async fn wait(&self, ready: impl Fn(&watch::Seen) -> bool) {
        // Whether it became ready is for the caller to see.
        let _ = tokio::time::timeout(PATIENCE, self.watch.until(ready)).await;
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished { failures: self.failures() }
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

fn observe(watch: &Watch, event: &WorkerEvent) {
    match event {
        WorkerEvent::Halted { .. } => watch.note(|seen| {
            seen.halted = true;
            seen.stops += 1;
        }),
        WorkerEvent::Ended(_)
        | WorkerEvent::Drained(_)
        | WorkerEvent::Lost(_)
        | WorkerEvent::Abandoned(_) => watch.note(|seen| seen.stops += 1),
        _ => {}
    }
}

#[expect(clippy::expect_used, reason = "constants that keep AWS's rules")]
fn names() -> (Stream, ShardId) {
    let name = StreamName::new("harness").expect("a valid name");
    let id = StreamId::new("000000000000", name.clone(), 0).expect("a valid id");
    (Stream { id, address: StreamAddress::Name(name) }, shard_id(0))
}

#[expect(clippy::expect_used, reason = "digits keep AWS's rules")]
fn shard_id(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}")).expect("a valid id")
}

#[expect(clippy::expect_used, reason = "digits are a sequence number")]
fn number(fed: u64) -> SequenceNumber {
    SequenceNumber::new(fed.to_string()).expect("a decimal")
}
