//! Does what the machine decides.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ahead::Ahead;
use super::calls::{Called, Limits, guarded};
use super::intake::{Intake, Taken};
use super::machine::{Command, Event, Machine, Outcome};
use super::start::Start;
use crate::chain::chain;
use crate::checkpoint::Checkpoint;
use crate::leasing::{CheckpointError, Grant, HeldLease, Release};
use crate::metrics::{self, ShardMetrics};
use crate::processor::{BoxError, ErasedProcessor};
use crate::retrieval::{ByteBudget, HealthReport, OpenShard, RecordSource};
use crate::{
    Batch, Checkpointer, ChildShard, Clock, FailurePolicy, Position, ShardContext, StartFrom,
    Tasks, WorkerId,
};

/// What all consumers of a worker share.
#[derive(Debug)]
pub(crate) struct ConsumerSettings {
    pub(crate) worker: WorkerId,
    pub(crate) source: Arc<dyn RecordSource>,
    pub(crate) budget: ByteBudget,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) failure: FailurePolicy,
    /// After this, a call that has not returned is reported.
    pub(crate) warn_after: Duration,
    /// For this long a call may go on after the lease was lost; then its future is dropped.
    pub(crate) lost_grace: Duration,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
}

/// The consumer of one granted shard.
pub(crate) struct Consumer {
    settings: Arc<ConsumerSettings>,
    machine: Machine,
    rng: fastrand::Rng,
    metrics: ShardMetrics,
    stop: CancellationToken,
    processor: Box<dyn ErasedProcessor>,
    context: ShardContext,
    ahead: Ahead,
    intake: Intake,
    hand: Hand,
    flush: Flush,
}

/// What the machine's commands are about.
#[derive(Default)]
struct Hand {
    batch: Option<Batch>,
    children: Vec<ChildShard>,
    failure: Option<String>,
}

/// When the framework last asked for a durable checkpoint.
struct Flush {
    records: u64,
    at: Instant,
    running: Arc<AtomicBool>,
}

/// How a consumer ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) outcome: Outcome,
    /// With [`Outcome::Halted`] and [`Outcome::Unreadable`]: the last failure.
    pub(crate) failure: Option<String>,
}

/// A call into the user's code.
#[derive(Clone, Copy)]
enum Call {
    Initialize,
    Process,
    End,
    Shutdown,
}

impl Consumer {
    /// A consumer for `grant`; it reads nothing until it [runs](Self::run). `None` when the shard is at its end.
    pub(crate) fn new(
        settings: Arc<ConsumerSettings>,
        grant: Grant,
        configured: StartFrom,
        processor: Box<dyn ErasedProcessor>,
        metrics: ShardMetrics,
        seed: u64,
        stop: CancellationToken,
    ) -> Option<Self> {
        let start = Start::of(&grant, configured)?;
        let mut rng = fastrand::Rng::with_seed(seed);
        let (sender, replies) = mpsc::channel(1);
        let reader = settings.source.open(OpenShard {
            stream: grant.stream.clone(),
            shard: grant.shard.clone(),
            from: start.from,
            budget: settings.budget.clone(),
            clock: settings.clock.clone(),
            rng: rng.fork(),
            tasks: settings.tasks.clone(),
            metrics: metrics.clone(),
            health: HealthReport::default(),
        });
        let ahead = Ahead::new(reader, sender, settings.budget.clone(), metrics.clone());
        let checkpointer = Checkpointer::new(grant.position.clone(), grant.lease.clone());
        Some(Self {
            machine: Machine::new(settings.failure),
            rng,
            ahead,
            intake: Intake::new(replies, start.done, metrics.clone()),
            metrics,
            stop,
            processor,
            context: ShardContext {
                stream: grant.stream,
                shard: grant.shard,
                worker: settings.worker.clone(),
                resumed_after: grant.position,
                pending: grant.pending,
                checkpointer,
                lease: grant.lease,
            },
            hand: Hand::default(),
            flush: Flush {
                records: 0,
                at: settings.clock.now(),
                running: Arc::new(AtomicBool::new(false)),
            },
            settings,
        })
    }

