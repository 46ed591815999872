//! The life of a worker: join, consume what is granted, drain, leave.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::settings::Observer;
use super::streams::{Follower, Streams, describe};
use super::{ProcessorFactory, ShardRef, ShutdownReport, Worker, WorkerEvent};
use crate::consumer::{Consumer, ConsumerSettings, Finished, Outcome, panic_message};
use crate::kinesis::ApiError;
use crate::leasing::{Grant, LeaseEvent, LeasingError, Member, Membership, Release};
use crate::metrics::{Metrics, ShardMetrics};
use crate::retrieval::ByteBudget;
use crate::{Clock, StartFrom, Stream, StreamAddress, StreamId};

/// How long a stopped worker tries to free its leases.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// How long it waits for overdue calls to be dropped. One that blocks its thread cannot be.
const DROP_LIMIT: Duration = Duration::from_secs(1);

/// How long a stop takes after the drain limit, at the most.
pub(super) const AFTER_DRAIN: Duration = DROP_LIMIT.saturating_add(LEAVE_LIMIT);

/// Why a worker could not go on. Leases that it held expire, and nothing is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A stream could not be looked up: wrong name, region or account, or no permission.
    #[error("stream cannot be described: stream={stream}")]
    Stream {
        /// The stream.
        stream: StreamAddress,
        /// Why.
        source: ApiError,
    },
    /// The lease table cannot be used.
    #[error("worker cannot share leases")]
    Leasing(#[from] LeasingError),
}

impl Worker {
    /// Runs until `stop` completes, then drains its shards, frees their leases and reports.
    ///
    /// `stop` is any future: [`shutdown_signal()`](crate::shutdown_signal), or `token.cancelled_owned()` of a
    /// `CancellationToken`. Dropping the returned future ends every task of the worker at once, as a crash would: nothing is
    /// lost, and peers take over when the leases expire.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<ShutdownReport, RunError> {
        let mut stop = std::pin::pin!(stop.fuse());
        let clock = self.settings.clock.clone().unwrap_or_else(Clock::system);
        let tasks = self.settings.tasks.clone().unwrap_or_default();
        let _guard = tasks.stop_on_drop();
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let api = self.source.api();
        let joining = async {
            let mut streams = Vec::new();
            for (address, start) in self.streams.now() {
                let stream = describe(&*api, &address, &clock, &mut rng).await?;
                streams.push((stream, start));
            }
            let member = Member {
                application: self.application.clone(),
                worker: self.id.clone(),
                streams: streams.clone(),
                several_streams: self.streams.are_several(),
                api: api.clone(),
                timing: self.timing,
                max_leases: self.settings.max_leases,
                clock: clock.clone(),
                seed: rng.u64(..),
                tasks: tasks.clone(),
                metrics: self.settings.metrics.clone(),
            };
            Ok::<_, RunError>((streams, self.leases.join(member).await?))
        };
        let (streams, membership) = tokio::select! {
            biased;
            () = &mut stop => return Ok(ShutdownReport::default()),
            joined = joining => joined?,
        };
        tracing::info!(application = %self.application, worker = %self.id, "worker joined");
        (self.settings.observer)(&WorkerEvent::Ready);

        let (tell, changes) = mpsc::channel(1);
        if let Streams::Set(set) = &self.streams {
            let rng = rng.fork();
            tasks.spawn(Follower::new(set, &streams, api, clock.clone(), rng).run(tell));
        }
        let consumers = Arc::new(ConsumerSettings {
            worker: self.id.clone(),
            source: self.source.clone(),
            budget: ByteBudget::new(self.settings.memory_budget),
            checkpoint: self.settings.checkpoint,
            failure: self.settings.failure,
            warn_after: self.settings.warn_after,
            lost_grace: self.timing.lease_duration,
            clock: clock.clone(),
            tasks,
        });
        let (done, finished) = mpsc::channel(64);
        let draining = CancellationToken::new();
        let reading = |(stream, start): (Stream, StartFrom)| {
            (stream.id, Reading { start, stop: draining.child_token() })
        };
        let running = Running {
            processor: self.processor.clone(),
            streams: streams.into_iter().map(reading).collect(),
            observer: self.settings.observer.clone(),
            metrics: self.settings.metrics.clone(),
            drain_limit: self.settings.drain_limit,
            consumers,
            clock,
            rng,
            draining,
            live: BTreeMap::new(),
            done,
            report: ShutdownReport::default(),
        };
        running.run(stop, membership, changes, finished).await
    }
}

