//! One lease in memory that can be taken away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kcl_core::leasing::{
    CheckpointError, Grant, HeldLease, LeaseControl, LeaseEvent, Leases, LeasingError, Member,
    Membership, PendingCheckpoint, Release,
};
use kcl_core::{ChildShard, Clock, Position, ShardId, StartFrom, Stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The place where the harness's worker gets its one lease. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct OneLease(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    position: Position,
    pending: Option<PendingCheckpoint>,
    children: Vec<ChildShard>,
    token: u64,
    held: Option<CancellationToken>,
    events: Option<mpsc::Sender<LeaseEvent>>,
}

impl OneLease {
    pub(super) fn new(position: Position) -> Self {
        Self(Arc::new(Mutex::new(State {
            position,
            pending: None,
            children: Vec::new(),
            token: 0,
            held: None,
            events: None,
        })))
    }

    /// The durable checkpoint.
    pub(super) fn position(&self) -> Position {
        self.lock().position.clone()
    }

    /// The children that were named at the shard's end.
    pub(super) fn children(&self) -> Vec<ChildShard> {
        self.lock().children.clone()
    }

    /// Takes the lease away; false when it is not held.
    pub(super) fn lose(&self) -> bool {
        self.lock().held.take().inspect(CancellationToken::cancel).is_some()
    }

    /// Hands the lease to the worker; false when it is held, or has ended.
    pub(super) async fn grant(&self, clock: &Clock, stream: &Stream, shard: &ShardId) -> bool {
        let (events, grant) = {
            let mut state = self.lock();
            let Some(events) = state.events.clone() else {
                return false;
            };
            if state.held.is_some() || state.position == Position::ShardEnd {
                return false;
            }
            state.token += 1;
            let lost = CancellationToken::new();
            state.held = Some(lost.clone());
            let (place, clock, token) = (self.clone(), clock.clone(), state.token);
            let grant = Grant {
                stream: stream.clone(),
                shard: shard.clone(),
                hash_range: None,
                position: state.position.clone(),
                started_at: None,
                pending: state.pending.clone(),
                lease: Arc::new(Held {
                    place,
                    token,
                    lost,
                    wanted: CancellationToken::new(),
                    clock,
                }),
            };
            (events, grant)
        };
        events.send(LeaseEvent::Granted(Box::new(grant))).await.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Leases for OneLease {
    async fn join(&self, _: Member) -> Result<Membership, LeasingError> {
        let (sender, events) = mpsc::channel(4);
        self.lock().events = Some(sender);
        Ok(Membership { events, control: Arc::new(self.clone()) })
    }
}

#[async_trait]
impl LeaseControl for OneLease {
    fn stop_taking(&self) {}

    fn read_streams(&self, _: Vec<(Stream, StartFrom)>) {}

    async fn leave(&self, _: Instant) -> usize {
        let mut state = self.lock();
        state.held = None;
        state.events = None;
        0
    }
}

#[derive(Debug)]
struct Held {
    place: OneLease,
    token: u64,
    lost: CancellationToken,
    wanted: CancellationToken,
    clock: Clock,
}

impl Held {
    /// Changes the lease if it is still this one.
    fn write(&self, change: impl FnOnce(&mut State)) -> Result<(), CheckpointError> {
        let mut state = self.place.lock();
        if self.lost.is_cancelled() || state.token != self.token || state.held.is_none() {
            return Err(CheckpointError::LeaseLost);
        }
        change(&mut state);
        Ok(())
    }
}

#[async_trait]
impl HeldLease for Held {
    fn fencing_token(&self) -> u64 {
        self.token
    }

    fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    fn wanted(&self) -> &CancellationToken {
        &self.wanted
    }

    fn valid_until(&self) -> Instant {
        self.clock.now() + Duration::from_secs(3600)
    }

    fn advance(&self, watermark: Position) {
        // Lost meanwhile: then it does not count.
        let _ = self.write(|state| state.position = watermark.max(state.position.clone()));
    }

    async fn checkpoint(&self, position: Position) -> Result<(), CheckpointError> {
        self.write(|state| {
            state.position = position.max(state.position.clone());
            state.pending = None;
        })
    }

    async fn prepare(&self, pending: PendingCheckpoint) -> Result<(), CheckpointError> {
        self.write(|state| state.pending = Some(pending))
    }

    async fn end(&self, children: Vec<ChildShard>) -> Result<(), CheckpointError> {
        self.write(|state| {
            state.position = Position::ShardEnd;
            state.children = children;
            state.held = None;
        })
    }

    async fn release(&self, _: Release) -> Result<(), CheckpointError> {
        self.write(|state| state.held = None)
    }
}
