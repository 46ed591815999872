//! What a program builds.

use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_types::SdkConfig;
use kcl_core::StreamAddress;
use kcl_core::kinesis::{ApiError, ApiErrorKind, KinesisApi, SdkKinesis, seam};
use kcl_core::retrieval::{Lookups, OpenShard, Polling, RecordSource, ShardReader};

use crate::choice::Rules;
use crate::reader::Reader;
use crate::registry::{Asker, Choice, NoConsumer, Registry};
use crate::switch::{Switch, Ways};

/// The start of a fan-out source: it needs a consumer.
#[derive(Debug, Clone)]
#[must_use]
pub struct FanOut {
    clients: Vec<Client>,
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
    reads: Vec<Arc<Client>>,
    registry: Arc<Registry>,
    lookups: Arc<Lookups>,
}

impl FanOut {
    /// Fan-out with a client made from `config`. On AWS it must speak HTTP/2, as the default of `aws-config` does.
    pub fn new(config: &SdkConfig) -> Self {
        Self::from_client(Client::new(config))
    }

    /// Fan-out with a client that is configured already.
    pub fn from_client(client: Client) -> Self {
        Self { clients: vec![client] }
    }

    /// Fan-out over several clients, between which the shards are spread evenly; the first one also serves all other calls.
    ///
    /// A client of the SDK keeps one HTTP/2 connection to Kinesis, and a connection carries only so many streams at once as the
    /// server allows: what is beyond waits without a word, until a reader says after 10 s that there is no answer, and has a
    /// new connection made. So a worker that reads more than a hundred shards needs more connections: a client for each
    /// hundred, every one with an HTTP client of its own (`aws_smithy_http_client::Builder`), because clients that share one
    /// share its connection. Shards on one connection also share its window; fewer on each means that they wait less for one
    /// another.
    ///
    /// # Panics
    /// Without a client.
    pub fn from_clients(clients: impl IntoIterator<Item = Client>) -> Self {
        let clients: Vec<Client> = clients.into_iter().collect();
        assert!(!clients.is_empty(), "a fan-out source needs a client");
        Self { clients }
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
        let api = Arc::new(SdkKinesis::from_client(self.clients[0].clone()));
        let registry = Arc::new(Registry::new(seam::clients(&self.clients[0]).control, choice));
        let reads = self.clients.iter().map(|client| Arc::new(seam::clients(client).reads));
        let reads = reads.collect();
        FanOutSource { api, reads, registry, lookups: Arc::default() }
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
        // The one with the fewest readers: each of them holds it.
        let client = self.reads.iter().min_by_key(|client| Arc::strong_count(client));
        Box::new(Reader::new(
            client.unwrap_or(&self.reads[0]).clone(),
            self.registry.clone(),
            self.api.clone(),
            self.lookups.clone(),
            shard,
        ))
    }
}
