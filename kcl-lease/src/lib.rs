//! Leases.

#![forbid(unsafe_code)]

mod assign;
mod bounded;
mod coordinator;
mod item;
mod keeper;
mod lease;
pub mod store;
mod sync;
#[cfg(test)]
mod testing;
mod view;

pub use coordinator::StoreLeases;
pub use lease::{Fence, Lease, LeaseKey};
