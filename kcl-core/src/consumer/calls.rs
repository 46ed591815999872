//! Calls into the user's code: a panic is an error, a hang is noticed, and a lost lease cuts the call short.

use std::any::Any;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::Clock;
use crate::chain::chain;
use crate::metrics::{self, ShardMetrics};
use crate::processor::BoxError;

/// How a call into the user's code ended.
#[derive(Debug)]
pub(super) enum Called<T> {
    /// It returned.
    Returned(T),
    /// It panicked; see [`panic_message`].
    Panicked(String),
    /// It took longer than the time limit, and was dropped.
    TimedOut,
}

impl Called<Result<(), BoxError>> {
    /// The failure as text for the log and the report; `None` when it succeeded.
    pub(super) fn failure(self) -> Option<String> {
        match self {
            Self::Returned(Ok(())) => None,
            Self::Returned(Err(error)) => Some(chain(&*error)),
            Self::Panicked(message) => Some(message),
            Self::TimedOut => Some("exceeded the time limit".into()),
        }
    }
}

/// Limits of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// After this, log and metric say that the call hangs.
    pub(super) warn_after: Duration,
    /// After this, the call is dropped.
    pub(super) time_limit: Option<Duration>,
}

/// Runs a call of `operation` to its end, within `limits`.
pub(super) async fn guarded<T>(
    call: impl Future<Output = T> + Send,
    operation: &'static str,
    limits: Limits,
    clock: &Clock,
    metrics: &ShardMetrics,
) -> Called<T> {
    let started = clock.now();
    let overdue = async {
        clock.sleep(limits.warn_after).await;
        let _overdue = Overdue::begin(operation, started, clock, metrics);
        pending().await
    };
    let time_limit = async {
        match limits.time_limit {
            Some(limit) => clock.sleep(limit).await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        returned = AssertUnwindSafe(call).catch_unwind() => match returned {
            Ok(value) => Called::Returned(value),
            Err(panic) => Called::Panicked(panic_message(&*panic)),
        },
        () = time_limit => Called::TimedOut,
        never = overdue => never,
    }
}

/// A call is overdue, from now until this is dropped.
struct Overdue<'a> {
    operation: &'static str,
    started: Instant,
    clock: &'a Clock,
    metrics: &'a ShardMetrics,
}

impl<'a> Overdue<'a> {
    fn begin(
        operation: &'static str,
        started: Instant,
        clock: &'a Clock,
        metrics: &'a ShardMetrics,
    ) -> Self {
        metrics.record(metrics::PROCESSOR_STUCK, 1.0);
        let seconds = (clock.now() - started).as_secs();
        tracing::warn!(
            operation,
            seconds,
            "processor does not return; its shard waits, the others go on"
        );
        Self { operation, started, clock, metrics }
    }
}

impl Drop for Overdue<'_> {
    fn drop(&mut self) {
        self.metrics.record(metrics::PROCESSOR_STUCK, 0.0);
        let seconds = (self.clock.now() - self.started).as_secs();
        tracing::info!(
            operation = self.operation,
            seconds,
            "processor returned, or its call was dropped"
        );
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ShardId, StreamId};
    use std::sync::Arc;

    async fn call(
        future: impl Future<Output = Result<(), BoxError>> + Send,
        limit: Option<u64>,
    ) -> Option<String> {
        let id = "1:orders:1".parse().unwrap();
        let metrics =
            ShardMetrics::new(Arc::new(metrics::NoMetrics), id, "shardId-0".parse().unwrap());
        let limits = Limits {
            warn_after: Duration::from_secs(60),
            time_limit: limit.map(Duration::from_secs),
        };
        guarded(future, "process_records", limits, &Clock::system(), &metrics).await.failure()
    }

    /// The gauge falls back however an overdue call ends.
    #[tokio::test(start_paused = true)]
    async fn an_overdue_call_is_stuck_until_it_ends() {
        #[derive(Debug, Default)]
        struct Stuck(std::sync::Mutex<Vec<f64>>);
        impl metrics::Metrics for Stuck {
            fn record(&self, _: metrics::Metric, _: Option<(&StreamId, &ShardId)>, value: f64) {
                self.0.lock().unwrap().push(value);
            }
        }
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        for time_limit in [Some(minutes(3)), None] {
            for hangs in [true, false] {
                let stuck = Arc::new(Stuck::default());
                let id = "1:orders:1".parse().unwrap();
                let shard = "shardId-0".parse().unwrap();
                let metrics = ShardMetrics::new(stuck.clone(), id, shard);
                let clock = Clock::system();
                let call = clock.sleep(minutes(if hangs { 1000 } else { 2 }));
                let limits = Limits { warn_after: minutes(1), time_limit };
                let guarded = guarded(call, "process_records", limits, &clock, &metrics);
                let _ = tokio::time::timeout(minutes(5), guarded).await;
                assert_eq!(*stuck.0.lock().unwrap(), [1.0, 0.0], "{time_limit:?} {hangs}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn errors_panics_and_hangs_are_failures() {
        assert_eq!(call(async { Ok(()) }, None).await, None);
        assert_eq!(call(async { Err("no".into()) }, None).await.unwrap(), "no");
        assert_eq!(call(async { panic!("boom") }, None).await.unwrap(), "panicked: boom");
        let hang = call(pending(), Some(300)).await.unwrap();
        assert_eq!(hang, "exceeded the time limit");
    }
}
