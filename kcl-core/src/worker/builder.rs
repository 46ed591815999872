//! Building a worker: a missing part is a compile error, a wrong setting a [`BuildError`].

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::streams::Streams as WorkerStreams;
use super::{ProcessorFactory, Settings, StreamSet, Worker, WorkerEvent};
use crate::leasing::{LeaseTiming, Leases};
use crate::metrics::Metrics;
use crate::retrieval::{MAX_REPLY_BYTES, RecordSource};
use crate::{
    ApplicationName, Checkpoint, Clock, FailurePolicy, InvalidName, RecordProcessor, ShardId,
    StartFrom, StreamAddress, Tasks, WorkerId,
};

/// A part that was not given yet.
#[derive(Debug, Clone, Copy)]
pub struct Missing;

/// Collects the parts and settings of a [`Worker`]. `S`, `L`, `R` and `P` tell which of stream, leases, record source and
/// processor were given.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct WorkerBuilder<S, L, R, P> {
    application: String,
    stream: S,
    leases: L,
    source: R,
    processor: P,
    settings: Settings,
}

/// A worker cannot be built like this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The application's or a stream's name breaks AWS's rules.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The same stream was given twice.
    #[error("stream is given twice: stream={0}")]
    DuplicateStream(StreamAddress),
    /// A setting is out of its range.
    #[error("setting is out of range: {setting} must be {expected}")]
    OutOfRange {
        /// The setting.
        setting: &'static str,
        /// The range.
        expected: &'static str,
    },
    /// Times that do not fit together: a healthy worker would lose its leases.
    #[error("times do not fit together: {rule}")]
    Timing {
        /// The inequality that does not hold.
        rule: &'static str,
    },
}

/// Some streams were given.
#[derive(Debug)]
pub struct Streams(Vec<(String, StartFrom)>);

/// The streams as they were given, to be checked.
#[derive(Debug)]
#[doc(hidden)]
pub enum Given {
    Fixed(Vec<(String, StartFrom)>),
    Set(StreamSet),
}

/// The processor was given.
pub struct Processor(ProcessorFactory);

/// Nothing or some streams: what [`WorkerBuilder::stream`] adds to.
pub trait StreamsSoFar {
    #[doc(hidden)]
    fn and(self, stream: (String, StartFrom)) -> Streams;
}

impl StreamsSoFar for Missing {
    fn and(self, stream: (String, StartFrom)) -> Streams {
        Streams(vec![stream])
    }
}

impl StreamsSoFar for Streams {
    fn and(mut self, stream: (String, StartFrom)) -> Streams {
        self.0.push(stream);
        self
    }
}

