//! Compares the shards of a stream with its leases, creates the leases that are missing, and deletes those that are done with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use kcl_core::kinesis::{ApiError, ApiErrorKind, KinesisApi, ShardFilter};
use kcl_core::leasing::{LeaseTiming, LeasingError};
use kcl_core::{Backoff, Clock, Shard, ShardId, StartFrom, Stream, StreamId};

use super::{Streams, WIDTH};
use crate::calls::Calls;
use crate::store::{Consistency, Outcome, Scan, StoreError, StoreErrorKind};
use crate::sync::{self, Creation, Listing};
use crate::{Lease, LeaseKey};

/// What a survey needs.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    pub(super) api: Arc<dyn KinesisApi>,
    pub(super) calls: Calls,
    pub(super) streams: Streams,
    pub(super) clock: Clock,
    pub(super) timing: LeaseTiming,
}

/// The outcome of a survey.
#[derive(Debug)]
pub(crate) struct Surveyed {
    pub(super) stream: StreamId,
    /// All shards of the stream.
    pub(super) listing: Option<Listing>,
    /// The leases that were created.
    pub(super) created: Vec<Lease>,
    /// The leases that were cleaned up.
    pub(super) deleted: Vec<LeaseKey>,
    pub(super) failure: Option<SurveyError>,
}

