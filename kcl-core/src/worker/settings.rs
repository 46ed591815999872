//! Every setting of a worker, with its default.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::WorkerEvent;
use crate::leasing::LeaseTiming;
use crate::metrics::{Metrics, NoMetrics};
use crate::{Checkpoint, Clock, FailurePolicy, Tasks, WorkerId};

/// What a worker does while it runs, told as it happens. Must not block.
pub(crate) type Observer = Arc<dyn Fn(&WorkerEvent) + Send + Sync>;

/// The settings of a worker. Change them through the builder's methods of the same names.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The worker's id. Default: host name, process id and chance. A stable id of your own lets a restarted worker take up its
    /// leases at once; two live workers must never share one.
    pub worker_id: Option<WorkerId>,
    /// How long a silent worker keeps its leases, from 1 s. Default: 10 s, as the Java KCL (`failoverTimeMillis`).
    pub lease_duration: Duration,
    /// Renewals, scans and margins, where the proportions of [`LeaseTiming::for_duration`] do not fit. Default: those.
    pub timing: Option<LeaseTiming>,
    /// The most leases that this worker holds at once. Default: no limit.
    pub max_leases: Option<NonZeroU32>,
    /// The most payload bytes that the whole worker holds, 10 MiB to 4 GiB. Default: 256 MiB. A shard whose processor stands
    /// still keeps up to two replies of 10 MiB, and every read needs room for one: with too small a budget, shards that
    /// stand still stop the others.
    pub memory_budget: usize,
    /// When progress becomes durable. Default: with each renewal.
    pub checkpoint: Checkpoint,
    /// What happens when the processor fails. Default: 30 attempts, then halt the shard.
    pub failure: FailurePolicy,
    /// After this, a call to the processor that has not returned is reported. Default: 60 s.
    pub warn_after: Duration,
    /// How long running calls may take to end when the worker stops. Default: 20 s, which fits the 30 s that ECS gives.
    pub drain_limit: Duration,
    /// Where figures go. Default: nowhere.
    pub metrics: Arc<dyn Metrics>,
    /// Who is told what happens. Default: nobody.
    pub(crate) observer: Observer,
    /// Time. Default: the host's.
    pub clock: Option<Clock>,
    /// Where the worker's tasks run: a simulation stalls or ends them as one. Default: a group of its own. The group is
    /// stopped when the worker has.
    pub tasks: Option<Tasks>,
    /// The seed of all chance in this worker. Default: drawn from the system.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            worker_id: None,
            lease_duration: Duration::from_secs(10),
            timing: None,
            max_leases: None,
            memory_budget: 256 * 1024 * 1024,
            checkpoint: Checkpoint::default(),
            failure: FailurePolicy::default(),
            warn_after: Duration::from_secs(60),
            drain_limit: Duration::from_secs(20),
            metrics: Arc::new(NoMetrics),
            observer: Arc::new(|_| {}),
            clock: None,
            tasks: None,
            seed: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("lease_duration", &self.lease_duration)
            .field("max_leases", &self.max_leases)
            .field("memory_budget", &self.memory_budget)
            .field("checkpoint", &self.checkpoint)
            .field("failure", &self.failure)
            .field("drain_limit", &self.drain_limit)
            .finish_non_exhaustive()
    }
}
