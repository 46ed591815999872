//! The port over `aws_sdk_kinesis`.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{
    ShardFilter as SdkFilter, ShardFilterType, ShardIteratorType as IteratorType,
};
use aws_types::SdkConfig;

use super::{ApiError, ApiErrorKind, KinesisApi, RecordsPage, ShardFilter, ShardIterator};
use crate::{Shard, ShardId, StartingPosition, Stream, StreamAddress};

mod convert;
mod error;
pub mod seam;

use error::{failed, malformed};

/// How often a listing whose paging token expired is begun again.
const LISTINGS: u32 = 3;

/// [`KinesisApi`] over a client of the AWS SDK.
///
/// GetShardIterator and GetRecords are tried once: their callers pace and back off, and a hidden second request would
/// break the pace. DescribeStreamSummary and ListShards keep the client's retries. Every try ends after 30 s, unless the
/// client brings an attempt timeout.
///
/// Payloads and keys are moved out of the SDK's types, not copied. A record without an arrival time, which AWS calls
/// optional, gets the Unix epoch; one without a partition key, as streams that spread records by themselves return, an
/// empty key.
#[derive(Clone)]
pub struct SdkKinesis {
    /// With the user's retries.
    control: Client,
    /// Without.
    reads: Client,
}

impl SdkKinesis {
    /// An adapter over a client made from `config`: its region, credentials, endpoint, HTTP client and retries.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self::from_client(Client::new(config))
    }

    /// An adapter over a client that is configured already.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a client is handed over, as everywhere")]
    pub fn from_client(client: Client) -> Self {
        let seam::Clients { control, reads } = seam::clients(&client);
        Self { control, reads }
    }

    /// Every page, or the first error.
    async fn list_once(
        &self,
        stream: &Stream,
        filter: ShardFilter,
    ) -> Result<Vec<Shard>, ApiError> {
        const OPERATION: &str = "ListShards";
        let (name, arn) = parts(&stream.address);
        let mut request = self
            .control
            .list_shards()
            .set_stream_name(name)
            .set_stream_arn(arn)
            .set_shard_filter(sdk_filter(filter));
        // By id, because an id can come on two pages when the stream is resharded in between.
        let mut shards = BTreeMap::new();
        loop {
            let page = request.send().await.map_err(|error| failed(OPERATION, &error))?;
            for shard in page.shards.unwrap_or_default() {
                let shard = convert::shard(shard).map_err(|error| malformed(OPERATION, error))?;
                shards.insert(shard.id.clone(), shard);
            }
            let Some(token) = page.next_token else {
                return Ok(shards.into_values().collect());
            };
            // A token stands for stream and filter; AWS refuses the name beside it.
            request = self.control.list_shards().next_token(token);
        }
    }
}

impl fmt::Debug for SdkKinesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdkKinesis").finish_non_exhaustive()
    }
}

#[async_trait]
impl KinesisApi for SdkKinesis {
    async fn describe_stream(&self, address: &StreamAddress) -> Result<Stream, ApiError> {
        const OPERATION: &str = "DescribeStreamSummary";
        let (name, arn) = parts(address);
        let output = self
            .control
            .describe_stream_summary()
            .set_stream_name(name)
            .set_stream_arn(arn)
            .send()
            .await
            .map_err(|error| failed(OPERATION, &error))?;
        let summary = output
            .stream_description_summary
            .ok_or_else(|| malformed(OPERATION, "a reply without a description"))?;
        let id = convert::stream_id(&summary).map_err(|error| malformed(OPERATION, error))?;
        let address = address.clone();
        Ok(Stream { id, address })
    }

    async fn list_shards(
        &self,
        stream: &Stream,
        filter: ShardFilter,
    ) -> Result<Vec<Shard>, ApiError> {
        let mut listings = 1;
        loop {
            match self.list_once(stream, filter).await {
                Err(error) if error.kind() == ApiErrorKind::ExpiredToken && listings < LISTINGS => {
                    listings += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn shard_iterator(
        &self,
        stream: &Stream,
        shard: &ShardId,
        from: &StartingPosition,
    ) -> Result<ShardIterator, ApiError> {
        const OPERATION: &str = "GetShardIterator";
        let (name, arn) = parts(&stream.address);
        let request = self
            .reads
            .get_shard_iterator()
            .set_stream_name(name)
            .set_stream_arn(arn)
            .shard_id(shard.as_str());
        let request = match from {
            StartingPosition::TrimHorizon => request.shard_iterator_type(IteratorType::TrimHorizon),
            StartingPosition::Latest => request.shard_iterator_type(IteratorType::Latest),
            StartingPosition::AtTimestamp(time) => request
                .shard_iterator_type(IteratorType::AtTimestamp)
                .timestamp(DateTime::from(*time)),
            StartingPosition::AtSequenceNumber(number) => request
                .shard_iterator_type(IteratorType::AtSequenceNumber)
                .starting_sequence_number(number.as_str()),
            StartingPosition::AfterSequenceNumber(number) => request
                .shard_iterator_type(IteratorType::AfterSequenceNumber)
                .starting_sequence_number(number.as_str()),
        };
        let output = request.send().await.map_err(|error| failed(OPERATION, &error))?;
        output
            .shard_iterator
            .map(ShardIterator)
            .ok_or_else(|| malformed(OPERATION, "a reply without an iterator"))
    }

    async fn get_records(
        &self,
        stream: &Stream,
        iterator: &ShardIterator,
        limit: u32,
    ) -> Result<RecordsPage, ApiError> {
        const OPERATION: &str = "GetRecords";
        let (_, arn) = parts(&stream.address);
        let output = self
            .reads
            .get_records()
            .shard_iterator(&iterator.0)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_stream_arn(arn)
            .send()
            .await
            .map_err(|error| failed(OPERATION, &error))?;
        convert::page(output).map_err(|error| malformed(OPERATION, error))
    }
}

/// Name and ARN, of which AWS wants exactly one.
fn parts(address: &StreamAddress) -> (Option<String>, Option<String>) {
    match address {
        StreamAddress::Name(name) => (Some(name.as_str().to_owned()), None),
        StreamAddress::Arn(arn) => (None, Some(arn.to_string())),
    }
}

fn sdk_filter(filter: ShardFilter) -> Option<SdkFilter> {
    let (kind, time) = match filter {
        // Without a filter AWS lists open and closed shards alike.
        ShardFilter::All => return None,
        ShardFilter::AtTrimHorizon => (ShardFilterType::AtTrimHorizon, None),
        ShardFilter::AtLatest => (ShardFilterType::AtLatest, None),
        ShardFilter::AtTimestamp(time) => (ShardFilterType::AtTimestamp, Some(time)),
    };
    SdkFilter::builder().r#type(kind).set_timestamp(time.map(DateTime::from)).build().ok()
}