/// A part that was given; implemented by everything but [`Missing`].
macro_rules! part {
    ($(#[$doc:meta])* $trait:ident -> $part:ty, $given:ty, $take:expr, $message:literal) => {
        $(#[$doc])*
        #[diagnostic::on_unimplemented(message = $message)]
        pub trait $trait {
            #[doc(hidden)]
            fn take(self) -> $part;
        }

        impl $trait for $given {
            fn take(self) -> $part {
                let take: fn($given) -> $part = $take;
                take(self)
            }
        }
    };
}

part!(
    /// Streams were given.
    HasStreams -> Given, Streams, |given| Given::Fixed(given.0),
    "no stream: call `.stream(name, StartFrom::…)` before `.build()`"
);

impl HasStreams for StreamSet {
    fn take(self) -> Given {
        Given::Set(self)
    }
}

part!(
    /// Leases were given.
    HasLeases -> Arc<dyn Leases>, Arc<dyn Leases>, |given| given,
    "no leases: call `.leases(DynamoLeases::new(&aws))` before `.build()`"
);
part!(
    /// A record source was given.
    HasSource -> Arc<dyn RecordSource>, Arc<dyn RecordSource>, |given| given,
    "no record source: call `.source(Polling::new(&aws))` before `.build()`"
);
part!(
    /// A processor was given.
    HasProcessor -> Processor, Processor, |given| given,
    "no processor: call `.processor(|shard| …)` before `.build()`"
);

impl WorkerBuilder<Missing, Missing, Missing, Missing> {
    pub(super) fn new(application: String) -> Self {
        Self {
            application,
            stream: Missing,
            leases: Missing,
            source: Missing,
            processor: Missing,
            settings: Settings::default(),
        }
    }
}

impl<S, L, R, P> WorkerBuilder<S, L, R, P> {
    /// Reads a stream, named by name or ARN, from `start` when the application is new. May be called again for further streams.
    pub fn stream(
        self,
        stream: impl Into<String>,
        start: StartFrom,
    ) -> WorkerBuilder<Streams, L, R, P>
    where
        S: StreamsSoFar,
    {
        let Self { application, stream: so_far, leases, source, processor, settings } = self;
        let stream = so_far.and((stream.into(), start));
        WorkerBuilder { application, stream, leases, source, processor, settings }
    }

    /// Reads the streams of a set that may change while the worker runs, instead of [single ones](Self::stream).
    pub fn streams(self, set: StreamSet) -> WorkerBuilder<StreamSet, L, R, P> {
        let Self { application, stream: _, leases, source, processor, settings } = self;
        WorkerBuilder { application, stream: set, leases, source, processor, settings }
    }

    /// Shares the shards with other workers through `leases`.
    pub fn leases(self, leases: impl Leases) -> WorkerBuilder<S, Arc<dyn Leases>, R, P> {
        let Self { application, stream, leases: _, source, processor, settings } = self;
        let leases: Arc<dyn Leases> = Arc::new(leases);
        WorkerBuilder { application, stream, leases, source, processor, settings }
    }

    /// Reads records through `source`.
    pub fn source(
        self,
        source: impl RecordSource,
    ) -> WorkerBuilder<S, L, Arc<dyn RecordSource>, P> {
        let Self { application, stream, leases, source: _, processor, settings } = self;
        let source: Arc<dyn RecordSource> = Arc::new(source);
        WorkerBuilder { application, stream, leases, source, processor, settings }
    }

    /// Hands the records of each shard to a processor of its own, made by `factory` when the shard is granted.
    pub fn processor<F, A>(self, factory: F) -> WorkerBuilder<S, L, R, Processor>
    where
        F: Fn(&ShardId) -> A + Send + Sync + 'static,
        A: RecordProcessor,
    {
        let Self { application, stream, leases, source, processor: _, settings } = self;
        let processor = Processor(Arc::new(move |shard| Box::new(factory(shard))));
        WorkerBuilder { application, stream, leases, source, processor, settings }
    }

    /// See [`Settings::worker_id`].
    pub fn worker_id(mut self, id: WorkerId) -> Self {
        self.settings.worker_id = Some(id);
        self
    }

    /// See [`Settings::lease_duration`].
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        self.settings.lease_duration = duration;
        self
    }

    /// See [`Settings::timing`]. Overrides [`lease_duration`](Self::lease_duration).
    pub fn timing(mut self, timing: LeaseTiming) -> Self {
        self.settings.timing = Some(timing);
        self
    }

    /// See [`Settings::max_leases`].
    pub fn max_leases(mut self, most: NonZeroU32) -> Self {
        self.settings.max_leases = Some(most);
        self
    }

    /// See [`Settings::memory_budget`].
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.settings.memory_budget = bytes;
        self
    }

    /// See [`Settings::checkpoint`].
    pub fn checkpoint(mut self, policy: Checkpoint) -> Self {
        self.settings.checkpoint = policy;
        self
    }

    /// See [`Settings::failure`].
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.settings.failure = policy;
        self
    }

    /// See [`Settings::warn_after`].
    pub fn warn_after(mut self, span: Duration) -> Self {
        self.settings.warn_after = span;
        self
    }

    /// See [`Settings::drain_limit`].
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.settings.drain_limit = limit;
        self
    }

    /// See [`Settings::metrics`].
    pub fn metrics(mut self, metrics: impl Metrics) -> Self {
        self.settings.metrics = Arc::new(metrics);
        self
    }

    /// Tells `observer` what happens, as it happens. It must not block.
    pub fn observer(mut self, observer: impl Fn(&WorkerEvent) + Send + Sync + 'static) -> Self {
        self.settings.observer = Arc::new(observer);
        self
    }

    /// See [`Settings::clock`].
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = Some(clock);
        self
    }

    /// See [`Settings::tasks`].
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.settings.tasks = Some(tasks);
        self
    }

    /// See [`Settings::seed`].
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(self) -> Result<Worker, BuildError>
    where
        S: HasStreams,
        L: HasLeases,
        R: HasSource,
        P: HasProcessor,
    {
        let application = ApplicationName::new(&self.application)?;
        let streams = match self.stream.take() {
            Given::Fixed(streams) => WorkerStreams::Fixed(parsed(streams)?),
            Given::Set(set) => WorkerStreams::Set(set),
        };
        let settings = self.settings;
        let timing =
            settings.timing.unwrap_or_else(|| LeaseTiming::for_duration(settings.lease_duration));
        check(&settings, timing)?;
        #[expect(clippy::disallowed_methods, reason = "the one place where a seed is drawn")]
        let seed = settings.seed.unwrap_or_else(|| fastrand::u64(..));
        let mut rng = fastrand::Rng::with_seed(seed);
        let id = settings.worker_id.clone().unwrap_or_else(|| WorkerId::unique(&mut rng));
        let (leases, source) = (self.leases.take(), self.source.take());
        let Processor(processor) = self.processor.take();
        Ok(Worker { application, id, streams, leases, source, processor, settings, timing, seed })
    }
}

