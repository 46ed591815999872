//! Leases.

#![forbid(unsafe_code)]

mod item;
mod lease;
pub mod store;

pub use lease::{Fence, Lease, LeaseKey};
