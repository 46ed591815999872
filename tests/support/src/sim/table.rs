//! The lease table of a run at either tier, as operators see it and as rest is judged: past faults, always the present.

use std::sync::Arc;

use kcl_core::Position;
use kcl_lease::Lease;
use kcl_lease::store::StoreError;

use super::World;
use super::store::{MemoryTable, Request};
use super::wire::Wire;

/// Where the leases are.
#[derive(Debug, Clone)]
pub(crate) enum Table {
    Memory(MemoryTable),
    Wire(Arc<Wire>),
}

impl Table {
    pub(crate) async fn all(&self) -> Result<Vec<Lease>, StoreError> {
        match self {
            Self::Memory(table) => table.all().await,
            Self::Wire(wire) => Ok(wire.leases()),
        }
    }

    /// An operator deletes a lease as it was just seen.
    pub(crate) async fn delete(&self, world: &World, lease: &Lease) {
        match self {
            Self::Memory(table) => {
                let request = Request::Delete(lease.key.clone(), lease.fence());
                by_hand(table, world, &request).await;
            }
            Self::Wire(wire) => wire.delete(world, lease),
        }
    }

    /// Somebody leaves items in the table that are no leases: on the wire alone, a store's ports know only leases.
    pub(crate) fn strew(&self) {
        if let Self::Wire(wire) = self {
            wire.strew();
        }
    }

    /// An operator frees a lease as it was just seen, and sets its checkpoint back to the beginning.
    pub(crate) async fn rewind(&self, world: &World, lease: &Lease) {
        match self {
            Self::Memory(table) => {
                let (counter, position) = (lease.counter + 1, Position::TrimHorizon);
                let rewound = Lease { owner: None, counter, position, ..lease.clone() };
                by_hand(table, world, &Request::Put(Box::new(rewound))).await;
            }
            Self::Wire(wire) => wire.rewind(world, lease),
        }
    }
}

async fn by_hand(table: &MemoryTable, world: &World, request: &Request) {
    // A memory table does not fail.
    let _ = table.carry_out(world, None, world.log.elapsed(), request).await;
}
