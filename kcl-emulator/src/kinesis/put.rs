//! `PutRecord`, `PutRecords`, and a loader that fills a stream fast.

use std::time::SystemTime;

use bytes::BytesMut;
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::Kinesis;
use super::error::{Code, Error};
use super::hash_range;
use super::sequence::SequenceNumber;
use super::shard::{self, Shard};
use super::stream::Stream;
use super::target::{self, Target, throttled};
use super::time::Time;
use super::validate::Checks;
use crate::Limits;
use crate::wire::{Blob, Text};

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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordRequest<'a> {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    data: Option<Blob>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
    sequence_number_for_ordering: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordsRequest<'a> {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(borrow)]
    records: Option<Vec<RequestEntry<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RequestEntry<'a> {
    data: Option<Blob>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordReply {
    shard_id: String,
    sequence_number: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordsReply {
    failed_record_count: usize,
    records: Vec<ResultEntry>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ResultEntry {
    Put(PutRecordReply),
    #[serde(rename_all = "PascalCase")]
    Failed {
        error_code: &'static str,
        error_message: String,
    },
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

    fn put_entries(
        &mut self,
        now: Time,
        stream: &str,
        entries: &[Entry<'_>],
    ) -> Result<Vec<Result<Put, Error>>, Error> {
        let mut checks = Checks::default();
        checks.at_least("records", entries.len(), 1);
        checks.at_most("records", entries.len(), MAX_ENTRIES);
        for (nth, entry) in (1..).zip(entries) {
            check_key(
                &mut checks,
                || format!("records.{nth}.member."),
                entry.partition_key,
            );
        }
        checks.finish()?;
        let Self {
            streams,
            account,
            limits,
            rng,
            ..
        } = self;
        let stream = target::serving(streams, stream, account)?;
        for (nth, entry) in (1..).zip(entries) {
            check_size(|| format!("records.{nth}.member."), stream, entry)?;
        }
        let total: usize = entries.iter().map(size).sum();
        if total > MAX_REQUEST {
            return Err(Error::invalid(format!(
                "Records size exceeds {} MiB limit",
                MAX_REQUEST >> 20
            )));
        }
        // Room for base64 and for what surrounds the data, so that the buffer need not grow.
        let mut buffer = BytesMut::with_capacity(total.div_ceil(3) * 4 + 200 * entries.len());
        let mut put = |entry| append(stream, account, *limits, now, rng, &mut buffer, entry);
        Ok(entries.iter().map(&mut put).collect())
    }

    /// Fills a stream without regard to rates or to the size of a request: for benchmarks and simulations.
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
        let Self {
            streams,
            account,
            rng,
            ..
        } = self;
        let stream = target::serving(streams, stream, account)?;
        let mut buffer = BytesMut::new();
        let mut loaded = 0;
        for entry in entries {
            let mut checks = Checks::default();
            check_key(&mut checks, String::new, entry.partition_key);
            checks.finish()?;
            check_size(String::new, stream, &entry)?;
            if buffer.capacity() < 1 << 16 {
                buffer = BytesMut::with_capacity(1 << 20);
            }
            append(
                stream,
                account,
                Limits::none(),
                now,
                rng,
                &mut buffer,
                &entry,
            )?;
            loaded += 1;
        }
        Ok(loaded)
    }

    pub(super) fn put_record(
        &mut self,
        now: Time,
        request: PutRecordRequest<'_>,
    ) -> Result<PutRecordReply, Error> {
        let PutRecordRequest {
            stream_name,
            stream_arn,
            data,
            partition_key,
            explicit_hash_key,
            ..
        } = request;
        let entry = RequestEntry {
            data,
            partition_key,
            explicit_hash_key,
        };
        let mut checks = Checks::default();
        entry.check(&mut checks, String::new);
        checks.finish()?;
        if let Some(text) = &request.sequence_number_for_ordering
            && SequenceNumber::parse(text).is_none()
        {
            return Err(Error::invalid(format!(
                "ExclusiveMinimumSequenceNumber {text} used in PutRecord is invalid."
            )));
        }
        let name = self.named(&Target {
            stream_name,
            stream_arn,
        })?;
        let Self {
            streams,
            account,
            limits,
            rng,
            ..
        } = self;
        let stream = target::serving(streams, &name, account)?;
        let entry = entry.parse()?;
        check_size(String::new, stream, &entry)?;
        Ok(append(
            stream,
            account,
            *limits,
            now,
            rng,
            &mut BytesMut::new(),
            &entry,
        )?
        .into())
    }

    pub(super) fn put_records_request(
        &mut self,
        now: Time,
        request: PutRecordsRequest<'_>,
    ) -> Result<PutRecordsReply, Error> {
        let PutRecordsRequest {
            stream_name,
            stream_arn,
            records,
        } = request;
        let mut checks = Checks::default();
        checks.present("records", records.as_ref());
        let records = records.unwrap_or_default();
        for (nth, entry) in (1..).zip(&records) {
            entry.check(&mut checks, || format!("records.{nth}.member."));
        }
        checks.finish()?;
        let name = self.named(&Target {
            stream_name,
            stream_arn,
        })?;
        let entries = records
            .iter()
            .map(RequestEntry::parse)
            .collect::<Result<Vec<_>, _>>()?;
        let outcomes = self.put_entries(now, &name, &entries)?;
        Ok(PutRecordsReply {
            failed_record_count: outcomes.iter().filter(|outcome| outcome.is_err()).count(),
            records: outcomes.into_iter().map(ResultEntry::from).collect(),
        })
    }
}

impl RequestEntry<'_> {
    /// Checks what only a request can get wrong.
    fn check(&self, checks: &mut Checks, path: impl Fn() -> String) {
        if let (Some(_), Some(_), None) = (&self.data, &self.partition_key, &self.explicit_hash_key)
        {
            return;
        }
        checks.present(&(path() + "data"), self.data.as_ref());
        checks.present(&(path() + "partitionKey"), self.partition_key.as_ref());
        let hash = self.explicit_hash_key.as_ref().map(|text| &*text.0);
        checks.hash_key(&(path() + "explicitHashKey"), hash);
    }

    fn parse(&self) -> Result<Entry<'_>, Error> {
        Ok(Entry {
            data: self.data.as_ref().map_or(&[], |data| &data.0),
            partition_key: self.partition_key.as_ref().map_or("", |key| &key.0),
            explicit_hash_key: match &self.explicit_hash_key {
                Some(text) => Some(hash_range::parse_explicit(&text.0)?),
                None => None,
            },
        })
    }
}

