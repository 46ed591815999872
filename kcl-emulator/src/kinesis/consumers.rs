//! `RegisterStreamConsumer`, `DescribeStreamConsumer`, `ListStreamConsumers`, `DeregisterStreamConsumer`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Kinesis;
use super::bucket::Bucket;
use super::consumer::{Consumer, ConsumerStatus};
use super::error::{Code, Error};
use super::stream::Stream;
use super::tags;
use super::target::{self, Target};
use super::time::Time;
use super::token;
use super::validate::Checks;
use crate::wire::Timestamp;

/// Consumers of a stream in the modes that the emulator has.
const MAX_CONSUMERS: usize = 20;
const MAX_CREATING: usize = 5;
const DEFAULT_PAGE: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Register {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Registered {
    consumer: View,
}

/// How a request names a consumer: by its ARN, or by its name and the stream's ARN, or by all if they agree.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Named {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    consumer_description: Description,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(flatten)]
    view: View,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct View {
    consumer_name: String,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: String,
    consumer_status: &'static str,
    consumer_creation_timestamp: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    stream_creation_timestamp: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    consumers: Vec<View>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// What AWS allows one stream per second.
#[derive(Debug)]
pub(super) struct ConsumerRates {
    register: Bucket,
    deregister: Bucket,
    describe: Bucket,
    list: Bucket,
}

impl Default for ConsumerRates {
    fn default() -> Self {
        Self {
            register: Bucket::full(5),
            deregister: Bucket::full(5),
            describe: Bucket::full(20),
            list: Bucket::full(5),
        }
    }
}

impl Kinesis {
    pub(super) fn register_consumer(
        &mut self,
        now: Time,
        request: Register,
    ) -> Result<Registered, Error> {
        let Register { stream_arn, consumer_name, tags } = request;
        let mut checks = Checks::default();
        checks.present("streamARN", stream_arn.as_ref());
        checks.present("consumerName", consumer_name.as_ref());
        checks.name("consumerName", consumer_name.as_deref());
        checks.finish()?;
        tags::check(&tags.unwrap_or_default(), &BTreeMap::new())?;
        let (limits, transition) = (self.limits, self.consumer_transition);
        let stream = self.active(&Target { stream_name: None, stream_arn })?;
        if limits.consumers {
            call(&mut stream.consumer_rates.register, now)?;
        }
        let name = consumer_name.unwrap_or_default();
        let consumers = stream.consumers(now);
        if consumers.contains_key(&name) {
            let text = format!("Consumer {name} of this stream already exists.");
            return Err(Error::new(Code::ResourceInUse, text));
        }
        let creating = |consumer: &&Consumer| consumer.status(now) == ConsumerStatus::Creating;
        if consumers.len() >= MAX_CONSUMERS
            || consumers.values().filter(creating).count() >= MAX_CREATING
        {
            let text = format!(
                "A stream has at most {MAX_CONSUMERS} consumers, {MAX_CREATING} of them in state CREATING."
            );
            return Err(Error::new(Code::LimitExceeded, text));
        }
        let arn = format!("{}/consumer/{name}:{}", stream.arn, now.secs());
        let consumer = Consumer::new(name.clone(), arn, now, transition);
        // The reply tells the state in which a consumer is born, however short that is.
        let view = View { consumer_status: "CREATING", ..View::of(&consumer, now) };
        stream.consumers(now).insert(name, consumer);
        Ok(Registered { consumer: view })
    }

    pub(super) fn describe_consumer(
        &mut self,
        now: Time,
        request: &Named,
    ) -> Result<Described, Error> {
        let limits = self.limits;
        let (stream, name) = self.named_consumer(now, request)?;
        if limits.consumers {
            call(&mut stream.consumer_rates.describe, now)?;
        }
        let stream_arn = stream.arn.clone();
        let view = View::of(&stream.consumers(now)[&name], now);
        Ok(Described { consumer_description: Description { view, stream_arn } })
    }

    pub(super) fn deregister_consumer(&mut self, now: Time, request: &Named) -> Result<(), Error> {
        let (limits, transition) = (self.limits, self.consumer_transition);
        let (stream, name) = self.named_consumer(now, request)?;
        if limits.consumers {
            call(&mut stream.consumer_rates.deregister, now)?;
        }
        let consumer = stream.consumers(now).get_mut(&name);
        let ended = consumer.map(|consumer| consumer.deregister(now, transition));
        self.subscriptions.wake(ended.unwrap_or_default());
        Ok(())
    }

    pub(super) fn list_consumers(&mut self, now: Time, request: List) -> Result<Listed, Error> {
        let List { stream_arn, next_token, max_results, stream_creation_timestamp } = request;
        let mut checks = Checks::default();
        checks.present("streamARN", stream_arn.as_ref());
        checks.between("maxResults", max_results, 1, 10_000);
        checks.finish()?;
        let limits = self.limits;
        let sealer = self.sealer;
        let account = self.account.clone();
        let stream = self.existing(&Target { stream_name: None, stream_arn })?;
        if limits.consumers {
            call(&mut stream.consumer_rates.list, now)?;
        }
        if stream_creation_timestamp.is_some_and(|at| at.0 / 1000 != stream.created.secs()) {
            let text = format!("Stream {} under account {account} not found.", stream.name);
            return Err(Error::new(Code::ResourceNotFound, text));
        }
        let invalid = || Error::invalid("Invalid NextToken.");
        let after = match next_token {
            None => String::new(),
            Some(_) if stream_creation_timestamp.is_some() => {
                let text = "NextToken and StreamCreationTimestamp cannot be provided together.";
                return Err(Error::invalid(text));
            }
            Some(token) => {
                let ([made_at, generation], after) =
                    sealer.unseal(token::LIST_CONSUMERS, &token).ok_or_else(invalid)?;
                if generation != stream.generation {
                    return Err(invalid());
                }
                if now.millis().saturating_sub(made_at) > token::LIFE_MILLIS {
                    return Err(Error::new(Code::ExpiredNextToken, "The NextToken has expired."));
                }
                after
            }
        };
        let generation = stream.generation;
        let limit = max_results.and_then(|max| usize::try_from(max).ok()).unwrap_or(DEFAULT_PAGE);
        let mut rest = stream.consumers(now).values().filter(|consumer| consumer.name > after);
        let consumers: Vec<View> =
            rest.by_ref().take(limit).map(|consumer| View::of(consumer, now)).collect();
        let more = rest.next().is_some();
        let last = consumers.last().filter(|_| more);
        let next_token = last.map(|view| {
            sealer.seal(token::LIST_CONSUMERS, [now.millis(), generation], &view.consumer_name)
        });
        Ok(Listed { consumers, next_token })
    }

    /// The stream of a consumer that exists, and the consumer's name.
    fn named_consumer(
        &mut self,
        now: Time,
        request: &Named,
    ) -> Result<(&mut Stream, String), Error> {
        let Named { stream_arn, consumer_name, consumer_arn } = request;
        let mut checks = Checks::default();
        checks.name("consumerName", consumer_name.as_deref());
        checks.finish()?;
        let by_name = stream_arn.is_some() && consumer_name.is_some();
        if !by_name && (consumer_arn.is_none() || stream_arn.is_some() || consumer_name.is_some()) {
            return Err(Error::invalid(
                "Either ConsumerARN or both StreamARN and ConsumerName must be provided.",
            ));
        }
        let (stream_arn, name) = match consumer_arn.as_deref().map(target::consumer_parts) {
            None => (stream_arn.clone(), consumer_name.clone().unwrap_or_default()),
            Some(Some((of_stream, name)))
                if stream_arn.as_deref().is_none_or(|arn| arn == of_stream)
                    && consumer_name.as_deref().is_none_or(|given| given == name) =>
            {
                (Some(of_stream.to_owned()), name.to_owned())
            }
            Some(_) => return Err(Error::invalid("Invalid ConsumerARN.")),
        };
        let account = self.account.clone();
        let stream = self.existing(&Target { stream_name: None, stream_arn })?;
        let fits =
            |consumer: &Consumer| consumer_arn.as_deref().is_none_or(|arn| arn == consumer.arn);
        if !stream.consumers(now).get(&name).is_some_and(fits) {
            return Err(no_consumer(&name, &account));
        }
        Ok((stream, name))
    }
}

impl View {
    fn of(consumer: &Consumer, now: Time) -> Self {
        Self {
            consumer_name: consumer.name.clone(),
            consumer_arn: consumer.arn.clone(),
            consumer_status: consumer.status(now).name(),
            consumer_creation_timestamp: Timestamp(consumer.created.millis()),
        }
    }
}

pub(super) fn no_consumer(name: &str, account: &str) -> Error {
    Error::new(Code::ResourceNotFound, format!("Consumer {name}, account {account} not found."))
}

fn call(bucket: &mut Bucket, now: Time) -> Result<(), Error> {
    if !bucket.has(now, 1) {
        return Err(Error::new(Code::LimitExceeded, "Rate exceeded for consumers of this stream."));
    }
    bucket.take(now, 1);
    Ok(())
}