fn parsed(given: Vec<(String, StartFrom)>) -> Result<Vec<(StreamAddress, StartFrom)>, BuildError> {
    let mut streams: Vec<(StreamAddress, StartFrom)> = Vec::new();
    for (name, start) in given {
        let address: StreamAddress = name.parse()?;
        if streams.iter().any(|(known, _)| *known == address) {
            return Err(BuildError::DuplicateStream(address));
        }
        streams.push((address, start));
    }
    Ok(streams)
}

fn check(settings: &Settings, timing: LeaseTiming) -> Result<(), BuildError> {
    let range = |holds: bool, setting, expected| {
        if holds { Ok(()) } else { Err(BuildError::OutOfRange { setting, expected }) }
    };
    let rule = |holds: bool, rule| {
        if holds { Ok(()) } else { Err(BuildError::Timing { rule }) }
    };
    let second = Duration::from_secs(1);
    let hour = 3600 * second;
    let positive = |span: Duration| !span.is_zero();
    let up_to_a_day = |span: Duration| positive(span) && span <= 24 * hour;
    let lease = timing.lease_duration;
    range((second..=hour).contains(&lease), "lease_duration", "1 s to 1 h")?;
    range(positive(timing.renew_interval), "renew_interval", "more than 0")?;
    range(positive(timing.fence_margin), "fence_margin", "more than 0")?;
    range(positive(timing.scan_interval), "scan_interval", "more than 0")?;
    range(up_to_a_day(timing.sync_interval), "sync_interval", "more than 0, at most 1 day")?;
    range(up_to_a_day(settings.drain_limit), "drain_limit", "more than 0, at most 1 day")?;
    range(positive(settings.warn_after), "warn_after", "more than 0")?;
    let FailurePolicy { attempts: _, backoff, time_limit } = settings.failure;
    range(!backoff.is_zero(), "backoff", "more than 0")?;
    range(time_limit.is_none_or(positive), "time_limit", "more than 0")?;
    range(settings.checkpoint.records != Some(0), "checkpoint", "every 1 record or more")?;
    let budget = MAX_REPLY_BYTES..=u32::MAX as usize;
    range(budget.contains(&settings.memory_budget), "memory_budget", "10 MiB to 4 GiB")?;
    rule(
        timing.renew_interval.saturating_mul(2).saturating_add(timing.fence_margin) <= lease,
        "2 x renew_interval + fence_margin must not exceed lease_duration: one failed renewal would cost the lease",
    )?;
    rule(timing.scan_interval <= lease, "scan_interval must not exceed lease_duration")
}

impl std::fmt::Debug for Processor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Processor")
    }
}
