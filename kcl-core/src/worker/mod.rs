//! The worker: joins the application, reads the shards that it is granted, and leaves in order.
//!
//! [`Worker::builder`] wires three parts, and [`Worker::run`] drives them: the leases say which shards, the source brings
//! their records, the processor gets them.

pub mod builder;
mod event;
mod finish;
mod report;
mod run;
mod settings;
mod signal;
mod streams;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use builder::Missing;
pub use builder::{BuildError, WorkerBuilder};
pub use event::WorkerEvent;
pub use report::{HaltedShard, ShardRef, ShutdownReport};
pub use run::RunError;
pub use settings::Settings;
pub use signal::shutdown_signal;
pub use streams::StreamSet;
use streams::Streams;

use crate::leasing::{LeaseTiming, Leases};
use crate::processor::ErasedProcessor;
use crate::retrieval::RecordSource;
use crate::{ApplicationName, ShardId, WorkerId};

type ProcessorFactory = Arc<dyn Fn(&ShardId) -> Box<dyn ErasedProcessor> + Send + Sync>;

/// A worker that is ready to run.
///
/// ```no_run
/// # use kcl_core::*;
/// # async fn example<L: leasing::Leases, S: retrieval::RecordSource, P: RecordProcessor + Default>(leases: L, source: S)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let report = Worker::builder("orders-app")
///     .stream("orders", StartFrom::TrimHorizon)
///     .leases(leases)
///     .source(source)
///     .processor(|_shard: &ShardId| P::default())
///     .build()?
///     .run(shutdown_signal())
///     .await?;
/// report.log();
/// # Ok(()) }
/// ```
#[must_use = "a worker does nothing until it runs"]
pub struct Worker {
    application: ApplicationName,
    id: WorkerId,
    streams: Streams,
    leases: Arc<dyn Leases>,
    source: Arc<dyn RecordSource>,
    processor: ProcessorFactory,
    settings: Settings,
    timing: LeaseTiming,
    seed: u64,
}

impl Worker {
    /// Begins with the application's name, which is also the name of its lease table.
    pub fn builder(
        application: impl Into<String>,
    ) -> WorkerBuilder<Missing, Missing, Missing, Missing> {
        WorkerBuilder::new(application.into())
    }

    /// The name by which this worker owns leases.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.id
    }

    /// How long this worker takes to stop at the most: the drain limit, and the time to drop overdue calls and to free its leases.
    #[must_use]
    pub fn stop_limit(&self) -> Duration {
        self.settings.drain_limit + run::AFTER_DRAIN
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("application", &self.application)
            .field("id", &self.id)
            .field("streams", &self.streams)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
