//! `SubscribeToShard`: the request. What a subscription then sends is in [`super::subscription`].

use std::time::SystemTime;

use serde::Deserialize;

use super::consumer::{Busy, ConsumerStatus};
use super::consumers::no_consumer;
use super::error::{Code, Error};
use super::iterators::start_of;
use super::subscription::Subscription;
use super::target::{self, no_shard, shard_number};
use super::time::Time;
use super::validate::Checks;
use super::{Kinesis, Reply, SubscriptionId};
use crate::Protocol;
use crate::wire::Timestamp;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SubscribeToShard {
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    shard_id: Option<String>,
    starting_position: Option<StartingPosition>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartingPosition {
    r#type: Option<String>,
    sequence_number: Option<String>,
    timestamp: Option<Timestamp>,
}

impl Kinesis {
    /// `SubscribeToShard`: opens a subscription, whose events [`Kinesis::next_event`] gives.
    ///
    /// It takes the shard from another subscription of the same consumer that is five seconds old.
    ///
    /// # Errors
    /// As AWS, written in `protocol`: an unknown consumer or shard, a consumer that is not active, a bad position,
    /// another subscription that is younger, more than a call a second.
    pub fn subscribe(
        &mut self,
        protocol: Protocol,
        now: SystemTime,
        body: &[u8],
    ) -> Result<SubscriptionId, Reply> {
        let now = Time::from(now);
        self.settle(now);
        let request = protocol.decode(body);
        request
            .and_then(|request| self.open(protocol, now, request))
            .map_err(|error| Reply::refusal(protocol, &error))
    }

    fn open(
        &mut self,
        protocol: Protocol,
        now: Time,
        request: SubscribeToShard,
    ) -> Result<SubscriptionId, Error> {
        let SubscribeToShard { consumer_arn, shard_id, starting_position } = request;
        let mut checks = Checks::default();
        checks.present("consumerARN", consumer_arn.as_ref());
        checks.present("shardId", shard_id.as_ref());
        checks.name("shardId", shard_id.as_deref());
        checks.present("startingPosition", starting_position.as_ref());
        let position = starting_position.unwrap_or(StartingPosition {
            r#type: None,
            sequence_number: None,
            timestamp: None,
        });
        let kind = position.r#type.as_deref();
        let sequence_number = position.sequence_number.as_deref();
        checks.present("startingPosition.type", kind.as_ref());
        checks.start(
            "startingPosition.type",
            kind,
            "startingPosition.sequenceNumber",
            sequence_number,
        );
        checks.finish()?;
        let consumer_arn = consumer_arn.unwrap_or_default();
        let invalid = || Error::invalid("Invalid ConsumerARN.");
        let (stream_arn, name) = target::consumer_parts(&consumer_arn).ok_or_else(invalid)?;
        let stream_name = self.named(&target::Target {
            stream_arn: Some(stream_arn.to_owned()),
            stream_name: None,
        })?;
        let shard_id = shard_id.unwrap_or_default();

        let Self { streams, account, limits, rng, subscriptions, .. } = self;
        let stream = target::serving(streams, &stream_name, account)?;
        let generation = stream.generation;
        let consumer = stream.consumers(now).get(name).filter(|c| c.arn == consumer_arn);
        let status = consumer.map(|consumer| consumer.status(now));
        match status {
            Some(ConsumerStatus::Active) => {}
            Some(ConsumerStatus::Creating) => {
                let text = format!("Consumer {name} is not ACTIVE, instead in state CREATING.");
                return Err(Error::new(Code::ResourceInUse, text));
            }
            Some(ConsumerStatus::Deleting) | None => return Err(no_consumer(name, account)),
        }
        let number = shard_number(&shard_id, &stream_name, account)?;
        let shard =
            stream.shard(now, number).ok_or_else(|| no_shard(number, &stream_name, account))?;
        let index = start_of(
            kind.unwrap_or_default(),
            sequence_number,
            position.timestamp,
            shard,
            &stream_name,
            account,
        )?
        .index(shard, now, &stream_name, account)?;
        let id = subscriptions.next_id();
        let slot = stream.consumers(now).get_mut(name).map(|consumer| consumer.slot(number));
        let evicted = slot
            .map_or(Ok(None), |slot| slot.claim(now, id, limits.subscriptions))
            .map_err(|busy| refusal(busy, name, number))?;
        if let Some(evicted) = evicted {
            // AWS lets the earlier connection end, or fail: both occur.
            let error = rng.bool().then(|| refusal(Busy::Taken, name, number));
            subscriptions.evict(evicted, error);
        }
        if let Some(shard) = stream.shard(now, number) {
            shard.subscribers.push(id);
        }
        let stream = (stream_name, generation);
        let subscription = Subscription::new(protocol, now, stream, consumer_arn, number, index);
        Ok(SubscriptionId(subscriptions.insert(subscription)))
    }
}

fn refusal(busy: Busy, consumer: &str, shard: u32) -> Error {
    let id = super::shard::id(shard);
    match busy {
        Busy::Taken => Error::new(
            Code::ResourceInUse,
            format!("Another active subscription exists for consumer {consumer} and shard {id}."),
        ),
        Busy::TooFast => Error::new(
            Code::LimitExceeded,
            format!("Rate exceeded for consumer {consumer} and shard {id}."),
        ),
    }
}
