//! From an operation's name to its method.

use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::Kinesis;
use super::error::{Code, Error};
use super::time::Time;
use crate::Protocol;

/// A request's body and how it is written, which is also how it is answered.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) protocol: Protocol,
    pub(super) body: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn decode<T: serde::Deserialize<'a>>(self) -> Result<T, Error> {
        self.protocol.decode(self.body)
    }

    pub(super) fn encode<T: Serialize>(self, answer: &T) -> Bytes {
        self.protocol.encode(answer)
    }
}

impl Kinesis {
    pub(super) fn dispatch(
        &mut self,
        now: Time,
        operation: &str,
        body: Request<'_>,
    ) -> Result<Bytes, Error> {
        match operation {
            "AddTagsToStream" => self.tell(body, Self::add_tags_to_stream),
            "CreateStream" => self.tell(body, |this, request| this.create_stream(now, request)),
            "DecreaseStreamRetentionPeriod" => {
                self.tell(body, |this, request| this.decrease_retention(now, request))
            }
            "DeleteStream" => self.tell(body, |this, request| this.delete_stream(now, &request)),
            "DeregisterStreamConsumer" => {
                self.tell(body, |this, request| this.deregister_consumer(now, &request))
            }
            "DescribeLimits" => self.ask(body, |this, _: IgnoredAny| Ok(this.describe_limits())),
            "DescribeStream" => self.ask(body, |this, request| this.describe_stream(now, request)),
            "DescribeStreamConsumer" => {
                self.ask(body, |this, request| this.describe_consumer(now, &request))
            }
            "DescribeStreamSummary" => {
                self.ask(body, |this, request| this.describe_stream_summary(now, &request))
            }
            "GetRecords" => self.get_records_request(now, body),
            "GetShardIterator" => {
                self.ask(body, |this, request| this.get_shard_iterator(now, request))
            }
            "IncreaseStreamRetentionPeriod" => {
                self.tell(body, |this, request| this.increase_retention(now, request))
            }
            "ListShards" => self.ask(body, |this, request| this.list_shards(now, &request)),
            "ListStreamConsumers" => {
                self.ask(body, |this, request| this.list_consumers(now, request))
            }
            "ListStreams" => self.ask(body, |this, request| this.list_streams(&request)),
            "ListTagsForStream" => {
                self.ask(body, |this, request| this.list_tags_for_stream(&request))
            }
            "MergeShards" => self.tell(body, |this, request| this.merge_shards(now, request)),
            "PutRecord" => Ok(body.encode(&self.put_record(now, body.decode()?)?)),
            "PutRecords" => Ok(body.encode(&self.put_records_request(now, body.decode()?)?)),
            "RegisterStreamConsumer" => {
                self.ask(body, |this, request| this.register_consumer(now, request))
            }
            "RemoveTagsFromStream" => self.tell(body, Self::remove_tags_from_stream),
            "SplitShard" => self.tell(body, |this, request| this.split_shard(now, request)),
            "UpdateMaxRecordSize" => self.tell(body, Self::update_max_record_size),
            "UpdateShardCount" => {
                self.ask(body, |this, request| this.update_shard_count(now, &request))
            }
            "UpdateStreamMode" => {
                self.tell(body, |this, request| this.update_stream_mode(now, &request))
            }
            _ => Err(Error::new(Code::UnknownOperation, format!("Unknown operation {operation}"))),
        }
    }

    /// An operation with an answer.
    fn ask<R: DeserializeOwned, A: Serialize>(
        &mut self,
        body: Request<'_>,
        operation: impl FnOnce(&mut Self, R) -> Result<A, Error>,
    ) -> Result<Bytes, Error> {
        let request = body.decode()?;
        Ok(body.encode(&operation(self, request)?))
    }

    /// An operation whose answer is an empty body.
    fn tell<R: DeserializeOwned>(
        &mut self,
        body: Request<'_>,
        operation: impl FnOnce(&mut Self, R) -> Result<(), Error>,
    ) -> Result<Bytes, Error> {
        let request = body.decode()?;
        operation(self, request)?;
        Ok(Bytes::new())
    }
}

/// Every operation above.
#[cfg(test)]
pub(crate) const OPERATIONS: [&str; 25] = [
    "AddTagsToStream",
    "CreateStream",
    "DecreaseStreamRetentionPeriod",
    "DeleteStream",
    "DeregisterStreamConsumer",
    "DescribeLimits",
    "DescribeStream",
    "DescribeStreamConsumer",
    "DescribeStreamSummary",
    "GetRecords",
    "GetShardIterator",
    "IncreaseStreamRetentionPeriod",
    "ListShards",
    "ListStreamConsumers",
    "ListStreams",
    "ListTagsForStream",
    "MergeShards",
    "PutRecord",
    "PutRecords",
    "RegisterStreamConsumer",
    "RemoveTagsFromStream",
    "SplitShard",
    "UpdateMaxRecordSize",
    "UpdateShardCount",
    "UpdateStreamMode",
];
