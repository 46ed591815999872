//! Reading what others wrote. Everybody with access to the table can put anything there, so nothing is taken on trust:
//! what is not a sound lease is set aside, with a reason, and the rest of the table stays readable.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use kcl_core::leasing::PendingCheckpoint;
use kcl_core::{HashRange, Position, ShardId, StreamId, WorkerId};

use super::{
    APPLICATION_START, CHECKPOINT, CHECKPOINT_SUB, CHILDREN, COOPERATOR, COUNTER, ENTITY_TYPE,
    HANDOFF_TO, HAS_PROGRESSED, HASH_END, HASH_START, KEY, OWNER, OWNER_SWITCHES, PARENTS, PENDING,
    PENDING_STATE, PENDING_SUB, SHARD, STARTED_AT, STREAM, STREAM_ID,
};
use crate::{Lease, LeaseKey};

/// Java keeps numbers in an `i64`, and a write must still be able to add one.
const MAX_NUMBER: u64 = i64::MAX as u64 - 1;
/// A shard has at most two parents or children today; the rest is room for Kinesis to grow.
const MAX_RELATIVES: usize = 16;
/// The longest excerpt of a damaged value in a reason, and of its key.
const MAX_EXCERPT: usize = 64;
/// Longer than any lease key: account, stream, epoch and shard.
const MAX_KEY_EXCERPT: usize = 320;

/// What an item of the lease table is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Lease(Box<Lease>),
    /// Another kind of item: Java KCL 3.x keeps its leader lock, migration state and worker metrics in the same table.
    Foreign,
    /// A lease by its looks, but damaged. Both texts are short and without control characters.
    Unreadable {
        key: String,
        reason: String,
    },
}

/// Tells what an item is. Never panics.
pub(crate) fn decode(item: &HashMap<String, AttributeValue>) -> Item {
    let item = Attributes(item);
    let is_lease = item.get(ENTITY_TYPE).is_none_or(|kind| kind.as_s().is_ok_and(|s| s == "LEASE"));
    if !is_lease || item.get(COUNTER).is_none() {
        return Item::Foreign;
    }
    match item.lease() {
        Ok(lease) => Item::Lease(Box::new(lease)),
        Err(Damage(reason)) => Item::Unreadable {
            key: excerpt(item.text(KEY).ok().flatten().unwrap_or_default(), MAX_KEY_EXCERPT),
            reason,
        },
    }
}

/// Why an item is no sound lease.
struct Damage(String);

impl Damage {
    fn new(attribute: &str, problem: &str) -> Self {
        Self(format!("{attribute} {problem}"))
    }

    fn value(attribute: &str, expected: &str, value: &str) -> Self {
        Self(format!("{attribute} is not {expected}: {}", excerpt(value, MAX_EXCERPT)))
    }
}

struct Attributes<'a>(&'a HashMap<String, AttributeValue>);

impl<'a> Attributes<'a> {
    fn lease(&self) -> Result<Lease, Damage> {
        Ok(Lease {
            key: self.key()?,
            owner: self.worker(OWNER)?,
            counter: self.number(COUNTER)?,
            owner_switches: self.number(OWNER_SWITCHES)?,
            position: self
                .position(CHECKPOINT, CHECKPOINT_SUB)?
                .ok_or_else(|| Damage::new(CHECKPOINT, "is missing"))?,
            pending: self.pending()?,
            parents: self.shards(PARENTS)?,
            children: self.shards(CHILDREN)?,
            hash_range: self.hash_range()?,
            started_at: self.time(STARTED_AT)?,
            application_start: self.time(APPLICATION_START)?,
            has_progressed: self.flag(HAS_PROGRESSED)?,
            stream: self.stream()?,
            // A request is a courtesy: one that cannot be read must not cost the lease.
            cooperator: self.worker(COOPERATOR).unwrap_or_default(),
            handoff_to: self.worker(HANDOFF_TO).unwrap_or_default(),
        })
    }

