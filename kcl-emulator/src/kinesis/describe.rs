//! `DescribeStream` and `DescribeStreamSummary`.

use serde::{Deserialize, Serialize};

use super::Kinesis;
use super::error::Error;
use super::shard::{self, Parents, Shard};
use super::stream::Stream;
use super::streams::ModeDetails;
use super::target::{Target, shard_number};
use super::time::Time;
use super::validate::Checks;
use crate::wire::Timestamp;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeStream {
    #[serde(flatten)]
    target: Target,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    stream_description: Description,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(flatten)]
    common: Common,
    shards: Vec<ShardView>,
    has_more_shards: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct DescribeStreamSummary {
    #[serde(flatten)]
    target: Target,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Summarised {
    stream_description_summary: Summary,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    #[serde(flatten)]
    common: Common,
    open_shard_count: usize,
    consumer_count: usize,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Common {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: ModeDetails,
    retention_period_hours: u32,
    stream_creation_timestamp: Timestamp,
    enhanced_monitoring: [Monitoring; 1],
    encryption_type: &'static str,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    shard_level_metrics: [&'static str; 0],
}

/// A shard as `DescribeStream` and `ListShards` show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardView {
    shard_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

/// A range in the decimal form of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    starting_sequence_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<String>,
}

impl Kinesis {
    pub(super) fn describe_stream(
        &mut self,
        now: Time,
        request: DescribeStream,
    ) -> Result<Described, Error> {
        let DescribeStream { target, limit, exclusive_start_shard_id } = request;
        let mut checks = Checks::default();
        checks.between("limit", limit, 1, 10_000);
        checks.name("exclusiveStartShardId", exclusive_start_shard_id.as_deref());
        checks.finish()?;
        let account = self.account.clone();
        let stream = self.existing(&target)?;
        let after = match exclusive_start_shard_id {
            Some(id) => shard_number(&id, &stream.name, &account)? + 1,
            None => 0,
        };
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(100);
        stream.prune(now);
        let mut rest = stream.shards().range(after..).map(|(_, shard)| ShardView::of(shard));
        let shards = rest.by_ref().take(limit).collect();
        let has_more_shards = rest.next().is_some();
        drop(rest);
        Ok(Described {
            stream_description: Description { common: Common::of(stream), shards, has_more_shards },
        })
    }

    pub(super) fn describe_stream_summary(
        &mut self,
        now: Time,
        request: &DescribeStreamSummary,
    ) -> Result<Summarised, Error> {
        let stream = self.existing(&request.target)?;
        let consumer_count = stream.consumers(now).len();
        Ok(Summarised {
            stream_description_summary: Summary {
                common: Common::of(stream),
                open_shard_count: stream.open_shards().len(),
                consumer_count,
                max_record_size: stream.max_record >> 10,
            },
        })
    }
}

impl Common {
    fn of(stream: &Stream) -> Self {
        Self {
            stream_name: stream.name.clone(),
            stream_arn: stream.arn.clone(),
            stream_status: stream.status.name(),
            stream_mode_details: ModeDetails::of(stream.mode),
            retention_period_hours: stream.retention_hours,
            stream_creation_timestamp: Timestamp(stream.created.millis()),
            enhanced_monitoring: [Monitoring::default()],
            encryption_type: "NONE",
        }
    }
}

impl ShardView {
    pub(super) fn of(shard: &Shard) -> Self {
        let (parent, adjacent) = match shard.parents {
            Parents::None => (None, None),
            Parents::Split(parent) => (Some(parent), None),
            Parents::Merged(parent, adjacent) => (Some(parent), Some(adjacent)),
        };
        Self {
            shard_id: shard::id(shard.number),
            parent_shard_id: parent.map(shard::id),
            adjacent_parent_shard_id: adjacent.map(shard::id),
            hash_key_range: HashKeyRange::of(shard),
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: shard.starting().to_string(),
                ending_sequence_number: shard.closed.map(|closed| closed.ending.to_string()),
            },
        }
    }
}

impl HashKeyRange {
    pub(super) fn of(shard: &Shard) -> Self {
        Self {
            starting_hash_key: shard.range.start.to_string(),
            ending_hash_key: shard.range.end.to_string(),
        }
    }
}
