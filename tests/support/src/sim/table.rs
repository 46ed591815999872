//! The lease table of a run at either tier, as operators see it and as rest is judged: past faults, always the present.

use std::sync::Arc;

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
        let issued = world.log.elapsed();
        match self {
            Self::Memory(table) => {
                let request = Request::Delete(lease.key.clone(), lease.fence());
                // A memory table does not fail.
                let _ = table.carry_out(world, None, issued, &request).await;
            }
            Self::Wire(wire) => wire.delete(world, lease),
        }
    }
}
