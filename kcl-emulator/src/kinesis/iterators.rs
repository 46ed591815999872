//! `GetShardIterator`: where to start reading a shard.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Kinesis;
use super::error::{Code, Error};
use super::sequence::SequenceNumber;
use super::shard::{self, Shard};
use super::target::{self, Target, no_shard, shard_number, throttled};
use super::time::Time;
use super::token;
use super::validate::Checks;
use crate::Protocol;
use crate::wire::Timestamp;

/// Where in a shard to start reading.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// The oldest record that is left.
    TrimHorizon,
    /// The next record to be put.
    Latest,
    /// This record, or the oldest that is left if it is gone.
    AtSequenceNumber(SequenceNumber),
    /// The record after this one.
    AfterSequenceNumber(SequenceNumber),
    /// The first record that arrived at this time or later.
    AtTimestamp(SystemTime),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetShardIterator {
    #[serde(flatten)]
    target: Target,
    shard_id: Option<String>,
    shard_iterator_type: Option<String>,
    starting_sequence_number: Option<String>,
    timestamp: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardIterator {
    shard_iterator: String,
}

/// What an iterator says: a place in a shard, and when it was made.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) stream: String,
    pub(super) generation: u64,
    pub(super) shard: u32,
    /// Indexes below this one are behind the reader.
    pub(super) index: u64,
}

impl Kinesis {
    /// `GetShardIterator` for the shard with the number at the end of `shard_id`.
    ///
    /// # Errors
    /// As AWS: an unknown stream or shard, a sequence number of another shard, a time in the future, or too many calls.
    pub fn shard_iterator(
        &mut self,
        now: SystemTime,
        stream: &str,
        shard_id: &str,
        start: &Start,
    ) -> Result<String, Error> {
        let now = Time::from(now);
        self.settle(now);
        let number = shard_number(shard_id, stream, &self.account)?;
        self.iterator(now, stream, number, |shard, account| {
            start.index(shard, now, stream, account)
        })
    }

    pub(super) fn get_shard_iterator(
        &mut self,
        now: Time,
        request: GetShardIterator,
    ) -> Result<ShardIterator, Error> {
        let GetShardIterator {
            target,
            shard_id,
            shard_iterator_type,
            starting_sequence_number,
            timestamp,
        } = request;
        let mut checks = Checks::default();
        checks.present("shardId", shard_id.as_ref());
        checks.name("shardId", shard_id.as_deref());
        checks.present("shardIteratorType", shard_iterator_type.as_ref());
        let (kind, number) = (shard_iterator_type.as_deref(), starting_sequence_number.as_deref());
        checks.start("shardIteratorType", kind, "startingSequenceNumber", number);
        checks.finish()?;
        let stream = self.named(&target)?;
        let shard = shard_number(&shard_id.unwrap_or_default(), &stream, &self.account)?;
        let kind = shard_iterator_type.unwrap_or_default();
        let shard_iterator = self.iterator(now, &stream, shard, |shard, account| {
            start_of(&kind, number, timestamp, shard, &stream, account)?
                .index(shard, now, &stream, account)
        })?;
        Ok(ShardIterator { shard_iterator })
    }

    /// Stream and shard id that a `GetRecords` reads, whatever the age of its iterator.
    pub(crate) fn source_of(&self, protocol: Protocol, body: &[u8]) -> Option<(String, String)> {
        let ShardIterator { shard_iterator } = protocol.decode(body).ok()?;
        let (numbers, stream): ([u64; 4], _) =
            self.sealer.unseal(token::ITERATOR, &shard_iterator)?;
        Some((stream, shard::id(u32::try_from(numbers[2]).ok()?)))
    }

    fn iterator(
        &mut self,
        now: Time,
        stream: &str,
        number: u32,
        index: impl FnOnce(&Shard, &str) -> Result<u64, Error>,
    ) -> Result<String, Error> {
        let Self { streams, account, limits, sealer, .. } = self;
        let stream = target::serving(streams, stream, account)?;
        let (generation, name) = (stream.generation, stream.name.clone());
        let shard = stream.shard(now, number).ok_or_else(|| no_shard(number, &name, account))?;
        let index = index(shard, account)?;
        if limits.iterators {
            if !shard.rates.iterators.has(now, 1) {
                return Err(throttled(number, &name, account));
            }
            shard.rates.iterators.take(now, 1);
        }
        Ok(Position { stream: name, generation, shard: number, index }.seal(*sealer, now))
    }
}

