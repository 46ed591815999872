//! The port behind which shards are shared among workers.
//!
//! The worker joins, receives a [`Grant`] for each shard that it shall read, and reports back through the grant alone. It
//! never asks who owns a lease: a grant is good until its [`lost`](HeldLease::lost) fires or its
//! [`valid_until`](HeldLease::valid_until) passes, whichever is first.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::kinesis::KinesisApi;
use crate::metrics::Metrics;
use crate::{
    ApplicationName, ChildShard, Clock, HashRange, Position, ShardId, StartFrom, Stream, StreamId,
    Tasks, WorkerId,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A place where workers agree on who reads which shard.
#[async_trait]
pub trait Leases: Send + Sync + fmt::Debug + 'static {
    /// Makes the place ready, joins it under the worker's id, and begins to hand out grants.
    ///
    /// Runs its loops on `member.tasks`; they end with that group.
    ///
    /// # Errors
    /// When the place cannot be used at all; see [`LeasingError`].
    async fn join(&self, member: Member) -> Result<Membership, LeasingError>;
}

/// Who joins, and with what.
#[derive(Debug, Clone)]
pub struct Member {
    /// The application: all its workers share one place.
    pub application: ApplicationName,
    /// This worker.
    pub worker: WorkerId,
    /// The streams to read, and where a new application begins in each.
    pub streams: Vec<(Stream, StartFrom)>,
    /// Whether leases name their stream: when there are several, or when they [change](LeaseControl::read_streams). All
    /// workers of an application must agree on it.
    pub several_streams: bool,
    /// For listing shards.
    pub api: Arc<dyn KinesisApi>,
    /// How long leases last, and how often things happen.
    pub timing: LeaseTiming,
    /// The most leases that this worker holds at once; `None` means no limit.
    pub max_leases: Option<NonZeroU32>,
    /// Time.
    pub clock: Clock,
    /// Chance; the seed of all that the membership draws.
    pub seed: u64,
    /// Where tasks run.
    pub tasks: Tasks,
    /// Where figures go.
    pub metrics: Arc<dyn Metrics>,
}

/// The timing of leases. Built, and its inequalities checked, by the worker's builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTiming {
    /// Others may take a lease that they have not seen renewed for this long, by their own clock (Java KCL:
    /// `failoverTimeMillis`).
    pub lease_duration: Duration,
    /// A held lease is renewed this often.
    pub renew_interval: Duration,
    /// The holder gives up this long before others may take.
    pub fence_margin: Duration,
    /// The table is read, and the next moves planned, this often.
    pub scan_interval: Duration,
    /// Shards are listed and compared with the leases this often.
    pub sync_interval: Duration,
}

impl LeaseTiming {
    /// Proportions that hold for any lease duration: renew after two fifths, fence at a tenth before the end, scan at an eighth
    /// but between 500 ms and 5 s, and list shards every minute.
    #[must_use]
    pub fn for_duration(lease_duration: Duration) -> Self {
        let scan = (lease_duration / 8).clamp(Duration::from_millis(500), Duration::from_secs(5));
        Self {
            lease_duration,
            renew_interval: lease_duration / 5 * 2,
            fence_margin: lease_duration / 10,
            scan_interval: scan,
            sync_interval: Duration::from_secs(60),
        }
    }
}

/// A joined worker's connection to the place.
#[derive(Debug)]
pub struct Membership {
    /// What happens to this worker's leases, in order. Closed when the membership has ended.
    pub events: mpsc::Receiver<LeaseEvent>,
    /// What the worker may ask for.
    pub control: Arc<dyn LeaseControl>,
}

/// What happens to this worker's leases.
#[derive(Debug)]
#[non_exhaustive]
pub enum LeaseEvent {
    /// Read this shard.
    Granted(Box<Grant>),
    /// The first leases of a stream exist that was added while the worker ran.
    StreamReady(StreamId),
    /// The place cannot be used any more; every grant is lost.
    Failed(LeasingError),
}

/// What a worker may ask of the place as a whole.
#[async_trait]
pub trait LeaseControl: Send + Sync + fmt::Debug {
    /// Takes no further leases. Held ones stay and are renewed.
    fn stop_taking(&self);

    /// These are the streams to read from now on, of an application of [several](Member::several_streams).
    ///
    /// Leases of others are not taken any more; those that are held stay, and are renewed, until they are released. No
    /// lease is deleted.
    fn read_streams(&self, streams: Vec<(Stream, StartFrom)>);

    /// Frees every lease that is still held, without moving its checkpoint, and ends the membership.
    ///
    /// Waits until the frees are durable or `deadline` has passed; returns the number of leases that could not be freed.
    async fn leave(&self, deadline: Instant) -> usize;
}

