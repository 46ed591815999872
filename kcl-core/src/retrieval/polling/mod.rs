//! Polling: GetRecords, one shard at a time, at the pace that Kinesis allows.
//!
//! ```text
//!  Polling ──open──> Reader ──asks──> Machine (what next?) ──asks──> Pace (when?)
//!                      └──calls──> KinesisApi
//! ```
//!
//! [`Machine`](machine::Machine) and [`Pace`](pace::Pace) decide and are pure; [`Reader`](reader::Reader) carries out.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_types::SdkConfig;

use self::machine::Machine;
use self::pace::{Limits, Pace};
use self::reader::Reader;
use super::{Lookups, OpenShard, RecordSource, ShardReader};
use crate::kinesis::{KinesisApi, SdkKinesis};

mod machine;
mod pace;
mod reader;

/// AWS's cap on the records of one reply (GetRecords, API reference).
const MAX_RECORDS: u32 = 10_000;

/// AWS's cap on GetRecords calls for a shard, per second (Kinesis quotas).
const MAX_CALLS_PER_SECOND: u32 = 5;

/// Within the five minutes that an iterator lives.
const LONGEST_IDLE: Duration = Duration::from_secs(240);

/// AWS's cap on bytes read from a shard, per second (Kinesis quotas).
const BYTES_PER_SECOND: u64 = 2 * 1024 * 1024;

/// Polling with `GetRecords`, shared by all consumers of a stream: 5 calls and 2 MiB a second for each shard.
///
/// A reader behind the tip reads on at once, as fast as the pace allows. A reader at the tip asks again after the idle
/// interval: the shortest while records come, growing to the longest on a silent shard. Calls that Kinesis throttles make it
/// leave room to the other consumers: it halves its share of the pace, and wins it back over some thirty good replies.
///
/// # What a reader survives, and how
///
/// - An expired iterator: a new one after the last record it returned. A reader that began at `LATEST` and has not
///   returned a record yet goes on at the time when it was opened, less 5 s for clocks that differ: never at
///   `LATEST` again, which would skip what was put in between.
/// - A position that Kinesis refuses, because the record is older than the retention period: it goes on with the oldest
///   record that is left, logs a warning, and counts
///   [`RECORDS_LOST`](crate::metrics::RECORDS_LOST). A position in a stream that was deleted and created again is
///   [`ReadError::NotFound`](super::ReadError::NotFound) instead.
/// - A start time that lies in the future by Kinesis's clock: waits for it.
/// - A shard or stream that is not found: it asks ListShards whether that is so, and goes on if not. A shard that is no
///   longer listed, while its children are, has expired: that is its end, and counts as
///   [`RECORDS_LOST`](crate::metrics::RECORDS_LOST).
/// - A reply without a next iterator that does not name the children either: it asks ListShards, and ends only if the shard
///   is closed and its children are there.
/// - Everything else: it tries again after 100 ms to 5 s, with jitter.
#[derive(Debug, Clone)]
#[must_use]
pub struct Polling {
    api: Arc<dyn KinesisApi>,
    lookups: Arc<Lookups>,
    max_records: u32,
    idle_min: Duration,
    idle_max: Duration,
    limits: Option<Limits>,
}

impl Polling {
    /// Polling with a client made from `config`.
    pub fn new(config: &SdkConfig) -> Self {
        Self::over(Arc::new(SdkKinesis::new(config)))
    }

    /// Polling with a client that is configured already.
    pub fn from_client(client: Client) -> Self {
        Self::over(Arc::new(SdkKinesis::from_client(client)))
    }

    /// Polling over any implementation of the calls.
    pub fn over(api: Arc<dyn KinesisApi>) -> Self {
        Self {
            api,
            lookups: Arc::default(),
            max_records: MAX_RECORDS,
            idle_min: Duration::from_millis(200),
            idle_max: Duration::from_secs(1),
            limits: Some(Limits {
                calls_per_second: MAX_CALLS_PER_SECOND,
                bytes_per_second: BYTES_PER_SECOND,
            }),
        }
    }

    /// The most records that one call returns, and so the largest batch. 1 to 10,000, default 10,000. A call asks for fewer
    /// when records are large: for about 2 MiB, which is what a shard gives in a second.
    pub fn max_records(mut self, records: u32) -> Self {
        self.max_records = records.clamp(1, MAX_RECORDS);
        self
    }

    /// How long to wait from one call to the next at the tip of a shard: `min` while records come, doubling up to `max` on
    /// a silent shard. Default 200 ms and 1 s; each 1 ms to 4 min, because an iterator lives for 5; a `max` below `min`
    /// counts as `min`.
    ///
    /// A record that is put on a silent shard is delivered within `max`.
    pub fn idle(mut self, min: Duration, max: Duration) -> Self {
        self.idle_min = min.clamp(Duration::from_millis(1), LONGEST_IDLE);
        self.idle_max = max.clamp(self.idle_min, LONGEST_IDLE);
        self
    }

    /// The most calls a second for each shard. 1 to 5, default 5, which is all that AWS grants to all consumers
    /// of a stream together.
    pub fn calls_per_second(mut self, calls: u32) -> Self {
        self.pace_mut().calls_per_second = calls.clamp(1, MAX_CALLS_PER_SECOND);
        self
    }

    /// The most payload bytes a second for each shard. At least 1 KiB, default 2 MiB, which is all that AWS grants to all
    /// consumers of a stream together.
    pub fn bytes_per_second(mut self, bytes: u64) -> Self {
        self.pace_mut().bytes_per_second = bytes.max(1024);
        self
    }

    /// Reads as fast as replies come, for emulators without limits and for benchmarks. Idle intervals stay, and so does
    /// the backoff after a throttled call.
    pub fn unpaced(mut self) -> Self {
        self.limits = None;
        self
    }

    fn pace_mut(&mut self) -> &mut Limits {
        self.limits.get_or_insert(Limits {
            calls_per_second: MAX_CALLS_PER_SECOND,
            bytes_per_second: BYTES_PER_SECOND,
        })
    }
}

impl RecordSource for Polling {
    fn api(&self) -> Arc<dyn KinesisApi> {
        self.api.clone()
    }

    fn open(&self, shard: OpenShard) -> Box<dyn ShardReader> {
        let machine = Machine::new(
            shard.from.clone(),
            shard.clock.wall(),
            Pace::new(self.limits),
            self.idle_min..=self.idle_max,
        );
        Box::new(Reader::new(
            self.api.clone(),
            self.lookups.clone(),
            shard,
            machine,
            self.max_records,
        ))
    }
}
