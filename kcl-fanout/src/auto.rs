//! Polling that turns to fan-out where it pays.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::kinesis::KinesisApi;
use kcl_core::retrieval::{OpenShard, Polling, RecordSource, ShardReader};

use crate::choice::Rules;
use crate::source::FanOutSource;
use crate::switch::{Switch, Ways};

/// Polls, and reads by fan-out the shards that need it.
///
/// A shard is polled at first. It is read by fan-out once, for half a minute, its records were more than 10 s behind the newest
/// while the processor waited for them, or other consumers throttled the polls; or once polling has failed for a minute. The consumer
/// is found or registered at the first need, and polling goes on until it is active. A shard stays with fan-out, because AWS bills a
/// consumer by the shards of its stream whether it reads them or not; when that brings nothing for a minute, because its calls fail
/// or another subscription has the shard, the shard is polled again, and fan-out is not tried again for five minutes.
///
/// Each change goes on after the last record that was returned: no gap, no repeat. The log says which shard, which way and why;
/// [`READ_BY_FAN_OUT`](kcl_core::metrics::READ_BY_FAN_OUT) and
/// [`READING_CHANGED`](kcl_core::metrics::READING_CHANGED) count.
///
/// ```no_run
/// # use aws_types::SdkConfig;
/// # use kcl_core::retrieval::Polling;
/// # use kcl_fanout::{Auto, FanOut};
/// # fn source(aws: &SdkConfig) {
/// let source = Auto::new(Polling::new(aws), FanOut::new(aws).consumer("orders-app"));
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Auto {
    ways: Ways,
    rules: Rules,
}

impl Auto {
    /// Both ways. Everything but records is asked of Kinesis as `polling` does.
    pub fn new(polling: Polling, fan_out: FanOutSource) -> Self {
        Self { ways: Ways { polling, fan_out }, rules: Rules::BY_LOAD }
    }

    /// How far polling may be behind the newest record. Default 10 s.
    pub fn lag_limit(mut self, lag: Duration) -> Self {
        self.rules.lag = lag;
        self
    }

    /// For how long polling must have been behind or throttled. Default 30 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.rules.patience = patience;
        self
    }

    /// For how long a way must have failed to be left. Default 60 s.
    pub fn failing_limit(mut self, failing: Duration) -> Self {
        self.rules.failing = failing;
        self
    }

    /// How long fan-out is left alone after it failed, or had no consumer. Default 5 min.
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.rules.retry = pause;
        self
    }
}

impl RecordSource for Auto {
    fn api(&self) -> Arc<dyn KinesisApi> {
        self.ways.polling.api()
    }

    fn open(&self, shard: OpenShard) -> Box<dyn ShardReader> {
        Box::new(Switch::new(self.ways.clone(), self.rules, shard))
    }
}
