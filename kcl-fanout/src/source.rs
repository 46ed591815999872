//! What a program builds.

use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_types::SdkConfig;
use kcl_core::StreamAddress;
use kcl_core::kinesis::{ApiError, ApiErrorKind, KinesisApi, SdkKinesis, seam};
use kcl_core::retrieval::{Lookups, OpenShard, Polling, RecordSource, ShardReader};

use crate::choice::Rules;
use crate::connections::{Connections, Make, SHARDS_EACH};
use crate::reader::Reader;
use crate::registry::{Asker, Choice, NoConsumer, Registry};
use crate::switch::{Switch, Ways};

/// The start of a fan-out source: it needs a consumer.
#[derive(Debug, Clone)]
#[must_use]
pub struct FanOut {
    make: Make,
    shards_each: usize,
}

/// Enhanced fan-out with `SubscribeToShard`: 2 MiB a second of each shard for this consumer alone, pushed as it comes.
///
/// A reader has one subscription at a time. It lives for five minutes; then the reader subscribes again after the last number
/// that it was told, without a gap or a repeat.
///
/// # What a reader survives, and how
///
/// - A subscription that breaks, or falls silent for 10 s: a new one after the last event that was returned. AWS refuses one
///   within five seconds of the last, so there may be a pause of so long.
/// - Another subscription of the same consumer, such as that of a worker which has lost the shard's lease and does not know it:
///   a refused one is tried again each second, later every 3 s at most; after it was evicted it waits 2.5 to 5 s, twice as long each time until there
///   is peace for a minute, up to 40 s.
/// - A processor that takes no events for 10 s, or a budget without room for so long: the subscription is given up, so that
///   it does not hold up the connection's other shards, and taken up again after what was returned.
/// - A consumer that was deregistered: one by name is registered again; for one by ARN it keeps trying, with a warning.
/// - An emulator that breaks the connection where a closed shard ends, three times in a row: what is left is polled.
/// - Positions that are too old, missing shards and streams, claims of an end: as [`Polling`](kcl_core::retrieval::Polling)
///   does. What is not found or denied is never a shard's end.
///
/// # Permissions
///
/// `SubscribeToShard` on the consumer, `DescribeStreamSummary` and `ListShards` on the stream; for a consumer by name also
/// `DescribeStreamConsumer`, and `RegisterStreamConsumer` if it is not there yet.
#[derive(Debug, Clone)]
#[must_use]
pub struct FanOutSource {
    api: Arc<dyn KinesisApi>,
    registry: Arc<Registry>,
    connections: Arc<Connections>,
    lookups: Arc<Lookups>,
}

impl FanOut {
    /// Fan-out with clients made from `config`. On AWS they must speak HTTP/2, as the default of `aws-config` does.
    pub fn new(config: &SdkConfig) -> Self {
        Self::from_client(Client::new(config))
    }

    /// Fan-out with a client that is configured already, and more like it.
    pub fn from_client(client: Client) -> Self {
        Self::from_clients(move || client.clone())
    }

    /// Fan-out with a client of `make` for each [hundred shards](Self::shards_per_connection), made when they are read, and one
    /// for all other calls.
    ///
    /// This is for a configuration that has an HTTP client of its own: clients that share one share its connection, so `make`
    /// gives each client another (`aws_smithy_http_client::Builder`). Clients without one are given their own by the SDK, and
    /// [`new`](Self::new) and [`from_client`](Self::from_client) do.
    pub fn from_clients(make: impl Fn() -> Client + Send + Sync + 'static) -> Self {
        Self { make: Make::new(make), shards_each: SHARDS_EACH }
    }

    /// How many shards are read over one HTTP/2 connection; at least one. Default 100.
    ///
    /// A connection carries so many streams at once as the server allows. What is beyond waits without a word, until a reader
    /// has had no answer for 10 s and has a new connection made. Shards on one connection also share its window: with
    /// fewer on each they wait less for one another.
    pub fn shards_per_connection(mut self, shards: usize) -> Self {
        self.shards_each = shards.max(1);
        self
    }

    /// Reads as the consumer of this name: 1 to 128 characters of `a-z`, `A-Z`, `0-9`, `_`, `.`, `-`. It is found, or
    /// registered, for each stream at its first read; all workers of an application share it, and no two applications may.
    ///
    /// It stays registered, and AWS bills it by the hour, until [`FanOutSource::deregister`].
    pub fn consumer(self, name: impl AsRef<str>) -> FanOutSource {
        self.source(Choice::Name(name.as_ref().into()))
    }

    /// Reads as a consumer that is registered already; nothing is described or registered. A worker that reads several
    /// streams needs [one for each](Self::consumer_arns).
    pub fn consumer_arn(self, arn: impl AsRef<str>) -> FanOutSource {
        self.consumer_arns([arn])
    }

    /// Reads as consumers that are registered already, one for each stream. A shard of a stream without one cannot be read, and
    /// is halted.
    pub fn consumer_arns<A: AsRef<str>>(self, arns: impl IntoIterator<Item = A>) -> FanOutSource {
        let arns = arns.into_iter().map(|arn| arn.as_ref().into());
        self.source(Choice::Arns(arns.collect()))
    }

    fn source(self, choice: Choice) -> FanOutSource {
        let client = self.make.client();
        FanOutSource {
            api: Arc::new(SdkKinesis::from_client(client.clone())),
            registry: Arc::new(Registry::new(seam::clients(&client).control, choice)),
            connections: Arc::new(Connections::new(self.make, self.shards_each)),
            lookups: Arc::default(),
        }
    }
}

impl FanOutSource {
    /// Ends the consumer of `stream` (a name or an ARN) at AWS, and with it the reads of every worker that reads as it. Nothing
    /// else ever deregisters a consumer. One that is gone already is no error.
    ///
    /// # Errors
    /// As the calls fail; `InvalidArgument` also when `stream` is no name or ARN, or no consumer of it was given.
    pub async fn deregister(&self, stream: impl AsRef<str>) -> Result<(), ApiError> {
        let address: StreamAddress = stream.as_ref().parse().map_err(|error| {
            ApiError::new(
                "DeregisterStreamConsumer",
                ApiErrorKind::InvalidArgument,
                Box::new(error),
            )
        })?;
        self.registry.deregister(&address).await
    }
}

impl RecordSource for FanOutSource {
    fn api(&self) -> Arc<dyn KinesisApi> {
        self.api.clone()
    }

    fn open(&self, shard: OpenShard) -> Box<dyn ShardReader> {
        let ways = Ways { polling: Polling::over(self.api.clone()), fan_out: self.clone() };
        Box::new(Switch::new(ways, Rules::BY_FAN_OUT, shard))
    }
}

impl FanOutSource {
    /// Whether there is a consumer for the shard; registers it where that is to be done.
    pub(crate) async fn find_consumer(&self, shard: &mut OpenShard) -> Result<(), NoConsumer> {
        let OpenShard { stream, clock, rng, metrics, .. } = shard;
        self.registry.consumer(Asker { stream, clock, rng, metrics }).await.map(drop)
    }

    /// A reader by subscriptions alone.
    pub(crate) fn subscribe(&self, shard: OpenShard) -> Box<dyn ShardReader> {
        Box::new(Reader::new(
            self.connections.lend(),
            self.registry.clone(),
            self.api.clone(),
            self.lookups.clone(),
            shard,
        ))
    }
}