impl Start {
    pub(super) fn index(
        &self,
        shard: &Shard,
        now: Time,
        stream: &str,
        account: &str,
    ) -> Result<u64, Error> {
        match self {
            Self::TrimHorizon => Ok(0),
            Self::Latest => Ok(shard.tip()),
            Self::AtSequenceNumber(number) => {
                owned(*number, shard, stream, account).map(|number| number.index)
            }
            Self::AfterSequenceNumber(number) => {
                owned(*number, shard, stream, account).map(|number| number.index + 1)
            }
            Self::AtTimestamp(at) => {
                let at = Time::from(*at).millis();
                if at > now.millis() {
                    return Err(Error::invalid(format!(
                        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
                         timestampInMillis: {at}, currentTimestampInMillis: {}",
                        now.millis()
                    )));
                }
                Ok(shard.index_at(at))
            }
        }
    }
}

impl Position {
    pub(super) fn seal(&self, sealer: token::Sealer, now: Time) -> String {
        let numbers = [now.millis(), self.generation, u64::from(self.shard), self.index];
        sealer.seal(token::ITERATOR, numbers, &self.stream)
    }

    pub(super) fn unseal(sealer: token::Sealer, now: Time, iterator: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid("Invalid ShardIterator.");
        let ([made_at, generation, shard, index], stream) =
            sealer.unseal(token::ITERATOR, iterator).ok_or_else(invalid)?;
        let shard = u32::try_from(shard).map_err(|_| invalid())?;
        let age = now.millis().saturating_sub(made_at);
        if age > token::LIFE_MILLIS {
            return Err(Error::new(
                Code::ExpiredIterator,
                format!(
                    "Iterator expired. The iterator was created {age} milliseconds ago, which is more than the \
                     tolerated delay of {} milliseconds.",
                    token::LIFE_MILLIS
                ),
            ));
        }
        Ok(Self { stream, generation, shard, index })
    }
}

pub(super) fn start_of(
    kind: &str,
    number: Option<&str>,
    timestamp: Option<Timestamp>,
    shard: &Shard,
    stream: &str,
    account: &str,
) -> Result<Start, Error> {
    let parse = |text: &str| {
        SequenceNumber::parse(text).ok_or_else(|| foreign(text, shard, stream, account))
    };
    match (kind, number, timestamp) {
        ("TRIM_HORIZON", None, _) => Ok(Start::TrimHorizon),
        ("LATEST", None, _) => Ok(Start::Latest),
        ("AT_SEQUENCE_NUMBER", Some(text), _) => parse(text).map(Start::AtSequenceNumber),
        ("AFTER_SEQUENCE_NUMBER", Some(text), _) => parse(text).map(Start::AfterSequenceNumber),
        ("AT_TIMESTAMP", None, Some(at)) => {
            Ok(Start::AtTimestamp(SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(at.0)))
        }
        ("AT_TIMESTAMP", None, None) => Err(Error::invalid(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no \
             timestamp parameter.",
        )),
        (kind, number, _) => Err(Error::invalid(format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
             TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {}.",
            if number.is_some() {
                "also a StartingSequenceNumber"
            } else {
                "no StartingSequenceNumber"
            }
        ))),
    }
}

fn owned(
    number: SequenceNumber,
    shard: &Shard,
    stream: &str,
    account: &str,
) -> Result<SequenceNumber, Error> {
    if number.shard != shard.number {
        return Err(Error::invalid(format!(
            "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard with {}",
            shard::id(number.shard),
            shard::id(shard.number)
        )));
    }
    if number.created_secs != shard.created_secs() {
        return Err(foreign(&number.to_string(), shard, stream, account));
    }
    Ok(number)
}

fn foreign(text: &str, shard: &Shard, stream: &str, account: &str) -> Error {
    let id = shard::id(shard.number);
    Error::invalid(format!(
        "StartingSequenceNumber {text} used in GetShardIterator on shard {id} in stream {stream} under account \
         {account} is invalid because it did not come from this stream."
    ))
}