/// Why a survey stopped early. What was created before stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error("shards cannot be listed")]
    Listing(#[source] ApiError),
    #[error("lease store failed")]
    Store(#[source] StoreError),
}

impl Survey {
    /// Creates the leases of a stream that has none yet, and tries again while that can help. `None` when another worker
    /// was faster: what it left out is a matter of [`complete`](Self::complete).
    pub(super) async fn found(
        &self,
        stream: &Stream,
        start: StartFrom,
        rng: &mut fastrand::Rng,
    ) -> Result<Option<Vec<Lease>>, LeasingError> {
        let filter = sync::first_shards(start);
        let key = |shard: &ShardId| self.streams.key(&stream.id, shard);
        let mut incomplete = 0;
        let mut failures = 0;
        loop {
            // The time before the listing: what is put from now on is after the start.
            let wall = self.clock.wall();
            let failure = match self.list(stream, filter).await {
                Ok(shards) => match sync::first_leases(&shards, &key, start, wall) {
                    Some(leases) => match self.create_unless_founded(stream, leases, rng).await {
                        Ok(created) => return Ok(created),
                        Err(error) => SurveyError::Store(error),
                    },
                    None if incomplete < INCOMPLETE_RETRIES => {
                        incomplete += 1;
                        self.clock.sleep(INCOMPLETE_PAUSE).await;
                        continue;
                    }
                    None => {
                        let stream = stream.id.to_string();
                        return Err(LeasingError::ShardsIncomplete { stream });
                    }
                },
                Err(error) => SurveyError::Listing(error),
            };
            if failures == RETRIES || !failure.is_retryable() {
                return Err(LeasingError::Unavailable(failure.into()));
            }
            tracing::warn!(stream = %stream.id, error = &failure as &dyn std::error::Error, "first leases not created, trying again");
            self.clock.sleep(PAUSE.delay(failures, rng)).await;
            failures += 1;
        }
    }

    /// The leases that were made here; another worker may make others at the same time. `None` when there are leases since
    /// the shards were listed: these may be children of others' first ones, with records of its own in between.
    async fn create_unless_founded(
        &self,
        stream: &Stream,
        leases: Vec<Lease>,
        rng: &mut fastrand::Rng,
    ) -> Result<Option<Vec<Lease>>, StoreError> {
        let mut tries = 0;
        loop {
            let begun = self.clock.now();
            let scan = self.scan().await?;
            if self.streams.leases(&stream.id, scan.leases.iter()).next().is_some() {
                return Ok(None);
            }
            tries += 1;
            // After a pause of this process others may have begun.
            if self.clock.now() <= begun + FRESH || tries == SCANS {
                return self.create_first(leases, rng).await.map(Some);
            }
        }
    }

    pub(super) async fn scan(&self) -> Result<Scan, StoreError> {
        let until = self.clock.now() + self.timing.lease_duration;
        self.calls.scan(Consistency::Strong, until).await
    }

    /// Creates the leases that are missing.
    ///
    /// The leases are read after the shards were listed, whatever this worker saw of them before: one that could not scan, or
    /// did not run, for a while would take shards for forgotten that others read since.
    pub(super) async fn complete(
        &self,
        stream: &Stream,
        start: StartFrom,
        rng: &mut fastrand::Rng,
    ) -> Surveyed {
        let mut surveyed = Surveyed {
            stream: stream.id.clone(),
            listing: None,
            created: Vec::new(),
            deleted: Vec::new(),
            failure: None,
        };
        let begun = self.clock.now();
        let shards = match self.list(stream, ShardFilter::All).await {
            Ok(shards) => shards,
            Err(error) => {
                surveyed.failure = Some(SurveyError::Listing(error));
                return surveyed;
            }
        };
        let scan = match self.scan().await {
            Ok(scan) => scan,
            Err(error) => {
                surveyed.failure = Some(SurveyError::Store(error));
                return surveyed;
            }
        };
        let key = |shard: &ShardId| self.streams.key(&stream.id, shard);
        let known: Vec<_> = self.streams.leases(&stream.id, scan.leases.iter()).collect();
        let creations = sync::missing_leases(&shards, known.iter().copied(), &key, start);
        let created = stream::iter(creations).map(|Creation { lease, unless_begun }| {
            self.create(Creation { lease: lease.numbered(rng), unless_begun })
        });
        let mut created = created.buffered(WIDTH);
        while let Some(created) = created.next().await {
            match created {
                Ok(lease) => surveyed.created.extend(lease),
                Err(error) => surveyed.failure = Some(SurveyError::Store(error)),
            }
        }
        surveyed.deleted = self.clean_up(sync::done(&shards, &known)).await;
        surveyed.listing = Some(Listing { begun, shards });
        surveyed
    }

    /// Deletes ended leases, and returns which are gone. Several workers may do so at once. A failure hurts nobody: the next
    /// survey goes on.
    async fn clean_up(&self, done: Vec<&Lease>) -> Vec<LeaseKey> {
        let mut gone = Vec::new();
        for lease in done {
            match self.calls.delete(&lease.key, &lease.fence(), self.deadline()).await {
                Ok(Outcome::Applied) => {
                    tracing::info!(lease = %lease.key, "deleted an ended lease, its children have progressed");
                    gone.push(lease.key.clone());
                }
                Ok(Outcome::Missing) => gone.push(lease.key.clone()),
                Ok(Outcome::Conflict(_)) => {}
                Err(error) => {
                    tracing::info!(lease = %lease.key, error = &error as &dyn std::error::Error, "ended lease not deleted, trying again later");
                    break;
                }
            }
        }
        gone
    }

    async fn create_first(
        &self,
        leases: Vec<Lease>,
        rng: &mut fastrand::Rng,
    ) -> Result<Vec<Lease>, StoreError> {
        let created = stream::iter(leases).map(|lease| {
            let lease = lease.numbered(rng);
            async move {
                let made = self.calls.create(&lease, self.deadline()).await?;
                Ok(made.then_some(lease))
            }
        });
        // All are tried, whatever fails: what is there need not be made by the next try.
        let created: Vec<_> = created.buffered(WIDTH).collect().await;
        let created: Result<Vec<_>, _> = created.into_iter().collect();
        Ok(created?.into_iter().flatten().collect())
    }

    async fn create(&self, creation: Creation) -> Result<Option<Lease>, StoreError> {
        for key in &creation.unless_begun {
            let child = self.calls.read(key, self.deadline()).await?;
            if child.as_ref().is_some_and(sync::is_begun) {
                return Ok(None);
            }
        }
        let made = self.calls.create(&creation.lease, self.deadline()).await?;
        Ok(made.then_some(creation.lease))
    }

    fn deadline(&self) -> Instant {
        self.clock.now() + self.timing.renew_interval
    }

    async fn list(&self, stream: &Stream, filter: ShardFilter) -> Result<Vec<Shard>, ApiError> {
        tokio::select! {
            biased;
            shards = self.api.list_shards(stream, filter) => shards,
            () = self.clock.sleep(LISTING_LIMIT) => {
                Err(ApiError::new("ListShards", ApiErrorKind::Unavailable, "no answer in time"))
            }
        }
    }
}

impl SurveyError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Listing(error) => {
                error.kind().is_retryable() || error.kind() == ApiErrorKind::ExpiredToken
            }
            Self::Store(error) => error.is_retryable(),
        }
    }

    pub(super) fn is_table_missing(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() == StoreErrorKind::TableMissing)
    }
}

/// As the Java KCL: three retries, a second apart.
const INCOMPLETE_RETRIES: u32 = 3;
const INCOMPLETE_PAUSE: Duration = Duration::from_secs(1);
/// Retries of a failed first survey; with the pauses about half a minute.
const RETRIES: u32 = 10;
const PAUSE: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
/// How long all pages of a listing may take.
const LISTING_LIMIT: Duration = Duration::from_secs(30);
/// How old an empty table may be when the first leases are made; a scan of one takes a moment, or so many are slow.
const FRESH: Duration = Duration::from_secs(2);
const SCANS: u32 = 3;