    /// Consumes until the shard ends, the lease is lost or wanted by another worker, the worker stops, or the processor fails for good.
    pub(crate) async fn run(&mut self) -> Finished {
        let mut command = self.machine.start();
        loop {
            let event = match command {
                Command::Finish(outcome) => {
                    return Finished { outcome, failure: self.hand.failure.take() };
                }
                Command::Fetch => self.fetch().await,
                Command::Complete => self.complete().await,
                Command::Release(reason) => self.release(reason).await,
                // Boxed, so that a shard has room for a call only while one runs: most shards wait.
                Command::Pause(span) => Box::pin(self.pause(span)).await,
                Command::Initialize => Box::pin(self.call(Call::Initialize)).await,
                Command::Process => Box::pin(self.process()).await,
                Command::End => Box::pin(self.call(Call::End)).await,
                Command::NotifyShutdown => Box::pin(self.call(Call::Shutdown)).await,
                Command::NotifyLost => Box::pin(self.notify_lost()).await,
            };
            command = self.machine.handle(event, &mut self.rng);
        }
    }

    async fn fetch(&mut self) -> Event {
        self.hand.batch = None; // its bytes go back to the budget before the wait
        let lease = self.context.lease.clone();
        let next = pin!(self.intake.next());
        let taken = tokio::select! {
            biased;
            () = lease.lost().cancelled() => return Event::Lost,
            () = stopped(&self.stop, &*lease) => return Event::Stop,
            taken = self.ahead.beside(next) => taken,
        };
        match taken {
            Some(Taken::Batch(batch)) => {
                self.hand.batch = Some(batch);
                Event::Fetched
            }
            Some(Taken::End(children)) => {
                self.hand.children = children;
                Event::ReachedEnd
            }
            Some(Taken::Unreadable(error)) => {
                self.hand.failure = Some(chain(&error));
                Event::Unreadable
            }
            None => {
                self.hand.failure = Some("reader stopped".into());
                Event::Unreadable
            }
        }
    }

    async fn pause(&mut self, span: Duration) -> Event {
        let lease = self.context.lease.clone();
        tokio::select! {
            biased;
            () = lease.lost().cancelled() => Event::Lost,
            () = stopped(&self.stop, &*lease) => Event::Stop,
            () = self.settings.clock.sleep(span) => Event::Elapsed,
        }
    }

    async fn process(&mut self) -> Event {
        let Some(batch) = self.hand.batch.clone() else {
            return Event::Done;
        };
        let Some(end) = batch.end() else {
            return Event::Done;
        };
        let before = self.context.checkpointer.deliver(end);
        let started = self.settings.clock.now();
        let event = self.call(Call::Process).await;
        match event {
            Event::Done => {
                let spent = self.settings.clock.now() - started;
                self.metrics.record(metrics::PROCESS_MILLIS, spent.as_secs_f64() * 1e3);
                self.metrics.record(metrics::RECORDS_PROCESSED, batch.len() as f64);
                self.metrics.record(metrics::BYTES_PROCESSED, batch.payload_bytes() as f64);
                if self.settings.checkpoint.automatic {
                    let position = self.context.checkpointer.advance();
                    self.flush_if_due(position, batch.len() as u64);
                }
            }
            Event::Failed => self.context.checkpointer.retract(before),
            Event::Fetched
            | Event::ReachedEnd
            | Event::Unreadable
            | Event::Elapsed
            | Event::Stop
            | Event::Lost => {}
        }
        event
    }

    /// Calls the user's code, unless the grant is no longer good.
    async fn call(&mut self, call: Call) -> Event {
        let lease = self.context.lease.clone();
        if lease.lost().is_cancelled() || self.settings.clock.now() >= lease.valid_until() {
            return Event::Lost;
        }
        let operation = call.name();
        let limits = Limits {
            warn_after: self.settings.warn_after,
            time_limit: self.settings.failure.time_limit,
        };
        let (clock, grace) = (&self.settings.clock, self.settings.lost_grace);
        let running = match call {
            Call::Initialize => self.processor.initialize(&mut self.context),
            Call::Process => match self.hand.batch.clone() {
                Some(batch) => self.processor.process_records(batch, &mut self.context),
                None => return Event::Done,
            },
            Call::End => self.processor.shard_ended(&mut self.context),
            Call::Shutdown => {
                self.ahead.stop();
                self.processor.shutdown_requested(&mut self.context)
            }
        };
        let running = guarded(running, operation, limits, clock, &self.metrics);
        let running = async {
            match call {
                Call::Process => {
                    self.ahead.during(pin!(running), clock, &self.settings.tasks).await
                }
                Call::Initialize | Call::End | Call::Shutdown => running.await,
            }
        };
        let called = tokio::select! {
            biased;
            called = running => called,
            () = async { lease.lost().cancelled().await; clock.sleep(grace).await } => return Event::Lost,
        };
        if lease.lost().is_cancelled() {
            return Event::Lost;
        }
        if self.stop.is_cancelled() || lease.wanted().is_cancelled() {
            self.machine.note_stop();
        }
        self.judge(operation, called)
    }

