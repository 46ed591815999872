//! The names of all metrics, and the one trait through which figures leave.
//!
//! Names are stable; what each means, with unit and labels, is in docs/METRICS.md. Back-ends are adapters of [`Metrics`].

use std::fmt;
use std::sync::Arc;

use crate::{ShardId, StreamId};

/// A metric: its name and what kind of figure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric {
    /// Name with its unit as the suffix, such as `kcl_millis_behind_latest`.
    pub name: &'static str,
    /// How figures of this name add up.
    pub kind: MetricKind,
}

/// How figures of one name add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// They are summed.
    Counter,
    /// The newest stands.
    Gauge,
    /// Their distribution counts.
    Histogram,
}

/// Declares the metrics and the list of them that the documentation is checked against.
macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident = $kind:ident $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Metric = Metric { name: $text, kind: MetricKind::$kind };)*
        /// Every metric of this library.
        pub const ALL: &[Metric] = &[$($name),*];
    };
}

metrics! {
    /// User records that the processor has done. Per shard.
    RECORDS_PROCESSED = Counter "kcl_records_processed";
    /// Payload bytes that the processor has done. Per shard.
    BYTES_PROCESSED = Counter "kcl_bytes_processed";
    /// How far the last record of the newest reply is behind the newest record, ms. Per shard.
    MILLIS_BEHIND_LATEST = Gauge "kcl_millis_behind_latest";
    /// Duration of a `process_records` call, ms. Per shard.
    PROCESS_MILLIS = Histogram "kcl_process_millis";
    /// Failed attempts (`Err` or panic) at a batch. Per shard.
    PROCESS_FAILURES = Counter "kcl_process_failures";
    /// Shards given up after the configured attempts. Per shard.
    SHARDS_HALTED = Counter "kcl_shards_halted";
    /// 1 while a call to the processor takes longer than the warning limit, else 0. Per shard.
    PROCESSOR_STUCK = Gauge "kcl_processor_stuck";
    /// KPL aggregates that could not be taken apart; delivered whole. Per shard.
    AGGREGATES_DAMAGED = Counter "kcl_aggregates_damaged";
    /// GetRecords calls. Per shard.
    GET_RECORDS = Counter "kcl_get_records";
    /// Reads that Kinesis throttled. Per shard.
    READS_THROTTLED = Counter "kcl_reads_throttled";
    /// Reads that failed otherwise. Per shard.
    READ_FAILURES = Counter "kcl_read_failures";
    /// SubscribeToShard calls. Per shard.
    SUBSCRIBE_CALLS = Counter "kcl_subscribe_calls";
    /// Events of subscriptions, those without records among them. Per shard.
    SUBSCRIPTION_EVENTS = Counter "kcl_subscription_events";
    /// Subscriptions that ended in order, as all do after five minutes. Per shard.
    SUBSCRIPTIONS_ENDED = Counter "kcl_subscriptions_ended";
    /// Subscriptions that broke: a connection, an exception. Per shard.
    SUBSCRIPTIONS_BROKEN = Counter "kcl_subscriptions_broken";
    /// Subscriptions given up because nothing came any more. Per shard.
    SUBSCRIPTIONS_SILENT = Counter "kcl_subscriptions_silent";
    /// Subscriptions given up because the processor or the budget did not take their events. Per shard.
    SUBSCRIPTIONS_SLOW = Counter "kcl_subscriptions_slow";
    /// Subscriptions refused or ended for another one of the same consumer. Per shard.
    SUBSCRIPTIONS_CONTESTED = Counter "kcl_subscriptions_contested";
    /// 1 while the shard is read by fan-out, 0 while it is polled. Per shard, of readers that have the choice.
    READ_BY_FAN_OUT = Gauge "kcl_read_by_fan_out";
    /// Changes between polling and fan-out. Per shard.
    READING_CHANGED = Counter "kcl_reading_changed";
    /// Stream consumers registered.
    CONSUMERS_REGISTERED = Counter "kcl_consumers_registered";
    /// Expired iterators that were replaced. Per shard.
    ITERATORS_EXPIRED = Counter "kcl_iterators_expired";
    /// Resumes from a checkpoint older than the retention period: records were lost before we came. Per shard.
    RECORDS_LOST = Counter "kcl_records_lost";
    /// Payload bytes taken from the process-wide budget.
    BUDGET_BYTES_USED = Gauge "kcl_budget_bytes_used";
    /// Leases that this worker holds.
    LEASES_HELD = Gauge "kcl_leases_held";
    /// Leases taken because they were free or expired.
    LEASES_TAKEN = Counter "kcl_leases_taken";
    /// Leases taken from a live worker for balance.
    LEASES_STOLEN = Counter "kcl_leases_stolen";
    /// Leases asked of live workers, for balance.
    LEASES_ASKED_FOR = Counter "kcl_leases_asked_for";
    /// Leases handed over to workers that asked for them.
    LEASES_HANDED_OVER = Counter "kcl_leases_handed_over";
    /// Leases lost to another worker or to time.
    LEASES_LOST = Counter "kcl_leases_lost";
    /// Writes to the lease table, by outcome.
    LEASE_WRITES = Counter "kcl_lease_writes";
    /// Scans of the lease table.
    LEASE_SCANS = Counter "kcl_lease_scans";
    /// Leases in the table that cannot be read, and were passed over.
    LEASES_UNREADABLE = Counter "kcl_leases_unreadable";
    /// Items of the lease table that are no leases at all, and were passed over.
    LEASE_ITEMS_FOREIGN = Counter "kcl_lease_items_foreign";
    /// Durable checkpoints. Per shard.
    CHECKPOINTS = Counter "kcl_checkpoints";
    /// Leases created by shard sync or at the end of a parent.
    LEASES_CREATED = Counter "kcl_leases_created";
    /// Ended leases deleted, as their children have progressed.
    LEASES_DELETED = Counter "kcl_leases_deleted";
}

/// Where figures go. Called on hot paths: must not block.
pub trait Metrics: Send + Sync + fmt::Debug + 'static {
    /// One figure. `shard` is absent for figures of the whole worker.
    fn record(&self, metric: Metric, shard: Option<(&StreamId, &ShardId)>, value: f64);
}

/// Drops every figure.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn record(&self, _: Metric, _: Option<(&StreamId, &ShardId)>, _: f64) {}
}

/// Figures of one shard.
#[derive(Debug, Clone)]
pub struct ShardMetrics {
    metrics: Arc<dyn Metrics>,
    shard: Arc<(StreamId, ShardId)>,
}

impl ShardMetrics {
    /// Figures of `shard` of `stream`.
    #[must_use]
    pub fn new(metrics: Arc<dyn Metrics>, stream: StreamId, shard: ShardId) -> Self {
        Self { metrics, shard: Arc::new((stream, shard)) }
    }

    /// One figure of this shard.
    pub fn record(&self, metric: Metric, value: f64) {
        self.metrics.record(metric, Some((&self.shard.0, &self.shard.1)), value);
    }

    /// One figure of the whole worker.
    pub fn record_worker(&self, metric: Metric, value: f64) {
        self.metrics.record(metric, None, value);
    }

    /// Adds one to a counter of this shard.
    pub fn count(&self, metric: Metric) {
        self.record(metric, 1.0);
    }
}
