//! Joins a worker to the others: looks at the leases, plans, and executes the plans by conditional writes.
//!
//! ```text
//!            every scan interval, at the next expiry            every sync interval, and when hash keys are uncovered
//!   store ────────── scan ──────────> View ──────────────────────────────> sync plan ──> create (conditional)
//!     ^                                │  ^                                                     │
//!     │                                v  └───────────────── what was created ──────────────────┘
//!     │                         assignment plan              what became of a kept lease
//!     │                                │  ^                             │
//!     └─ take, ask, steal (condit.) <──┘  └── replan at once ── Keeper (one per held lease) <── HeldLease ── consumer
//! ```
//! One task owns the view and plans; takes run side by side, but at most [`WIDTH`] at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use kcl_core::leasing::{LeaseControl, Leases, LeasingError, Member, Membership};
use kcl_core::{Clock, StartFrom, Stream, StreamId};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::Lease;
use crate::calls::Calls;
use crate::keeper::{Exit, Keeping};
use crate::store::LeaseStore;

mod act;
mod aside;
mod changes;
mod handoffs;
mod heed;
mod run;
mod streams;
mod survey;
mod surveys;
mod take;

use run::Coordinator;
use streams::Streams;
use survey::{Survey, Surveyed};

/// Joins a worker and starts its loops on the member's tasks. A new application's first leases exist when this returns.
///
/// # Errors
/// When the store cannot be used, holds the leases of something else, or the shards of a new application cannot be listed,
/// also not by retries.
pub(crate) async fn join(
    store: Arc<dyn LeaseStore>,
    member: Member,
) -> Result<Membership, LeasingError> {
    store.prepare().await?;
    let (inbox, messages) = mpsc::channel(MESSAGES);
    let (events, received) = mpsc::channel(EVENTS);
    let control = Arc::new(Control {
        inbox: inbox.clone(),
        clock: member.clock.clone(),
        taking: AtomicBool::new(true),
        leaving: CancellationToken::new(),
        held: AtomicUsize::new(0),
        streams: Mutex::default(),
        streams_changed: Notify::new(),
    });
    let keeping = Arc::new(Keeping {
        calls: Calls::new(store, &member),
        timing: member.timing,
        stride: fastrand::Rng::with_seed(!member.seed).u16(..),
        clock: member.clock.clone(),
        tasks: member.tasks.clone(),
        inbox,
    });
    let tasks = member.tasks.clone();
    let coordinator = Coordinator::new(member, keeping, control.clone(), events);
    let coordinator = coordinator.begin().await?;
    tasks.spawn(coordinator.run(messages));
    Ok(Membership { events: received, control })
}

/// Leases in any store: the memory store, or a decorator of one.
#[derive(Debug, Clone)]
pub struct StoreLeases {
    store: Arc<dyn LeaseStore>,
}

impl StoreLeases {
    /// Shares the shards through this store.
    pub fn new(store: impl LeaseStore) -> Self {
        let store = Arc::new(store);
        Self { store }
    }
}

#[async_trait]
impl Leases for StoreLeases {
    async fn join(&self, member: Member) -> Result<Membership, LeasingError> {
        join(self.store.clone(), member).await
    }
}

/// What the coordinator is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// A lease is no longer kept.
    Exited(Box<Exit>),
    /// The shards of a stream were compared with its leases.
    Surveyed(Surveyed),
    /// An added stream has leases now: those that were created here, unless another worker had begun.
    Founded(StreamId, Option<Vec<Lease>>),
    /// Free everything and end; answer how many leases could not be freed.
    Leave(oneshot::Sender<usize>),
}

/// See [`LeaseControl`].
#[derive(Debug)]
pub(crate) struct Control {
    inbox: mpsc::Sender<Message>,
    clock: Clock,
    taking: AtomicBool,
    leaving: CancellationToken,
    held: AtomicUsize,
    /// The streams to read from now on, until the coordinator has taken note.
    streams: Mutex<Option<Vec<(Stream, StartFrom)>>>,
    streams_changed: Notify,
}

impl Control {
    fn changed_streams(&self) -> Option<Vec<(Stream, StartFrom)>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl LeaseControl for Control {
    fn stop_taking(&self) {
        self.taking.store(false, Ordering::SeqCst);
    }

    fn read_streams(&self, streams: Vec<(Stream, StartFrom)>) {
        *self.streams.lock().unwrap_or_else(PoisonError::into_inner) = Some(streams);
        self.streams_changed.notify_one();
    }

    async fn leave(&self, deadline: Instant) -> usize {
        self.stop_taking();
        self.leaving.cancel();
        let (waiter, answer) = oneshot::channel();
        let leave = async {
            // When the coordinator has ended before, nothing is held.
            let _ = self.inbox.send(Message::Leave(waiter)).await;
            answer.await.unwrap_or(0)
        };
        tokio::select! {
            biased;
            unfreed = leave => unfreed,
            // What is still under way may leave a lease behind.
            () = self.clock.sleep_until(deadline) => self.held.load(Ordering::SeqCst).max(1),
        }
    }
}

impl Control {
    fn is_taking(&self) -> bool {
        self.taking.load(Ordering::SeqCst)
    }
}

/// Takes, or creations of a survey, under way at once.
const WIDTH: usize = 16;
/// Messages that may wait; keepers wait when there are more.
const MESSAGES: usize = 1024;
/// Events that may wait for the worker.
const EVENTS: usize = 1024;