    fn judge(&mut self, operation: &'static str, called: Called<Result<(), BoxError>>) -> Event {
        let Some(failure) = called.failure() else {
            self.hand.failure = None;
            return Event::Done;
        };
        self.metrics.count(metrics::PROCESS_FAILURES);
        let attempt = self.machine.failures() + 1;
        tracing::warn!(
            shard = %self.context.shard, operation, attempt, error = %failure,
            "processor failed; nothing is skipped"
        );
        self.hand.failure = Some(failure);
        Event::Failed
    }

    async fn complete(&mut self) -> Event {
        let ended = self.context.lease.end(self.hand.children.clone()).await;
        self.wrote("write the end of the shard", ended)
    }

    async fn release(&mut self, reason: Release) -> Event {
        self.ahead.stop();
        self.hand.batch = None;
        // A worker that stops leaves its shards to whoever is there: who asked may not be any more.
        let hands_over = !self.stop.is_cancelled() && self.context.lease.wanted().is_cancelled();
        let reason = match reason {
            Release::Stopping if hands_over => Release::Wanted,
            reason => reason,
        };
        let released = self.context.lease.release(reason).await;
        self.wrote("free the lease", released)
    }

    fn wrote(&mut self, what: &'static str, written: Result<(), CheckpointError>) -> Event {
        match written {
            Ok(()) => Event::Done,
            Err(CheckpointError::LeaseLost) => Event::Lost,
            Err(error) => {
                tracing::warn!(shard = %self.context.shard, error = %chain(&error), "cannot {what} yet");
                Event::Failed
            }
        }
    }

    async fn notify_lost(&mut self) -> Event {
        self.ahead.stop();
        let limits = Limits {
            warn_after: self.settings.warn_after,
            time_limit: Some(self.settings.lost_grace),
        };
        let call = self.processor.lease_lost();
        let called = guarded(call, "lease_lost", limits, &self.settings.clock, &self.metrics).await;
        if let Called::Panicked(message) = called {
            tracing::warn!(shard = %self.context.shard, %message, "lease_lost failed");
        }
        Event::Done
    }

    /// Asks for a durable checkpoint beside the delivery, at most one at a time.
    fn flush_if_due(&mut self, position: Position, records: u64) {
        let policy = self.settings.checkpoint;
        let now = self.settings.clock.now();
        self.flush.records += records;
        let due = policy.records.is_some_and(|every| self.flush.records >= every)
            || policy.interval.is_some_and(|interval| now - self.flush.at >= interval);
        if !due || self.flush.running.swap(true, Ordering::AcqRel) {
            return;
        }
        (self.flush.records, self.flush.at) = (0, now);
        let (lease, running) = (self.context.lease.clone(), self.flush.running.clone());
        self.settings.tasks.spawn(async move {
            // A failure costs nothing: the next renewal carries the same position.
            if let Err(error) = lease.checkpoint(position).await {
                tracing::debug!(error = %chain(&error), "early checkpoint was not written");
            }
            running.store(false, Ordering::Release);
        });
    }
}

/// The worker stops, or another one asks for the shard: either way it is drained.
async fn stopped(stop: &CancellationToken, lease: &dyn HeldLease) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = lease.wanted().cancelled() => {}
    }
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Process => "process_records",
            Self::End => "shard_ended",
            Self::Shutdown => "shutdown_requested",
        }
    }
}

#[cfg(test)]
mod tests;
