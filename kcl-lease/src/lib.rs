//! Leases.

#![forbid(unsafe_code)]

mod assign;
mod bounded;
mod coordinator;
mod dynamo_leases;
mod item;
mod keeper;
mod lease;
pub mod store;
mod sync;
#[cfg(test)]
mod testing;
mod view;

pub use coordinator::StoreLeases;
pub use dynamo_leases::DynamoLeases;
pub use lease::{Fence, Lease, LeaseKey};
pub use store::{TablePolicy, TableSpec};