    fn get(&self, name: &str) -> Option<&'a AttributeValue> {
        self.0.get(name)
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, Damage> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let text = value.as_s().map_err(|_| Damage::new(name, "is not a string"))?;
        Ok(Some(text))
    }

    /// A missing number is 0, as in Java.
    fn number(&self, name: &str) -> Result<u64, Damage> {
        let Some(value) = self.get(name) else {
            return Ok(0);
        };
        let digits = value.as_n().map_err(|_| Damage::new(name, "is not a number"))?;
        let number = digits.parse().ok().filter(|number| *number <= MAX_NUMBER);
        number.ok_or_else(|| Damage::value(name, "a whole number of 63 bits", digits))
    }

    fn key(&self) -> Result<LeaseKey, Damage> {
        let text = self.text(KEY)?.unwrap_or_default();
        let key = LeaseKey::parse(text).ok_or_else(|| Damage::value(KEY, "a lease key", text))?;
        if let Some(stream) = key.stream() {
            // A lease whose attributes and key name different streams must not lend its checkpoint to either.
            for (name, expected) in [(STREAM, stream.to_string()), (SHARD, key.shard().to_string())]
            {
                if let Some(value) = self.text(name)?
                    && value != expected
                {
                    return Err(Damage::value(name, "the one in its key", value));
                }
            }
        }
        Ok(key)
    }

    fn stream(&self) -> Result<Option<StreamId>, Damage> {
        let Some(text) = self.text(STREAM_ID)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| Damage::value(STREAM_ID, "a stream identifier", text))
    }

    fn worker(&self, name: &str) -> Result<Option<WorkerId>, Damage> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        WorkerId::new(text).map(Some).map_err(|_| Damage::value(name, "a worker id", text))
    }

    fn position(&self, name: &str, sub: &str) -> Result<Option<Position>, Damage> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        Ok(Some(match text {
            "AT_TIMESTAMP" => Position::AtTimestamp,
            "TRIM_HORIZON" => Position::TrimHorizon,
            "LATEST" => Position::Latest,
            "SHARD_END" => Position::ShardEnd,
            digits => {
                let number = digits
                    .parse()
                    .map_err(|_| Damage::value(name, "a sequence number or sentinel", digits))?;
                Position::at(number, self.number(sub)?)
            }
        }))
    }

    fn pending(&self) -> Result<Option<PendingCheckpoint>, Damage> {
        let Some(position) = self.position(PENDING, PENDING_SUB)? else {
            return Ok(None);
        };
        let state = match self.get(PENDING_STATE) {
            Some(AttributeValue::B(state)) => Some(Bytes::copy_from_slice(state.as_ref())),
            // Java writes a number in the place of the state when it creates a lease (kcl-java: `toDynamoRecord`).
            None | Some(AttributeValue::N(_)) => None,
            Some(_) => return Err(Damage::new(PENDING_STATE, "is not binary")),
        };
        Ok(Some(PendingCheckpoint { position, state }))
    }

    fn shards(&self, name: &str) -> Result<BTreeSet<ShardId>, Damage> {
        let Some(value) = self.get(name) else {
            return Ok(BTreeSet::new());
        };
        let ids = value.as_ss().map_err(|_| Damage::new(name, "is not a string set"))?;
        if ids.len() > MAX_RELATIVES {
            return Err(Damage(format!("{name} has too many members: {}", ids.len())));
        }
        let shard =
            |id: &String| ShardId::new(id).map_err(|_| Damage::value(name, "shard ids", id));
        ids.iter().map(shard).collect()
    }

    /// As in Java, a lease with only one bound has no range.
    fn hash_range(&self) -> Result<Option<HashRange>, Damage> {
        let (Some(start), Some(end)) = (self.text(HASH_START)?, self.text(HASH_END)?) else {
            return Ok(None);
        };
        HashRange::parse(start, end)
            .map(Some)
            .map_err(|_| Damage::value(HASH_START, "the start of a hash key range", start))
    }

    fn flag(&self, name: &str) -> Result<bool, Damage> {
        let Some(value) = self.get(name) else {
            return Ok(false);
        };
        value.as_bool().copied().map_err(|_| Damage::new(name, "is not a boolean"))
    }

    fn time(&self, name: &str) -> Result<Option<SystemTime>, Damage> {
        if self.get(name).is_none() {
            return Ok(None);
        }
        let since_epoch = Duration::from_millis(self.number(name)?);
        UNIX_EPOCH
            .checked_add(since_epoch)
            .map(Some)
            .ok_or_else(|| Damage::new(name, "is not a time"))
    }
}

/// The beginning of a hostile text, fit for a log line.
fn excerpt(text: &str, limit: usize) -> String {
    text.chars().flat_map(char::escape_debug).take(limit).collect()
}
