//! Where leases are kept. One vocabulary for all stores: a conditional write is `Applied`, a `Conflict` with what is there
//! now, or `Missing`; a conflict is a value, not an error.
//!
//! A store makes one request per method, without retrying: only the caller knows whether a repeated write is still right.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use kcl_core::leasing::PendingCheckpoint;
use kcl_core::{Position, ShardId, WorkerId};

use crate::{Fence, Lease, LeaseKey};

pub mod contract;
mod dynamo;
mod error;
mod memory;
mod table;

pub use dynamo::DynamoStore;
pub use error::{StoreError, StoreErrorKind};
pub use memory::MemoryStore;
pub use table::{TablePolicy, TableSpec};

/// Keeps the leases of one application. Every method is one request, except [`scan`](Self::scan), which pages.
#[async_trait]
pub trait LeaseStore: Send + Sync + fmt::Debug + 'static {
    /// What the place is called, for messages.
    fn name(&self) -> &str;

    /// Makes the place usable: checks it, or creates it where that is allowed. Safe to call from many workers at once.
    ///
    /// # Errors
    /// When it is missing and may not be created, foreign, or not reachable.
    async fn prepare(&self) -> Result<(), kcl_core::leasing::LeasingError>;

    /// All leases, as of no single moment: pages may be torn and, unless [`Consistency::Strong`] is asked for, a little
    /// stale.
    ///
    /// # Errors
    /// See [`StoreErrorKind`]; an unreadable item is not an error.
    async fn scan(&self, consistency: Consistency) -> Result<Scan, StoreError>;

    /// One lease as it is now (strongly consistent); `None` when there is none. An unreadable item is an error.
    ///
    /// # Errors
    /// See [`StoreErrorKind`].
    async fn read(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError>;

    /// Writes a new lease unless one with this key exists; says whether it did.
    ///
    /// # Errors
    /// See [`StoreErrorKind`].
    async fn create(&self, lease: &Lease) -> Result<bool, StoreError>;

    /// Changes a lease, and counts its counter up by one, if counter and owner are still those of `fence`; with
    /// [`hands_over`](Change::hands_over) also only if the new owner is still the one that asks. Touches no attribute that `change` does not name, known or foreign.
    ///
    /// # Errors
    /// See [`StoreErrorKind`]. After an error that may have had effects, read the lease back before judging.
    async fn update(
        &self,
        key: &LeaseKey,
        fence: &Fence,
        change: &Change,
    ) -> Result<Outcome, StoreError>;

    /// Asks the owner of a lease for it, on behalf of this worker, or takes the request back (`None`): sets or removes
    /// [`handoff_to`](Lease::handoff_to) if counter, owner and request are still those of `seen`. Changes nothing else, so that
    /// the owner's next write still applies.
    ///
    /// # Errors
    /// See [`StoreErrorKind`].
    async fn ask(&self, seen: &Lease, to: Option<&WorkerId>) -> Result<Outcome, StoreError>;

    /// Deletes a lease if counter and owner are still those of `fence`.
    ///
    /// # Errors
    /// See [`StoreErrorKind`].
    async fn delete(&self, key: &LeaseKey, fence: &Fence) -> Result<Outcome, StoreError>;
}

/// How much a scan sees of what was just written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// What was written in the last second may be missing. Half the price.
    Eventual,
    /// Everything that was written before the scan began.
    Strong,
}

/// What a scan found.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The readable leases, by key.
    pub leases: Vec<Lease>,
    /// Items that look like leases but cannot be read, by key and reason. They are left alone.
    pub unreadable: Vec<(String, String)>,
    /// How many items are no leases at all: what the Java KCL 3.x keeps in the same table. They are left alone.
    pub foreign: usize,
}

/// What a conditional write did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It applied. The lease is now as the change says, its counter higher by one and the stride.
    Applied,
    /// Somebody wrote before; nothing was changed. The lease as it is now, where the store knows it.
    Conflict(Option<Box<Lease>>),
    /// There is no such lease; nothing was written.
    Missing,
}

/// What an update changes; `None` leaves as it is. The default change only renews.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// How much more than one the counter grows. Each process has a number of its own, and so knows its writes from those of
    /// another process with the same worker id, when the answer was lost.
    pub stride: u16,
    /// The new owner; `Some(None)` frees the lease. A change to another worker counts `owner_switches` up. Any change ends a
    /// request to hand over.
    pub owner: Option<Option<WorkerId>>,
    /// With a new owner: it hands over on request, and is noted as [`cooperator`](Lease::cooperator).
    pub cooperates: bool,
    /// With a new owner: applies only if [`handoff_to`](Lease::handoff_to) names it.
    pub hands_over: bool,
    /// The new checkpoint. Sets `owner_switches` to 0, and clears a pending checkpoint unless `pending` sets one.
    pub position: Option<Position>,
    /// A prepared checkpoint to announce.
    pub pending: Option<PendingCheckpoint>,
    /// The shards that follow this one.
    pub children: Option<BTreeSet<ShardId>>,
}

impl Change {
    /// Gives the lease up: to the worker that asks for it, or to nobody.
    pub(crate) fn give_to(&mut self, asker: Option<&WorkerId>) {
        self.owner = Some(asker.cloned());
        (self.cooperates, self.hands_over) = (true, asker.is_some());
    }

    /// The lease as this change leaves it.
    #[must_use]
    pub fn apply_to(&self, lease: &Lease) -> Lease {
        let mut next = lease.clone();
        next.counter += self.step();
        if self.switches_owner(lease.owner.as_ref()) {
            next.owner_switches += 1;
        }
        if let Some(owner) = &self.owner {
            next.owner.clone_from(owner);
            next.handoff_to = None;
            if self.cooperates {
                next.cooperator.clone_from(owner);
            }
        }
        if let Some(position) = &self.position {
            next.position = position.clone();
            next.has_progressed |= position.has_progressed();
            next.owner_switches = 0;
            next.pending = None;
        }
        if let Some(pending) = &self.pending {
            next.pending = Some(pending.clone());
        }
        if let Some(children) = &self.children {
            next.children.clone_from(children);
        }
        next
    }

    /// Whether it may apply to the lease as it is, beside the fence.
    pub(crate) fn fits(&self, lease: &Lease) -> bool {
        !self.hands_over || self.owner.as_ref() == Some(&lease.handoff_to)
    }

    /// What the counter grows by.
    pub(crate) fn step(&self) -> u64 {
        1 + u64::from(self.stride)
    }

    /// Whether the lease goes from the worker `before` to another; to and from free does not count (Java KCL: `takeLease`).
    fn switches_owner(&self, before: Option<&WorkerId>) -> bool {
        let after = self.owner.as_ref().and_then(Option::as_ref);
        before.is_some() && after.is_some() && before != after
    }
}
