//! `GetRecords`: a page of a shard.

use std::collections::vec_deque;
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Kinesis;
use super::describe::HashKeyRange;
use super::dispatch::Request;
use super::error::Error;
use super::iterators::Position;
use super::record::Record;
use super::shard::{self, Shard, Slice};
use super::stream::Stream;
use super::target::{self, Target, no_shard, throttled};
use super::time::Time;
use super::validate::Checks;

const MAX_RECORDS: usize = 10_000;
const MAX_BYTES: usize = 10 << 20;

/// What `GetRecords` returns.
#[derive(Debug)]
pub struct Page<'a> {
    records: vec_deque::Iter<'a, Record>,
    next_shard_iterator: Option<String>,
    millis_behind_latest: u64,
    child_shards: Vec<ChildShard>,
}

impl Page<'_> {
    /// The records in the order of the shard.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.records.clone()
    }

    /// Where to go on; `None` at the end of a closed shard.
    #[must_use]
    pub fn next_shard_iterator(&self) -> Option<&str> {
        self.next_shard_iterator.as_deref()
    }

    /// 0 if nothing is left to read; else the age of the page's last record. On a closed shard, once all is read, the
    /// time since it was closed: the tip of the stream is in its children.
    #[must_use]
    pub fn millis_behind_latest(&self) -> u64 {
        self.millis_behind_latest
    }

    /// The shards that took the place of this one; empty unless the page ends a closed shard.
    #[must_use]
    pub fn child_shards(&self) -> &[ChildShard] {
        &self.child_shards
    }
}

/// A shard that took the place of one or two others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChildShard {
    shard_id: String,
    parent_shards: Vec<String>,
    hash_key_range: HashKeyRange,
}

impl ChildShard {
    /// `shardId-000000000001`.
    #[must_use]
    pub fn shard_id(&self) -> &str {
        &self.shard_id
    }

    /// One shard that was split, or two that were merged.
    #[must_use]
    pub fn parent_shards(&self) -> &[String] {
        &self.parent_shards
    }

    pub(super) fn of(shard: &Shard) -> Self {
        Self {
            shard_id: shard::id(shard.number),
            parent_shards: shard.parents.iter().map(shard::id).collect(),
            hash_key_range: HashKeyRange::of(shard),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRecords {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_iterator: Option<String>,
    limit: Option<i64>,
}

/// How far behind the tip a reader is once it has read `slice`; see [`Page::millis_behind_latest`].
pub(super) fn millis_behind(now: Time, slice: &Slice<'_>, shard: &Shard) -> u64 {
    let since = match (slice.records.clone().next_back(), slice.unread, shard.closed) {
        (Some(last), Some(_), _) => Some(last.arrival_millis),
        (None, Some(next), _) => Some(next.arrival_millis),
        (_, None, Some(closed)) => Some(closed.at),
        (_, None, None) => None,
    };
    let age = since.map(|since| now.millis().saturating_sub(since));
    // Zero means that nothing is left to read.
    age.map_or(0, |age| if slice.unread.is_none() { age } else { age.max(1) })
}

/// What follows the records of a page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tail {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
    millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<ChildShard>,
}

impl Kinesis {
    /// `GetRecords`: at most `limit` records, and at most 10,000 or 10 MiB.
    ///
    /// # Errors
    /// As AWS: an iterator that is foreign or older than 5 minutes, a stream or shard that is gone, too many calls.
    pub fn get_records(
        &mut self,
        now: SystemTime,
        iterator: &str,
        limit: usize,
    ) -> Result<Page<'_>, Error> {
        let now = Time::from(now);
        self.settle(now);
        let position = Position::unseal(self.sealer, now, iterator)?;
        self.page(now, position, limit)
    }

    pub(super) fn get_records_request(
        &mut self,
        now: Time,
        call: Request<'_>,
    ) -> Result<Bytes, Error> {
        let request: GetRecords = call.decode()?;
        let mut checks = Checks::default();
        checks.present("shardIterator", request.shard_iterator.as_ref());
        if let Some(iterator) = &request.shard_iterator {
            checks.at_least("shardIterator", iterator.len(), 1);
            checks.at_most("shardIterator", iterator.len(), 512);
        }
        checks.between("limit", request.limit, 1, i64::MAX);
        checks.finish()?;
        let limit =
            request.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_RECORDS);
        if limit > MAX_RECORDS {
            return Err(Error::invalid(format!("Limit {limit} is greater than {MAX_RECORDS}.")));
        }
        let iterator = request.shard_iterator.as_deref().unwrap_or_default();
        let position = Position::unseal(self.sealer, now, iterator)?;
        if request.stream_arn.is_some() {
            let target = Target { stream_name: None, stream_arn: request.stream_arn.clone() };
            if self.named(&target)? != position.stream {
                return Err(Error::invalid(
                    "ShardIterator does not belong to the stream of StreamARN.",
                ));
            }
        }
        let page = self.page(now, position, limit)?;
        let Page { records, next_shard_iterator, millis_behind_latest, child_shards } = page;
        let tail = Tail { next_shard_iterator, millis_behind_latest, child_shards };
        Ok(call.protocol.encode_records(records, &tail))
    }

    fn page(&mut self, now: Time, position: Position, limit: usize) -> Result<Page<'_>, Error> {
        let Self { streams, account, limits, sealer, rng, .. } = self;
        let Position { stream: name, generation, shard: number, index } = position;
        let stream = target::serving(streams, &name, account)?;
        if stream.generation != generation {
            return Err(Error::invalid("Invalid ShardIterator."));
        }
        let shard = stream.shard(now, number).ok_or_else(|| no_shard(number, &name, account))?;
        if limits.reads
            && !(shard.rates.read_calls.has(now, 1) && shard.rates.read_bytes.has_any(now))
        {
            return Err(throttled(number, &name, account));
        }
        let limit = limit.min(MAX_RECORDS);
        let bytes = shard.page(index, limit, MAX_BYTES).bytes;
        if limits.reads {
            shard.rates.read_calls.take(now, 1);
            shard.rates.read_bytes.take(now, bytes as u64);
        }

        let stream: &Stream = stream;
        let shard = stream.shards().get(&number).ok_or_else(|| no_shard(number, &name, account))?;
        let slice = shard.page(index, limit, MAX_BYTES);
        let all_read = slice.unread.is_none();
        let millis_behind_latest = millis_behind(now, &slice, shard);
        // AWS ends a closed shard with its last records or with an empty page after them: both occur.
        let ended = shard.closed.is_some() && all_read && (slice.records.len() == 0 || rng.bool());
        let child = |number| stream.shards().get(number).map(ChildShard::of);
        let child_shards =
            if ended { shard.children.iter().filter_map(child).collect() } else { Vec::new() };
        let next = Position { stream: name, generation, shard: number, index: slice.next_index };
        let next_shard_iterator = (!ended).then(|| next.seal(*sealer, now));
        Ok(Page { records: slice.records, next_shard_iterator, millis_behind_latest, child_shards })
    }
}
