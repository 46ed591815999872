//! The store as a worker calls it: every call ends in time and is counted, and only so many run at once.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use kcl_core::leasing::Member;
use kcl_core::metrics::{self, Metric, Metrics};
use kcl_core::{Clock, StreamId, WorkerId};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::store::{Change, Consistency, LeaseStore, Outcome, Scan, StoreError, StoreErrorKind};
use crate::{Fence, Lease, LeaseKey};

/// Calls to the store. Each is given up at an instant, and may have had effects then. Clones share the turns.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    store: Arc<dyn LeaseStore>,
    clock: Clock,
    metrics: Arc<dyn Metrics>,
    turns: Arc<Semaphore>,
    /// The one stream, of which new leases carry the name, as their keys do not.
    stream: Option<StreamId>,
}

impl Calls {
    /// The calls of a member to its store.
    pub(crate) fn new(store: Arc<dyn LeaseStore>, member: &Member) -> Self {
        let stream = match member.streams.as_slice() {
            [(stream, _)] => Some(stream.id.clone()),
            _ => None,
        };
        Self {
            store,
            clock: member.clock.clone(),
            metrics: member.metrics.clone(),
            turns: Arc::new(Semaphore::new(TURNS)),
            stream,
        }
    }

    /// What the store is called.
    pub(crate) fn name(&self) -> &str {
        self.store.name()
    }

    pub(crate) async fn scan(
        &self,
        consistency: Consistency,
        until: Instant,
    ) -> Result<Scan, StoreError> {
        self.count(metrics::LEASE_SCANS);
        self.bounded("Scan", until, self.store.scan(consistency)).await
    }

    pub(crate) async fn read(
        &self,
        key: &LeaseKey,
        until: Instant,
    ) -> Result<Option<Lease>, StoreError> {
        let _turn = self.turn("GetItem", until).await?;
        self.bounded("GetItem", until, self.store.read(key)).await
    }

    pub(crate) async fn create(&self, lease: &Lease, until: Instant) -> Result<bool, StoreError> {
        let _turn = self.turn("PutItem", until).await?;
        self.count(metrics::LEASE_WRITES);
        let lease = Lease { stream: self.stream.clone(), ..lease.clone() };
        let created = self.bounded("PutItem", until, self.store.create(&lease)).await?;
        if created {
            self.count(metrics::LEASES_CREATED);
            tracing::info!(lease = %lease.key, position = %lease.position, "created a lease");
        }
        Ok(created)
    }

    pub(crate) async fn update(
        &self,
        key: &LeaseKey,
        fence: &Fence,
        change: &Change,
        until: Instant,
    ) -> Result<Outcome, StoreError> {
        let _turn = self.turn("UpdateItem", until).await?;
        self.count(metrics::LEASE_WRITES);
        self.bounded("UpdateItem", until, self.store.update(key, fence, change)).await
    }

    pub(crate) async fn ask(
        &self,
        seen: &Lease,
        to: Option<&WorkerId>,
        until: Instant,
    ) -> Result<Outcome, StoreError> {
        let _turn = self.turn("UpdateItem", until).await?;
        self.count(metrics::LEASE_WRITES);
        self.bounded("UpdateItem", until, self.store.ask(seen, to)).await
    }

    pub(crate) async fn delete(
        &self,
        key: &LeaseKey,
        fence: &Fence,
        until: Instant,
    ) -> Result<Outcome, StoreError> {
        let _turn = self.turn("DeleteItem", until).await?;
        self.count(metrics::LEASE_WRITES);
        let outcome = self.bounded("DeleteItem", until, self.store.delete(key, fence)).await?;
        if outcome == Outcome::Applied {
            self.count(metrics::LEASES_DELETED);
        }
        Ok(outcome)
    }

    /// Without a turn in time the call is never sent.
    async fn turn(
        &self,
        operation: &'static str,
        until: Instant,
    ) -> Result<Option<SemaphorePermit<'_>>, StoreError> {
        tokio::select! {
            biased;
            // None when the turns were closed, which nobody does.
            turn = self.turns.acquire() => Ok(turn.ok()),
            () = self.clock.sleep_until(until) => {
                Err(StoreError::new(operation, StoreErrorKind::Throttled, "no turn in time"))
            }
        }
    }

    async fn bounded<T>(
        &self,
        operation: &'static str,
        until: Instant,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            biased;
            result = call => result,
            () = self.clock.sleep_until(until) => {
                Err(StoreError::new(operation, StoreErrorKind::Unavailable, "no answer in time"))
            }
        }
    }

    fn count(&self, metric: Metric) {
        self.metrics.record(metric, None, 1.0);
    }
}

/// Calls for single leases that run at once: each costs a connection and the SDK's buffers. So many keep 1,000 leases of
/// 10 s renewed though each call takes 90 ms.
const TURNS: usize = 32;
