//! Records are put: one by one, in batches, or by a loader that fills a stream fast.

use std::time::SystemTime;

use bytes::BytesMut;
use fastrand::Rng;

use super::Kinesis;
use super::error::{Code, Error};
use super::hash_range;
use super::sequence::SequenceNumber;
use super::shard::{self, Shard};
use super::stream::Stream;
use super::subscription::Subscriptions;
use super::target::{self, throttled};
use super::time::Time;
use super::validate::Checks;
use crate::Limits;

const MAX_ENTRIES: usize = 500;
/// Data and partition keys of one `PutRecords`.
const MAX_REQUEST: usize = 10 << 20;
const MAX_KEY_CHARS: usize = 256;

/// A record to put.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// The payload.
    pub data: &'a [u8],
    /// 1 to 256 characters; its MD5 chooses the shard.
    pub partition_key: &'a str,
    /// Chooses the shard instead of the partition key.
    pub explicit_hash_key: Option<u128>,
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("data_len", &self.data.len())
            .field("partition_key_len", &self.partition_key.len())
            .finish_non_exhaustive()
    }
}

/// Where a record went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// `shardId-000000000000`.
    pub shard_id: String,
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
}

impl Kinesis {
    /// `PutRecords`: each entry succeeds or fails alone.
    ///
    /// # Errors
    /// The whole request is refused if the stream is unknown or an entry breaks a limit on shapes.
    pub fn put_records(
        &mut self,
        now: SystemTime,
        stream: &str,
        entries: &[Entry<'_>],
    ) -> Result<Vec<Result<Put, Error>>, Error> {
        let now = Time::from(now);
        self.settle(now);
        self.put_entries(now, stream, entries)
    }

    pub(super) fn put_entries(
        &mut self,
        now: Time,
        stream: &str,
        entries: &[Entry<'_>],
    ) -> Result<Vec<Result<Put, Error>>, Error> {
        let mut checks = Checks::default();
        checks.at_least("records", entries.len(), 1);
        checks.at_most("records", entries.len(), MAX_ENTRIES);
        checks.finish()?;
        let Self { streams, account, limits, rng, subscriptions, .. } = self;
        let stream = target::serving(streams, stream, account)?;
        let mut checks = Checks::default();
        for (nth, entry) in (1..).zip(entries) {
            check(&mut checks, || format!("records.{nth}.member."), stream, entry);
        }
        checks.finish()?;
        let total: usize = entries.iter().map(size).sum();
        if total > MAX_REQUEST {
            return Err(Error::invalid(format!(
                "Records size exceeds {} MiB limit",
                MAX_REQUEST >> 20
            )));
        }
        // Room for base64 and for what surrounds the data, so that the buffer need not grow.
        let buffer = BytesMut::with_capacity(total.div_ceil(3) * 4 + 200 * entries.len());
        let mut writer = Writer { account, limits: *limits, now, rng, subscriptions, buffer };
        Ok(entries.iter().map(|entry| writer.append(stream, entry)).collect())
    }

    /// Fills a stream without regard to rates or to the size of a request: for benchmarks and
    /// simulations.
    ///
    /// # Errors
    /// If the stream is unknown, or a record breaks a limit on shapes; the records before it are in the stream.
    pub fn load<'a>(
        &mut self,
        now: SystemTime,
        stream: &str,
        entries: impl IntoIterator<Item = Entry<'a>>,
    ) -> Result<u64, Error> {
        let now = Time::from(now);
        self.settle(now);
        let Self { streams, account, rng, subscriptions, .. } = self;
        let stream = target::serving(streams, stream, account)?;
        let (limits, buffer) = (Limits::none(), BytesMut::new());
        let mut writer = Writer { account, limits, now, rng, subscriptions, buffer };
        let mut loaded = 0;
        for entry in entries {
            let mut checks = Checks::default();
            check(&mut checks, String::new, stream, &entry);
            checks.finish()?;
            if writer.buffer.capacity() < 1 << 16 {
                writer.buffer = BytesMut::with_capacity(1 << 20);
            }
            writer.append(stream, &entry)?;
            loaded += 1;
        }
        Ok(loaded)
    }

    pub(super) fn put_entry(
        &mut self,
        now: Time,
        stream: &str,
        entry: &Entry<'_>,
    ) -> Result<Put, Error> {
        let Self { streams, account, limits, rng, subscriptions, .. } = self;
        let stream = target::serving(streams, stream, account)?;
        let mut checks = Checks::default();
        check(&mut checks, String::new, stream, entry);
        checks.finish()?;
        let (limits, buffer) = (*limits, BytesMut::new());
        Writer { account, limits, now, rng, subscriptions, buffer }.append(stream, entry)
    }
}

fn size(entry: &Entry<'_>) -> usize {
    entry.data.len() + entry.partition_key.len()
}

fn check(checks: &mut Checks, path: impl Fn() -> String, stream: &Stream, entry: &Entry<'_>) {
    let key = entry.partition_key;
    // A key of at most 256 bytes cannot have more characters; most keys end here.
    if key.is_empty() || key.len() > MAX_KEY_CHARS {
        let member = path() + "partitionKey";
        let chars = key.chars().count();
        checks.at_least(&member, chars, 1);
        checks.at_most(&member, chars, MAX_KEY_CHARS);
    }
    if size(entry) > stream.max_record {
        checks.at_most(&(path() + "data"), size(entry), stream.max_record);
    }
}

/// What putting a record needs beside the record and its stream.
struct Writer<'a> {
    account: &'a str,
    limits: Limits,
    now: Time,
    rng: &'a mut Rng,
    subscriptions: &'a mut Subscriptions,
    buffer: BytesMut,
}

impl Writer<'_> {
    fn append(&mut self, stream: &mut Stream, entry: &Entry<'_>) -> Result<Put, Error> {
        let Self { account, limits, now, rng, subscriptions, buffer } = self;
        let hash = entry
            .explicit_hash_key
            .unwrap_or_else(|| hash_range::of_partition_key(entry.partition_key));
        let Some((name, shard)) = stream.route(hash) else {
            return Err(Error::new(Code::ResourceNotFound, "No open shard takes the hash key."));
        };
        if limits.writes && !take_write(shard, *now, size(entry) as u64) {
            return Err(throttled(shard.number, name, account));
        }
        let sequence_number = shard.append(*now, rng, buffer, entry.data, entry.partition_key);
        subscriptions.wake(shard.subscribers.iter().copied());
        Ok(Put { shard_id: shard::id(shard.number), sequence_number })
    }
}

fn take_write(shard: &mut Shard, now: Time, bytes: u64) -> bool {
    let rates = &mut shard.rates;
    let granted = rates.written_records.has(now, 1) && rates.written_bytes.has(now, bytes);
    if granted {
        rates.written_records.take(now, 1);
        rates.written_bytes.take(now, bytes);
    }
    granted
}
