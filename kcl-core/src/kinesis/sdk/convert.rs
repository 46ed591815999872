//! From the SDK's types to ours, by moving.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::types::{self as sdk, HashKeyRange, StreamDescriptionSummary};
use bytes_utils::Str;

use super::super::{RecordsPage, ShardIterator};
use crate::{
    ChildShard, HashRange, InvalidHashRange, InvalidName, InvalidSequenceNumber, RawRecord,
    SequenceNumber, Shard, ShardId, StreamId, StreamName,
};

/// What makes a reply malformed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Sequence(#[from] InvalidSequenceNumber),
    #[error(transparent)]
    HashRange(#[from] InvalidHashRange),
    #[error("a field is missing: name={0}")]
    Missing(&'static str),
}

pub(super) fn page(output: GetRecordsOutput) -> Result<RecordsPage, Broken> {
    let behind = output.millis_behind_latest.unwrap_or_default();
    Ok(RecordsPage {
        // In the SDK's own allocation.
        records: output.records.into_iter().map(record).collect::<Result<_, _>>()?,
        next: output.next_shard_iterator.map(ShardIterator),
        behind: Duration::from_millis(u64::try_from(behind).unwrap_or_default()),
        children: output
            .child_shards
            .unwrap_or_default()
            .into_iter()
            .map(child)
            .collect::<Result<_, _>>()?,
    })
}

pub(super) fn shard(shard: sdk::Shard) -> Result<Shard, Broken> {
    let numbers = shard.sequence_number_range.ok_or(Broken::Missing("SequenceNumberRange"))?;
    Ok(Shard {
        id: ShardId::new(shard.shard_id)?,
        parents: [shard.parent_shard_id, shard.adjacent_parent_shard_id]
            .into_iter()
            .flatten()
            .map(ShardId::new)
            .collect::<Result<_, _>>()?,
        hash_range: hash_range(shard.hash_key_range)?,
        starting_sequence_number: SequenceNumber::new(numbers.starting_sequence_number)?,
        ending_sequence_number: numbers
            .ending_sequence_number
            .map(SequenceNumber::new)
            .transpose()?,
    })
}

pub(super) fn stream_id(summary: &StreamDescriptionSummary) -> Result<StreamId, Broken> {
    // arn:partition:kinesis:region:account:stream/name
    let account = summary.stream_arn.split(':').nth(4);
    Ok(StreamId::new(
        account.ok_or(Broken::Missing("StreamARN"))?,
        StreamName::new(&summary.stream_name)?,
        u64::try_from(summary.stream_creation_timestamp.secs()).unwrap_or_default(),
    )?)
}

pub(super) fn record(record: sdk::Record) -> Result<RawRecord, Broken> {
    Ok(RawRecord {
        sequence_number: SequenceNumber::new(record.sequence_number)?,
        partition_key: Str::from(record.partition_key.unwrap_or_default()),
        data: record.data.into_bytes(),
        approximate_arrival: record
            .approximate_arrival_timestamp
            .and_then(|time| SystemTime::try_from(time).ok())
            .unwrap_or(SystemTime::UNIX_EPOCH),
    })
}

pub(super) fn child(child: sdk::ChildShard) -> Result<ChildShard, Broken> {
    Ok(ChildShard {
        id: ShardId::new(child.shard_id)?,
        parents: child.parent_shards.into_iter().map(ShardId::new).collect::<Result<_, _>>()?,
        hash_range: hash_range(child.hash_key_range)?,
    })
}

fn hash_range(range: Option<HashKeyRange>) -> Result<HashRange, Broken> {
    let range = range.ok_or(Broken::Missing("HashKeyRange"))?;
    let (start, end) = (&range.starting_hash_key, &range.ending_hash_key);
    Ok(HashRange::parse(start, end)?)
}
