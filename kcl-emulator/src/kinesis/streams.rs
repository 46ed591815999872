//! Streams come, are listed, change their mode, and go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Kinesis;
use super::error::{Code, Error};
use super::stream::{Change, Mode, Status, Stream};
use super::tags;
use super::target::Target;
use super::time::Time;
use super::validate::Checks;
use crate::wire::Timestamp;

/// AWS's quota of shards in an account in its largest regions.
pub(super) const SHARD_LIMIT: usize = 20_000;
/// Open shards of a new on-demand stream.
const ON_DEMAND_SHARDS: u32 = 4;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateStream {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    stream_mode_details: Option<ModeDetails>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ModeDetails {
    pub(super) stream_mode: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteStream {
    #[serde(flatten)]
    target: Target,
    #[serde(rename = "EnforceConsumerDeletion", default)]
    enforce_consumer_deletion: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListStreams {
    limit: Option<i64>,
    exclusive_start_stream_name: Option<String>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamList {
    stream_names: Vec<String>,
    has_more_streams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    stream_summaries: Vec<StreamSummary>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamSummary {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: ModeDetails,
    stream_creation_timestamp: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateStreamMode {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_mode_details: Option<ModeDetails>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AccountLimits {
    shard_limit: usize,
    open_shard_count: usize,
    on_demand_stream_count: usize,
    on_demand_stream_count_limit: usize,
}

impl Kinesis {
    pub(super) fn create_stream(&mut self, now: Time, request: CreateStream) -> Result<(), Error> {
        let CreateStream { stream_name, shard_count, stream_mode_details, tags, max_record_size } =
            request;
        let mut checks = Checks::default();
        checks.present("streamName", stream_name.as_ref());
        checks.name("streamName", stream_name.as_deref());
        checks.between("shardCount", shard_count, 0, 1_000_000);
        checks.between("maxRecordSizeInKiB", max_record_size, 1024, 10_240);
        check_mode(&mut checks, stream_mode_details.as_ref());
        checks.finish()?;

        let mode = stream_mode_details.as_ref().map_or(Mode::Provisioned, ModeDetails::mode);
        let shards = match (mode, shard_count) {
            (Mode::Provisioned, Some(count)) if count > 0 => {
                u32::try_from(count).unwrap_or(u32::MAX)
            }
            (Mode::OnDemand, None) => ON_DEMAND_SHARDS,
            (Mode::Provisioned, None | Some(_)) => {
                return Err(Error::invalid(
                    "ShardCount must be provided for streams in PROVISIONED mode.",
                ));
            }
            (Mode::OnDemand, Some(_)) => {
                return Err(Error::invalid(
                    "ShardCount must not be provided for streams in ON_DEMAND mode.",
                ));
            }
        };
        let tags = tags.unwrap_or_default();
        tags::check(&tags, &BTreeMap::new())?;
        let name = stream_name.unwrap_or_default();
        if self.streams.contains_key(&name) {
            let text = format!("Stream {name} under account {} already exists.", self.account);
            return Err(Error::new(Code::ResourceInUse, text));
        }
        self.allow_shards(shards as usize)?;

        let arn = format!("arn:aws:kinesis:{}:{}:stream/{name}", self.region, self.account);
        self.generations += 1;
        let mut stream = Stream::new(name.clone(), arn, self.generations, now, mode);
        stream.tags = tags;
        if let Some(kib) = max_record_size.and_then(|kib| usize::try_from(kib).ok()) {
            stream.max_record = kib << 10;
        }
        self.streams.insert(name.clone(), stream);
        self.begin(now, &name, |until| Status::Creating { until, shards });
        Ok(())
    }

    pub(super) fn delete_stream(&mut self, now: Time, request: &DeleteStream) -> Result<(), Error> {
        let stream = self.existing(&request.target)?;
        let name = stream.name.clone();
        if request.enforce_consumer_deletion != Some(true) && !stream.consumers(now).is_empty() {
            let text = format!(
                "Stream {name} has registered consumers, and EnforceConsumerDeletion is not set."
            );
            return Err(Error::new(Code::ResourceInUse, text));
        }
        self.begin(now, &name, |until| Status::Deleting { until });
        Ok(())
    }

    pub(super) fn list_streams(&mut self, request: &ListStreams) -> Result<StreamList, Error> {
        let mut checks = Checks::default();
        checks.between("limit", request.limit, 1, 10_000);
        checks.name("exclusiveStartStreamName", request.exclusive_start_stream_name.as_deref());
        checks.finish()?;
        let after = match &request.next_token {
            None => request.exclusive_start_stream_name.clone(),
            Some(token) => match self.sealer.unseal::<0>(super::token::LIST_STREAMS, token) {
                Some((_, name)) => Some(name),
                None => return Err(Error::invalid("Invalid NextToken.")),
            },
        };
        let limit = request.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(100);
        let mut rest = self
            .streams
            .values()
            .skip_while(|stream| after.as_ref().is_some_and(|after| stream.name <= *after));
        let page: Vec<&Stream> = rest.by_ref().take(limit).collect();
        let has_more_streams = rest.next().is_some();
        let last = page.last().filter(|_| has_more_streams);
        Ok(StreamList {
            stream_names: page.iter().map(|stream| stream.name.clone()).collect(),
            has_more_streams,
            next_token: last
                .map(|stream| self.sealer.seal(super::token::LIST_STREAMS, [], &stream.name)),
            stream_summaries: page.iter().map(|stream| StreamSummary::of(stream)).collect(),
        })
    }

    pub(super) fn update_stream_mode(
        &mut self,
        now: Time,
        request: &UpdateStreamMode,
    ) -> Result<(), Error> {
        let mut checks = Checks::default();
        checks.present("streamARN", request.stream_arn.as_ref());
        checks.present("streamModeDetails", request.stream_mode_details.as_ref());
        check_mode(&mut checks, request.stream_mode_details.as_ref());
        checks.finish()?;
        let mode =
            request.stream_mode_details.as_ref().map_or(Mode::Provisioned, ModeDetails::mode);
        let target = Target { stream_name: None, stream_arn: request.stream_arn.clone() };
        let name = self.active(&target)?.name.clone();
        self.begin(now, &name, |until| Status::Updating { until, change: Change::Mode(mode) });
        Ok(())
    }

    pub(super) fn describe_limits(&self) -> AccountLimits {
        AccountLimits {
            shard_limit: SHARD_LIMIT,
            open_shard_count: self.shard_count(),
            on_demand_stream_count: self
                .streams
                .values()
                .filter(|stream| stream.mode == Mode::OnDemand)
                .count(),
            on_demand_stream_count_limit: 50,
        }
    }

    /// Refuses `more` shards beyond the account's quota.
    pub(super) fn allow_shards(&self, more: usize) -> Result<(), Error> {
        let present = self.shard_count();
        if present + more <= SHARD_LIMIT {
            return Ok(());
        }
        Err(Error::new(
            Code::LimitExceeded,
            format!(
                "This request would exceed the shard limit for the account {} in {}. Current shard count for the \
                 account: {present}. Limit: {SHARD_LIMIT}. Number of additional shards that would have resulted from \
                 this request: {more}.",
                self.account, self.region
            ),
        ))
    }

    fn shard_count(&self) -> usize {
        self.streams.values().map(|stream| stream.open_shards().len()).sum()
    }
}

impl StreamSummary {
    fn of(stream: &Stream) -> Self {
        Self {
            stream_name: stream.name.clone(),
            stream_arn: stream.arn.clone(),
            stream_status: stream.status.name(),
            stream_mode_details: ModeDetails::of(stream.mode),
            stream_creation_timestamp: Timestamp(stream.created.millis()),
        }
    }
}

impl ModeDetails {
    pub(super) fn of(mode: Mode) -> Self {
        Self { stream_mode: Some(mode.name().to_owned()) }
    }

    fn mode(&self) -> Mode {
        if self.stream_mode.as_deref() == Some(Mode::OnDemand.name()) {
            Mode::OnDemand
        } else {
            Mode::Provisioned
        }
    }
}

fn check_mode(checks: &mut Checks, details: Option<&ModeDetails>) {
    let Some(details) = details else { return };
    let modes = [Mode::Provisioned.name(), Mode::OnDemand.name()];
    checks.present("streamModeDetails.streamMode", details.stream_mode.as_ref());
    checks.one_of("streamModeDetails.streamMode", details.stream_mode.as_deref(), &modes);
}
