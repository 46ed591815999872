//! The streams that a worker reads: looked up when it begins, and again whenever its set changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::RunError;
use crate::chain::chain;
use crate::kinesis::{ApiErrorKind, KinesisApi};
use crate::{Backoff, Clock, InvalidName, StartFrom, Stream, StreamAddress};

/// The streams of a worker, as a set that may change while it runs. Clones share it, also among workers.
///
/// A worker of a set keeps its leases as the Java KCL does when it reads several streams
/// (`account:stream:epoch:shard`), also while the set has one stream or none: the table of an application of a single stream
/// is refused.
///
/// [`WorkerEvent::StreamReady`](crate::WorkerEvent::StreamReady) tells when the worker reads an added stream. One that cannot be
/// looked up is tried again, with a warning in the log, for as long as it is in the set.
///
/// ```
/// use kcl_core::{StartFrom, StreamSet};
///
/// let streams = StreamSet::new();
/// streams.add("orders", StartFrom::TrimHorizon)?;
/// // Worker::builder("shop").streams(streams.clone())… and later, while it runs:
/// streams.add("payments", StartFrom::Latest)?;
/// streams.remove("orders")?;
/// # Ok::<_, kcl_core::InvalidName>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct StreamSet {
    streams: Arc<watch::Sender<BTreeMap<StreamAddress, StartFrom>>>,
}

impl StreamSet {
    /// A set without streams.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads this stream as well, named by name or ARN. Where the application has no leases of it yet it is read from
    /// `start`, else from where these stand. False when it was in the set already; then `start` changes nothing.
    ///
    /// # Errors
    /// When it is no name and no ARN of a stream.
    pub fn add(&self, stream: &str, start: StartFrom) -> Result<bool, InvalidName> {
        let address: StreamAddress = stream.parse()?;
        Ok(self.streams.send_if_modified(|streams| {
            let is_new = !streams.contains_key(&address);
            streams.entry(address).or_insert(start);
            is_new
        }))
    }

    /// Reads this stream, named as it was added, no longer: its shards are drained, and their leases freed for workers that still read
    /// it. The leases stay in the table, so that adding the stream again goes on where it was left. False when it was
    /// not in the set.
    ///
    /// # Errors
    /// When it is no name and no ARN of a stream.
    pub fn remove(&self, stream: &str) -> Result<bool, InvalidName> {
        let address: StreamAddress = stream.parse()?;
        Ok(self.streams.send_if_modified(|streams| streams.remove(&address).is_some()))
    }

    /// What is in the set.
    #[must_use]
    pub fn streams(&self) -> Vec<(StreamAddress, StartFrom)> {
        self.streams.borrow().iter().map(|(address, start)| (address.clone(), *start)).collect()
    }
}

/// The streams of a worker that is built.
#[derive(Debug)]
pub(super) enum Streams {
    Fixed(Vec<(StreamAddress, StartFrom)>),
    Set(StreamSet),
}

impl Streams {
    pub(super) fn now(&self) -> Vec<(StreamAddress, StartFrom)> {
        match self {
            Self::Fixed(streams) => streams.clone(),
            Self::Set(set) => set.streams(),
        }
    }

    /// Whether the leases are those of an application of several streams.
    pub(super) fn are_several(&self) -> bool {
        match self {
            Self::Fixed(streams) => streams.len() > 1,
            Self::Set(_) => true,
        }
    }
}

/// Follows a set that changes.
pub(super) struct Follower {
    wanted: watch::Receiver<BTreeMap<StreamAddress, StartFrom>>,
    known: BTreeMap<StreamAddress, Stream>,
    api: Arc<dyn KinesisApi>,
    clock: Clock,
    rng: fastrand::Rng,
}

impl Follower {
    /// Begins with the streams that are known.
    pub(super) fn new(
        set: &StreamSet,
        known: &[(Stream, StartFrom)],
        api: Arc<dyn KinesisApi>,
        clock: Clock,
        rng: fastrand::Rng,
    ) -> Self {
        let known = known.iter().map(|(stream, _)| (stream.address.clone(), stream.clone()));
        Self { wanted: set.streams.subscribe(), known: known.collect(), api, clock, rng }
    }

    /// Tells, from now on, which of the wanted streams are known. Ends when nobody listens.
    pub(super) async fn run(mut self, tell: mpsc::Sender<Vec<(Stream, StartFrom)>>) {
        let mut failures = 0;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            self.known.retain(|address, _| wanted.contains_key(address));
            let known = wanted.iter();
            let known =
                known.filter_map(|(name, start)| Some((self.known.get(name)?.clone(), *start)));
            if tell.send(known.collect()).await.is_err() {
                return;
            }
            let unknown: Vec<_> =
                wanted.into_keys().filter(|address| !self.known.contains_key(address)).collect();
            let pause = match failures {
                0 => Duration::ZERO,
                before => PAUSE.delay(before - 1, &mut self.rng),
            };
            let look_up = async {
                self.clock.sleep(pause).await;
                look_up(&*self.api, &unknown, failures == 0).await
            };
            tokio::select! {
                biased;
                () = tell.closed() => return,
                Ok(()) = self.wanted.changed() => failures = 0,
                found = look_up, if !unknown.is_empty() => match found {
                    Some(stream) => {
                        self.known.insert(stream.address.clone(), stream);
                    }
                    None => failures += 1,
                },
            }
        }
    }
}

/// The first of these streams that can be looked up.
async fn look_up(api: &dyn KinesisApi, unknown: &[StreamAddress], is_news: bool) -> Option<Stream> {
    for address in unknown {
        match api.describe_stream(address).await {
            Ok(stream) => return Some(stream),
            Err(error) if is_news => {
                tracing::warn!(stream = %address, error = %chain(&error), "an added stream cannot be described, trying again for as long as it is in the set");
            }
            Err(error) => {
                tracing::debug!(stream = %address, error = %chain(&error), "stream still not described");
            }
        }
    }
    None
}

/// Looks a stream up; tries again, for about half a minute, what may heal.
pub(super) async fn describe(
    api: &dyn KinesisApi,
    address: &StreamAddress,
    clock: &Clock,
    rng: &mut fastrand::Rng,
) -> Result<Stream, RunError> {
    let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut attempt = 0;
    loop {
        match api.describe_stream(address).await {
            Ok(stream) => return Ok(stream),
            Err(source) if attempt >= 10 || !worth_waiting(source.kind()) => {
                return Err(RunError::Stream { stream: address.clone(), source });
            }
            Err(error) => {
                tracing::warn!(stream = %address, attempt, error = %chain(&error), "cannot describe the stream yet");
                clock.sleep(backoff.delay(attempt, rng)).await;
                attempt += 1;
            }
        }
    }
}

/// A missing permission at the start is a mistake, not an outage.
fn worth_waiting(kind: ApiErrorKind) -> bool {
    kind.is_retryable() && kind != ApiErrorKind::AccessDenied
}

/// Between looks at streams that cannot be described.
const PAUSE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
