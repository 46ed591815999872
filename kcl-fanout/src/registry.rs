//! The stream consumers that readers subscribe as: found or registered, once per process and stream.
//!
//! ```text
//!            DescribeStreamConsumer
//!  asked ──> ACTIVE ──────────────────────────────────────> known, until it is not found any more
//!     ^      CREATING, DELETING ── a second ──> asked
//!     │      not found ── RegisterStreamConsumer ──> asked          another process was first: asked too
//!     └───── throttled, too many being created ── backoff
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ConsumerStatus;
use kcl_core::kinesis::{ApiError, ApiErrorKind, seam};
use kcl_core::metrics::{CONSUMERS_REGISTERED, ShardMetrics};
use kcl_core::{Backoff, Clock, Stream, StreamAddress, StreamId, StreamName};
use tokio::sync::Mutex as Turn;

const DESCRIBE: &str = "DescribeStreamConsumer";
const REGISTER: &str = "RegisterStreamConsumer";
const DEREGISTER: &str = "DeregisterStreamConsumer";
const SUMMARY: &str = "DescribeStreamSummary";

/// Between looks at a consumer that is being created.
const POLL: Duration = Duration::from_secs(1);

/// Between lines in the log while one waits.
const PROGRESS: Duration = Duration::from_secs(10);

/// AWS allows 5 registrations a second, and 5 consumers of a stream in the making.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// Which consumer.
#[derive(Debug, Clone)]
pub(crate) enum Choice {
    /// The one of this name, of every stream; registered where it is missing.
    Name(Arc<str>),
    /// These, which somebody else registers: one for each stream.
    Arns(Vec<Arc<str>>),
}

/// Finds consumers for all readers of a process.
#[derive(Debug)]
pub(crate) struct Registry {
    client: Client,
    choice: Choice,
    by_stream: Mutex<BTreeMap<StreamId, Arc<Entry>>>,
}

/// One stream's consumer. Readers that need it while it is not known wait for their turn; whoever asked before a try that
/// failed began shares how it failed.
#[derive(Debug, Default)]
struct Entry {
    known: Mutex<Option<Arc<str>>>,
    turn: Turn<Tries>,
}

/// What outlives a reader that was dropped while it waited.
#[derive(Debug, Default)]
struct Tries {
    failed: Option<Failed>,
    /// No call before this.
    not_before: Option<Instant>,
    throttled: u32,
}

#[derive(Debug)]
struct Failed {
    begun: Instant,
    error: ApiError,
}

/// Why there is no consumer.
#[derive(Debug)]
pub(crate) enum NoConsumer {
    /// Not now.
    Failed(ApiError),
    /// Never, as the program was written.
    Unusable(ApiError),
}

/// What a registry needs of the reader that asks.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) stream: &'a Stream,
    pub(crate) clock: &'a Clock,
    pub(crate) rng: &'a mut fastrand::Rng,
    pub(crate) metrics: &'a ShardMetrics,
}

impl Registry {
    pub(crate) fn new(client: Client, choice: Choice) -> Self {
        Self { client, choice, by_stream: Mutex::default() }
    }

    /// The ARN of the consumer of a stream, which is active as far as this process knows. Dropping the future is safe.
    pub(crate) async fn consumer(&self, asker: Asker<'_>) -> Result<Arc<str>, NoConsumer> {
        let name = match &self.choice {
            Choice::Arns(arns) => return given(arns, &asker.stream.id),
            Choice::Name(name) if StreamName::new(name).is_ok() => name,
            Choice::Name(_) => {
                let reason =
                    "a consumer name has 1 to 128 characters of a-z, A-Z, 0-9, '_', '.', '-'";
                return Err(unusable(reason));
            }
        };
        let entry = self.entry(&asker.stream.id);
        if let Some(known) = lock(&entry.known).clone() {
            return Ok(known);
        }
        let asked = asker.clock.now();
        let mut turn = entry.turn.lock().await;
        if let Some(known) = lock(&entry.known).clone() {
            return Ok(known);
        }
        if let Some(failed) = turn.failed.as_ref().filter(|failed| failed.begun >= asked) {
            return Err(NoConsumer::Failed(failed.error.share()));
        }
        let begun = asker.clock.now();
        match self.find_or_register(name, asker, &mut turn).await {
            Ok(arn) => {
                *lock(&entry.known) = Some(arn.clone());
                Ok(arn)
            }
            Err(error) => {
                turn.failed = Some(Failed { begun, error: error.share() });
                Err(NoConsumer::Failed(error))
            }
        }
    }

    /// `arn` was not found, or something that a subscription needs beside it.
    pub(crate) fn forget(&self, stream: &StreamId, arn: &str) {
        lock(&self.entry(stream).known).take_if(|known| **known == *arn);
    }

