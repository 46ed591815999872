//! How long a worker waits for its table. Pure.

use std::time::{Duration, Instant};

use kcl_core::leasing::LeasingError;
use tracing::{info, warn};

use crate::store::{StoreError, StoreErrorKind};

/// How long a table may take to become usable; as in the Java KCL.
const CREATION_LIMIT: Duration = Duration::from_secs(600);
/// How long DynamoDB may fail to answer before the worker gives up.
const UNREACHABLE_LIMIT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// How long to go on, and what to say meanwhile.
pub(super) struct Wait {
    started: Instant,
    next_report: Instant,
    failing_since: Option<Instant>,
    pause: Duration,
}

impl Wait {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            next_report: now + REPORT_INTERVAL,
            failing_since: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Whether the wait goes on after a step that ended in a table status or an error.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        table: &str,
        step: Result<String, StoreError>,
    ) -> Result<(), LeasingError> {
        let failed = |error: StoreError| Err(LeasingError::Unavailable(error.into()));
        let status = match step {
            Ok(status) => {
                self.failing_since = None;
                status
            }
            Err(error) => {
                let passing =
                    matches!(error.kind(), StoreErrorKind::Throttled | StoreErrorKind::Unavailable);
                let since = *self.failing_since.get_or_insert(now);
                if !passing || now.saturating_duration_since(since) >= UNREACHABLE_LIMIT {
                    return failed(error);
                }
                if since == now {
                    warn!(table, %error, "lease table cannot be reached yet");
                }
                "UNREACHABLE".to_owned()
            }
        };
        if now.saturating_duration_since(self.started) >= CREATION_LIMIT {
            let message = format!("table did not become active: status={status}");
            return failed(StoreError::new("DescribeTable", StoreErrorKind::Unavailable, message));
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            let waited = now.saturating_duration_since(self.started).as_secs();
            info!(table, status, waited_s = waited, "waiting for lease table");
        }
        Ok(())
    }

    pub(super) fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}