/// A worker that has joined.
pub(super) struct Running {
    processor: ProcessorFactory,
    streams: BTreeMap<StreamId, Reading>,
    pub(super) observer: Observer,
    pub(super) metrics: Arc<dyn Metrics>,
    drain_limit: Duration,
    consumers: Arc<ConsumerSettings>,
    clock: Clock,
    rng: fastrand::Rng,
    pub(super) draining: CancellationToken,
    pub(super) live: BTreeMap<ShardRef, Live>,
    done: mpsc::Sender<(ShardRef, Option<Finished>)>,
    pub(super) report: ShutdownReport,
}

/// A stream that is read.
struct Reading {
    start: StartFrom,
    /// Drains its shards.
    stop: CancellationToken,
}

/// A shard with a consumer.
pub(super) struct Live {
    pub(super) stop: CancellationToken,
    kill: CancellationToken,
    /// The shard was granted again while its old consumer still ends: two never run at once.
    pub(super) next: Option<Grant>,
}

impl Running {
    async fn run(
        mut self,
        mut stop: impl Future<Output = ()> + Unpin,
        mut membership: Membership,
        mut changes: mpsc::Receiver<Vec<(Stream, StartFrom)>>,
        mut finished: mpsc::Receiver<(ShardRef, Option<Finished>)>,
    ) -> Result<ShutdownReport, RunError> {
        let mut failed = None;
        let asked = loop {
            tokio::select! {
                biased;
                () = &mut stop => break self.clock.now(),
                Some((shard, finished)) = finished.recv() => self.finish(shard, finished),
                Some(streams) = changes.recv() => {
                    self.change_streams(&streams);
                    membership.control.read_streams(streams);
                }
                event = membership.events.recv() => match event {
                    Some(LeaseEvent::Granted(grant)) => self.grant(*grant),
                    Some(LeaseEvent::StreamReady(stream)) => {
                        tracing::info!(%stream, "stream is read");
                        (self.observer)(&WorkerEvent::StreamReady(stream));
                    }
                    Some(LeaseEvent::Failed(error)) => {
                        failed = Some(error);
                        break self.clock.now();
                    }
                    None => {
                        failed = Some(LeasingError::Unavailable("membership ended".into()));
                        break self.clock.now();
                    }
                },
            }
        };
        membership.control.stop_taking();
        self.draining.cancel();
        self.drain(asked + self.drain_limit, &mut membership, &mut finished).await;
        self.report.unreleased = membership.control.leave(self.clock.now() + LEAVE_LIMIT).await;
        self.report.took = self.clock.now() - asked;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(self.report),
        }
    }

    /// Waits for the consumers; drops those that have not ended by `deadline`, and leaves behind those that cannot be
    /// dropped.
    async fn drain(
        &mut self,
        deadline: Instant,
        membership: &mut Membership,
        finished: &mut mpsc::Receiver<(ShardRef, Option<Finished>)>,
    ) {
        self.settle(deadline, membership, finished).await;
        for live in self.live.values() {
            live.kill.cancel();
        }
        self.settle(deadline + DROP_LIMIT, membership, finished).await;
        while let Some(shard) = self.live.keys().next().cloned() {
            self.finish(shard, None);
        }
    }

    /// Waits until no consumer lives, or for `deadline`.
    async fn settle(
        &mut self,
        deadline: Instant,
        membership: &mut Membership,
        finished: &mut mpsc::Receiver<(ShardRef, Option<Finished>)>,
    ) {
        while !self.live.is_empty() {
            tokio::select! {
                biased;
                Some((shard, finished)) = finished.recv() => self.finish(shard, finished),
                // Grants that were under way are refused by dropping them: `leave` frees their leases.
                Some(_) = membership.events.recv() => {}
                () = self.clock.sleep_until(deadline) => return,
            }
        }
    }

    /// Begins to accept the shards of the streams that are new, and drains those of the others.
    fn change_streams(&mut self, streams: &[(Stream, StartFrom)]) {
        let is_gone = |id: &StreamId| streams.iter().all(|(stream, _)| stream.id != *id);
        let gone: Vec<_> = self.streams.extract_if(.., |id, _| is_gone(id)).collect();
        for (id, reading) in gone {
            tracing::info!(stream = %id, "stream is read no longer");
            reading.stop.cancel();
            let live = self.live.iter().filter(|(shard, _)| shard.stream == id);
            let kills: Vec<_> = live.map(|(_, live)| live.kill.clone()).collect();
            let (clock, limit) = (self.clock.clone(), self.drain_limit);
            self.consumers.tasks.spawn(async move {
                clock.sleep(limit).await;
                kills.iter().for_each(CancellationToken::cancel);
            });
        }
        for (stream, start) in streams {
            let new = || Reading { start: *start, stop: self.draining.child_token() };
            self.streams.entry(stream.id.clone()).or_insert_with(new);
        }
    }

    fn grant(&mut self, grant: Grant) {
        let shard = ShardRef { stream: grant.stream.id.clone(), shard: grant.shard.clone() };
        match self.live.get_mut(&shard) {
            Some(live) => live.next = Some(grant),
            None => self.start(shard, grant),
        }
    }

    pub(super) fn start(&mut self, shard: ShardRef, grant: Grant) {
        let Some(Reading { start: configured, stop }) = self.streams.get(&shard.stream) else {
            tracing::info!(%shard, "granted a shard of a stream that is read no longer");
            return;
        };
        let (configured, stop) = (*configured, stop.clone());
        let position = grant.position.clone();
        let metrics =
            ShardMetrics::new(self.metrics.clone(), shard.stream.clone(), shard.shard.clone());
        let settings = self.consumers.clone();
        let seed = self.rng.u64(..);
        let lease = grant.lease.clone();
        let begin = || {
            let processor = (self.processor)(&shard.shard);
            Consumer::new(settings, grant, configured, processor, metrics, seed, stop.clone())
                .map(|mut consumer| Box::pin(async move { consumer.run().await }))
        };
        let Some(consuming) = catch_unwind(AssertUnwindSafe(begin)).transpose() else {
            tracing::warn!(%shard, "granted a shard that is at its end");
            return;
        };
        tracing::info!(%shard, %position, "shard starts");
        (self.observer)(&WorkerEvent::Granted { shard: shard.clone(), position });
        let kill = CancellationToken::new();
        self.live
            .insert(shard.clone(), Live { stop: stop.clone(), kill: kill.clone(), next: None });
        let done = self.done.clone();
        self.consumers.tasks.spawn(async move {
            let consumed = async { AssertUnwindSafe(consuming?).catch_unwind().await };
            let finished = tokio::select! {
                biased;
                consumed = consumed => Some(consumed),
                () = kill.cancelled() => None,
            };
            let finished = match finished {
                Some(Err(panic)) => {
                    // The user's code outside of a call: not taken again at once, or it would panic again.
                    let _ = lease.release(Release::Halted).await;
                    let failure = Some(panic_message(&*panic));
                    Some(Finished { outcome: Outcome::Halted, failure })
                }
                Some(Ok(finished)) => Some(finished),
                None => None,
            };
            drop(lease); // its last holder frees it
            let _ = done.send((shard, finished)).await; // the receiver is gone when the worker is
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leasing::{LeaseControl, Leases};
    use crate::retrieval::Polling;
    use crate::{Batch, RecordProcessor, ShardContext, ShardId};
    use async_trait::async_trait;

    /// A membership that ends at once, as when its task dies.
    #[derive(Debug)]
    struct Dying;

    #[async_trait]
    impl Leases for Dying {
        async fn join(&self, _: Member) -> Result<Membership, LeasingError> {
            let (_, events) = mpsc::channel(1);
            Ok(Membership { events, control: Arc::new(Dying) })
        }
    }

    #[async_trait]
    impl LeaseControl for Dying {
        fn stop_taking(&self) {}

        fn read_streams(&self, _: Vec<(Stream, StartFrom)>) {}

        async fn leave(&self, _: Instant) -> usize {
            0
        }
    }

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

    #[tokio::test(start_paused = true)]
    async fn a_membership_that_ends_by_itself_is_an_error() {
        let aws = kcl_emulator::Emulator::builder().build().sdk_config();
        let client = aws_sdk_kinesis::Client::new(&aws);
        client.create_stream().stream_name("orders").shard_count(1).send().await.unwrap();
        let worker = Worker::builder("app")
            .stream("orders", StartFrom::TrimHorizon)
            .leases(Dying)
            .source(Polling::new(&aws))
            .processor(|_: &ShardId| Quiet);
        let ended = worker.build().unwrap().run(std::future::pending()).await;
        assert!(matches!(ended, Err(RunError::Leasing(_))), "{ended:?}");
    }
}