    /// Ends the consumer of a stream, and with it all its subscriptions. One that is not there has ended.
    pub(crate) async fn deregister(&self, address: &StreamAddress) -> Result<(), ApiError> {
        let request = self.client.deregister_stream_consumer();
        let request = match &self.choice {
            Choice::Name(name) => {
                let arn = self.stream_arn(address).await?.0;
                request.stream_arn(arn).consumer_name(&**name)
            }
            Choice::Arns(arns) => {
                let stream = match address {
                    StreamAddress::Name(name) => name.as_str(),
                    StreamAddress::Arn(arn) => arn.rsplit('/').next().unwrap_or_default(),
                };
                let arn = arns.iter().find(|arn| parts(arn).is_some_and(|(_, of)| of == stream));
                let Some(arn) = arn else {
                    let reason = "no consumer of this stream was given";
                    return Err(ApiError::new(DEREGISTER, ApiErrorKind::InvalidArgument, reason));
                };
                request.consumer_arn(&**arn)
            }
        };
        match request.send().await.map_err(|error| seam::failed(DEREGISTER, &error)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ApiErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn find_or_register(
        &self,
        name: &str,
        asker: Asker<'_>,
        tries: &mut Tries,
    ) -> Result<Arc<str>, ApiError> {
        let Asker { stream, clock, rng, metrics } = asker;
        if let Some(not_before) = tries.not_before {
            clock.sleep_until(not_before).await;
        }
        let (stream_arn, created) = self.stream_arn(&stream.address).await?;
        if created.is_some_and(|created| created != stream.id.created()) {
            let reason = "the stream is another one of the same name";
            return Err(ApiError::new(SUMMARY, ApiErrorKind::NotFound, reason));
        }
        let (begun, mut said) = (clock.now(), None);
        loop {
            let outcome = match self.describe(&stream_arn, name).await {
                Ok((ConsumerStatus::Active, arn)) => {
                    tracing::info!(stream = %stream.id, consumer = %arn, "consumer is active");
                    tries.throttled = 0;
                    return Ok(arn);
                }
                Ok((status, _)) => Ok(status),
                Err(error) if error.kind() == ApiErrorKind::NotFound => {
                    self.register(&stream_arn, name, stream, metrics).await
                }
                Err(error) => Err(error),
            };
            let (state, wait) = match outcome {
                Ok(status) => (status.to_string(), POLL),
                Err(error) if error.kind() == ApiErrorKind::Throttled => {
                    tries.throttled = tries.throttled.saturating_add(1);
                    ("throttled".to_owned(), BACKOFF.delay(tries.throttled - 1, rng))
                }
                Err(error) => return Err(error),
            };
            let now = clock.now();
            if said.is_none_or(|said| now - said >= PROGRESS) {
                said = Some(now);
                let seconds = (now - begun).as_secs();
                tracing::info!(stream = %stream.id, consumer = name, %state, seconds, "waiting for the consumer to be active");
            }
            tries.not_before = Some(now + wait);
            clock.sleep(wait).await;
        }
    }

    async fn describe(
        &self,
        stream_arn: &str,
        name: &str,
    ) -> Result<(ConsumerStatus, Arc<str>), ApiError> {
        let request = self.client.describe_stream_consumer();
        let request = request.stream_arn(stream_arn).consumer_name(name);
        let reply = request.send().await.map_err(|error| seam::failed(DESCRIBE, &error))?;
        let consumer = reply.consumer_description.ok_or_else(|| {
            ApiError::new(DESCRIBE, ApiErrorKind::Malformed, "a reply without a consumer")
        })?;
        Ok((consumer.consumer_status, consumer.consumer_arn.into()))
    }

    async fn register(
        &self,
        stream_arn: &str,
        name: &str,
        stream: &Stream,
        metrics: &ShardMetrics,
    ) -> Result<ConsumerStatus, ApiError> {
        let request = self.client.register_stream_consumer();
        let request = request.stream_arn(stream_arn).consumer_name(name);
        match request.send().await.map_err(|error| seam::failed(REGISTER, &error)) {
            Ok(_) => {
                metrics.record_worker(CONSUMERS_REGISTERED, 1.0);
                tracing::info!(stream = %stream.id, consumer = name, "consumer is registered");
                Ok(ConsumerStatus::Creating)
            }
            // Another process was first, or the stream itself is being changed.
            Err(error) if error.kind() == ApiErrorKind::ResourceInUse => {
                Ok(ConsumerStatus::Creating)
            }
            Err(error) => Err(error),
        }
    }

    /// The ARN of a stream, and when it was created if that had to be asked.
    async fn stream_arn(&self, address: &StreamAddress) -> Result<(String, Option<u64>), ApiError> {
        let name = match address {
            StreamAddress::Arn(arn) => return Ok((arn.to_string(), None)),
            StreamAddress::Name(name) => name,
        };
        let request = self.client.describe_stream_summary().stream_name(name.as_str());
        let reply = request.send().await.map_err(|error| seam::failed(SUMMARY, &error))?;
        let summary = reply.stream_description_summary.ok_or_else(|| {
            ApiError::new(SUMMARY, ApiErrorKind::Malformed, "a reply without a description")
        })?;
        let created = u64::try_from(summary.stream_creation_timestamp.secs()).ok();
        Ok((summary.stream_arn, created))
    }

    fn entry(&self, stream: &StreamId) -> Arc<Entry> {
        lock(&self.by_stream).entry(stream.clone()).or_default().clone()
    }
}

impl From<NoConsumer> for ApiError {
    fn from(no: NoConsumer) -> Self {
        match no {
            NoConsumer::Failed(error) | NoConsumer::Unusable(error) => error,
        }
    }
}

/// The one of `arns` that is of `stream`.
fn given(arns: &[Arc<str>], stream: &StreamId) -> Result<Arc<str>, NoConsumer> {
    let wanted = Some((stream.account(), stream.name().as_str()));
    let arn = arns.iter().find(|arn| parts(arn) == wanted);
    arn.cloned().ok_or_else(|| unusable("no consumer ARN of this stream was given"))
}

/// Account and name of a consumer's stream.
fn parts(arn: &str) -> Option<(&str, &str)> {
    // arn:partition:kinesis:region:account:stream/name/consumer/name:created
    let mut parts = arn.splitn(6, ':').skip(4);
    let (account, resource) = (parts.next()?, parts.next()?);
    let (stream, consumer) = resource.strip_prefix("stream/")?.split_once('/')?;
    consumer.starts_with("consumer/").then_some((account, stream))
}

fn unusable(reason: &'static str) -> NoConsumer {
    let kind = ApiErrorKind::InvalidArgument;
    NoConsumer::Unusable(ApiError::new(crate::calls::OPERATION, kind, reason))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