/// The right to read one shard.
#[derive(Debug)]
pub struct Grant {
    /// The stream.
    pub stream: Stream,
    /// The shard.
    pub shard: ShardId,
    /// The hash keys of the shard, where the lease knows them.
    pub hash_range: Option<HashRange>,
    /// Everything up to here is done.
    pub position: Position,
    /// With a position that is [`Position::Latest`] or [`Position::AtTimestamp`]: the time that it stands for, as it was
    /// fixed when the lease was created. `None` in leases that another program created.
    pub started_at: Option<SystemTime>,
    /// A prepared checkpoint that was never committed.
    pub pending: Option<PendingCheckpoint>,
    /// How to report back.
    pub lease: Arc<dyn HeldLease>,
}

/// A checkpoint that was announced but not committed, with the application's own note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCheckpoint {
    /// The announced position.
    pub position: Position,
    /// The application's bytes.
    pub state: Option<Bytes>,
}

/// A lease that this worker holds. All writes of one lease are made one after the other, each fenced by the one before.
#[async_trait]
pub trait HeldLease: Send + Sync + fmt::Debug {
    /// A number that grows with every change of owner: hand it to systems that fence on their side.
    fn fencing_token(&self) -> u64;

    /// Fires once the lease is no longer held, for whatever reason but [`release`](Self::release) and [`end`](Self::end).
    fn lost(&self) -> &CancellationToken;

    /// Fires when another worker asks for the lease: finish what is under way, then [`release`](Self::release) it as
    /// [`Release::Wanted`]. Until then it is held as before.
    fn wanted(&self) -> &CancellationToken;

    /// Until when work may be handed out, by this host's monotonic clock. Moves on with every renewal. A process that was
    /// stopped and wakes up reads this before it does anything: others may own the shard by then.
    fn valid_until(&self) -> Instant;

    /// Notes that everything up to `watermark` is done. Costs nothing; the next renewal makes it durable.
    fn advance(&self, watermark: Position);

    /// Makes a checkpoint durable now, and renews the lease by the same write.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    async fn checkpoint(&self, position: Position) -> Result<(), CheckpointError>;

    /// Makes the announcement of a checkpoint durable.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    async fn prepare(&self, pending: PendingCheckpoint) -> Result<(), CheckpointError>;

    /// The shard is closed and all of it is done: creates the leases of `children` that do not exist, then writes
    /// `SHARD_END` and gives the lease up.
    ///
    /// # Errors
    /// See [`CheckpointError`]; nothing is written out of order, and calling again completes it.
    async fn end(&self, children: Vec<ChildShard>) -> Result<(), CheckpointError>;

    /// Frees the lease, or hands it over, and makes the newest watermark durable, in one write.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    async fn release(&self, reason: Release) -> Result<(), CheckpointError>;
}

/// Why a worker frees a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The worker stops; any worker may take it.
    Stopping,
    /// Another worker [asked for it](HeldLease::wanted), and gets it by the same write.
    Wanted,
    /// The processor failed for good: this worker does not take it again while it runs; others may try.
    Halted,
}

/// Why a checkpoint was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The lease is no longer held. Not a failure: stop working on the shard; its next owner repeats what was not durable.
    #[error("lease is no longer held")]
    LeaseLost,
    /// The position lies before the last checkpoint. Nothing was written.
    #[error("checkpoint would move backward: last={last} wanted={wanted}")]
    Backward {
        /// The last checkpoint.
        last: Position,
        /// The refused one.
        wanted: Position,
    },
    /// The position lies after the last record that was delivered. Nothing was written.
    #[error("checkpoint is past the delivered records: delivered={delivered} wanted={wanted}")]
    NotDelivered {
        /// The newest position that may be checkpointed.
        delivered: Position,
        /// The refused one.
        wanted: Position,
    },
    /// The store could not be reached, also not by the retries that fit into the lease. The lease may still be held: try
    /// again later.
    #[error("lease store is unavailable")]
    Unavailable(#[source] BoxError),
}

impl CheckpointError {
    /// Whether the same checkpoint can succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why the place where workers agree cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeasingError {
    /// The lease table does not exist and may not be created, or was deleted while the worker ran. Starting over would skip
    /// or repeat records, so the worker stops.
    #[error("lease table does not exist: table={table}")]
    TableMissing {
        /// Its name.
        table: String,
    },
    /// The table is not a lease table of this application: another key, another stream, another mode.
    #[error("lease table cannot be used: table={table} reason={reason}")]
    TableForeign {
        /// Its name.
        table: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The listed shards leave hash keys uncovered, also after retries.
    #[error("shards of the stream do not cover all hash keys: stream={stream}")]
    ShardsIncomplete {
        /// The stream.
        stream: String,
    },
    /// A call failed in a way that trying again does not heal, or kept failing.
    #[error("lease place cannot be reached")]
    Unavailable(#[source] BoxError),
}
