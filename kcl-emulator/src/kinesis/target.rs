//! Which stream and shard a request means.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Kinesis;
use super::error::{Code, Error};
use super::shard;
use super::stream::{Status, Stream};
use super::validate::Checks;

/// How every request names its stream: by name, by ARN, or by both if they agree.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Target {
    pub(super) stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: Option<String>,
}

impl Kinesis {
    /// The name of the stream that a request means.
    pub(super) fn named(&self, target: &Target) -> Result<String, Error> {
        let Target { stream_name, stream_arn } = target;
        let mut checks = Checks::default();
        checks.name("streamName", stream_name.as_deref());
        checks.check(stream_arn.as_deref().is_none_or(|arn| arn_parts(arn).is_some()), "streamARN", || {
            r"Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:stream/\S+".to_owned()
        });
        checks.finish()?;
        let Some((region, account, of_arn)) = stream_arn.as_deref().and_then(arn_parts) else {
            let either = || Error::invalid("Either StreamName or StreamARN must be provided.");
            return stream_name.clone().ok_or_else(either);
        };
        if stream_name.as_deref().is_some_and(|name| name != of_arn) {
            return Err(Error::invalid("StreamARN and StreamName must refer to the same stream."));
        }
        if (region, account) != (&self.region, &self.account) {
            return Err(no_stream(of_arn, account));
        }
        Ok(of_arn.to_owned())
    }

    /// A stream that exists, in whatever state.
    pub(super) fn existing(&mut self, target: &Target) -> Result<&mut Stream, Error> {
        let name = self.named(target)?;
        let Self { streams, account, .. } = self;
        streams.get_mut(&name).ok_or_else(|| no_stream(&name, account))
    }

    /// A stream that may change: it is active.
    pub(super) fn active(&mut self, target: &Target) -> Result<&mut Stream, Error> {
        let account = self.account.clone();
        let stream = self.existing(target)?;
        if stream.status == Status::Active {
            return Ok(stream);
        }
        let Stream { name, status, .. } = stream;
        Err(Error::new(
            Code::ResourceInUse,
            format!(
                "Stream {name} under account {account} not ACTIVE, instead in state {}",
                status.name()
            ),
        ))
    }
}

/// A stream that takes and gives records: it exists and is neither created nor deleted just now.
pub(super) fn serving<'a>(
    streams: &'a mut BTreeMap<String, Stream>,
    name: &str,
    account: &str,
) -> Result<&'a mut Stream, Error> {
    streams
        .get_mut(name)
        .filter(|stream| matches!(stream.status, Status::Active | Status::Updating { .. }))
        .ok_or_else(|| no_stream(name, account))
}

/// Reads a shard id that a request names.
pub(super) fn shard_number(id: &str, stream: &str, account: &str) -> Result<u32, Error> {
    shard::number(id).ok_or_else(|| {
        let text = format!("Could not find shard {id} in stream {stream} under account {account}.");
        Error::new(Code::ResourceNotFound, text)
    })
}

pub(super) fn no_shard(number: u32, stream: &str, account: &str) -> Error {
    let id = shard::id(number);
    Error::new(
        Code::ResourceNotFound,
        format!("Shard {id} in stream {stream} under account {account} does not exist"),
    )
}

pub(super) fn throttled(number: u32, stream: &str, account: &str) -> Error {
    let id = shard::id(number);
    let text = format!("Rate exceeded for shard {id} in stream {stream} under account {account}.");
    Error::new(Code::ProvisionedThroughputExceeded, text)
}

/// The ARN of the stream and the name of the consumer in a consumer's ARN.
pub(super) fn consumer_parts(arn: &str) -> Option<(&str, &str)> {
    let (stream, consumer) = arn.split_once("/consumer/")?;
    let (name, created) = consumer.rsplit_once(':')?;
    let is_number = !created.is_empty() && created.bytes().all(|b| b.is_ascii_digit());
    (arn_parts(stream).is_some() && !name.is_empty() && is_number).then_some((stream, name))
}

fn no_stream(name: &str, account: &str) -> Error {
    Error::new(Code::ResourceNotFound, format!("Stream {name} under account {account} not found."))
}

/// Region, account and name.
fn arn_parts(arn: &str) -> Option<(&str, &str, &str)> {
    let mut parts = arn.splitn(6, ':');
    let (head, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let name = resource.strip_prefix("stream/").filter(|name| !name.is_empty())?;
    (head == "arn" && partition.starts_with("aws") && service == "kinesis")
        .then_some((region, account, name))
}
