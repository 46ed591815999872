//! Calls into the user's code: a panic is an error, a hang is noticed, and a lost lease cuts the call short.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use crate::Clock;
use crate::metrics::{self, ShardMetrics};
use crate::processor::BoxError;

/// How a call into the user's code ended.
#[derive(Debug)]
pub(super) enum Called<T> {
    /// It returned.
    Returned(T),
    /// It panicked; the message, if it was text.
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
            Self::Panicked(message) => Some(format!("panicked: {message}")),
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
    let mut call = std::pin::pin!(AssertUnwindSafe(call).catch_unwind());
    let mut warned = false;
    loop {
        let warn_at = started + limits.warn_after;
        let end_at = limits.time_limit.map(|limit| started + limit);
        tokio::select! {
            biased;
            returned = &mut call => {
                if warned {
                    metrics.record(metrics::PROCESSOR_STUCK, 0.0);
                    let seconds = (clock.now() - started).as_secs();
                    tracing::info!(operation, seconds, "processor returned");
                }
                return match returned {
                    Ok(value) => Called::Returned(value),
                    Err(panic) => Called::Panicked(panic_message(&*panic)),
                };
            }
            () = clock.sleep_until(end_at.unwrap_or(warn_at)), if end_at.is_some() => {
                return Called::TimedOut;
            }
            () = clock.sleep_until(warn_at), if !warned => {
                warned = true;
                metrics.record(metrics::PROCESSOR_STUCK, 1.0);
                let seconds = limits.warn_after.as_secs();
                tracing::warn!(operation, seconds, "processor does not return; its shard waits, the others go on");
            }
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[tokio::test(start_paused = true)]
    async fn errors_panics_and_hangs_are_failures() {
        assert_eq!(call(async { Ok(()) }, None).await, None);
        assert_eq!(call(async { Err("no".into()) }, None).await.unwrap(), "no");
        assert_eq!(call(async { panic!("boom") }, None).await.unwrap(), "panicked: boom");
        let hang = call(std::future::pending(), Some(300)).await.unwrap();
        assert_eq!(hang, "exceeded the time limit");
    }
}