impl From<Put> for PutRecordReply {
    fn from(put: Put) -> Self {
        Self {
            shard_id: put.shard_id,
            sequence_number: put.sequence_number.to_string(),
        }
    }
}

impl From<Result<Put, Error>> for ResultEntry {
    fn from(outcome: Result<Put, Error>) -> Self {
        match outcome {
            Ok(put) => Self::Put(put.into()),
            Err(error) => Self::Failed {
                error_code: error.code().name(),
                error_message: error.message().to_owned(),
            },
        }
    }
}

fn size(entry: &Entry<'_>) -> usize {
    entry.data.len() + entry.partition_key.len()
}

fn check_key(checks: &mut Checks, path: impl Fn() -> String, key: &str) {
    // A key of at most 256 bytes cannot have more characters; most keys end here.
    if key.is_empty() || key.len() > MAX_KEY_CHARS {
        let member = path() + "partitionKey";
        let chars = key.chars().count();
        checks.at_least(&member, chars, 1);
        checks.at_most(&member, chars, MAX_KEY_CHARS);
    }
}

fn check_size(path: impl Fn() -> String, stream: &Stream, entry: &Entry<'_>) -> Result<(), Error> {
    let mut checks = Checks::default();
    if size(entry) > stream.max_record {
        checks.at_most(&(path() + "data"), size(entry), stream.max_record);
    }
    checks.finish()
}

fn append(
    stream: &mut Stream,
    account: &str,
    limits: Limits,
    now: Time,
    rng: &mut Rng,
    buffer: &mut BytesMut,
    entry: &Entry<'_>,
) -> Result<Put, Error> {
    let hash = entry
        .explicit_hash_key
        .unwrap_or_else(|| hash_range::of_partition_key(entry.partition_key));
    let Some((name, shard)) = stream.route(hash) else {
        return Err(Error::new(
            Code::ResourceNotFound,
            "No open shard takes the hash key.",
        ));
    };
    if limits.writes && !take_write(shard, now, size(entry) as u64) {
        return Err(throttled(shard.number, name, account));
    }
    let sequence_number = shard.append(now, rng, buffer, entry.data, entry.partition_key);
    Ok(Put {
        shard_id: shard::id(shard.number),
        sequence_number,
    })
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
