//! Shares the shards of Kinesis streams among workers through one lease table, in the format of the Java KCL 2.x.
//!
//! A lease is one item per shard: who reads it, how far, and a counter that grows with every write. Every worker watches
//! the counters, plans alone, and writes under the condition that nobody wrote before; there is no leader.
//!
//! ```text
//!                  scan                                        grants
//!   LeaseStore ───────────> view ──┬─> assign ─┐                 ┌──> consumer of a shard
//!     memory        ListShards ────┴─> sync ───┤    coordinator ─┤         │ watermark, checkpoint,
//!     DynamoDB                                 └──> executes     └── keeper <┘ end, release
//!        ^                                             │                │
//!        └──────────── conditional writes ─────────────┴────────────────┘
//! ```
//!
//! - `view`: what this worker has observed, and when, on its own monotonic clock. `assign` (which leases to take) and
//!   `sync` (which leases are missing, which are done with) are pure plans on it.
//! - `keeper`: the only writer of a held lease; a renewal and a checkpoint are the same write.
//! - [`store`]: the port to the table, in memory and in DynamoDB; `item` is the form of a lease there. `calls`: the store as
//!   one worker calls it, bounded in time and in number.
//!
//! What must never happen here:
//!
//! - A write without a fence: each is conditional on the counter and owner that were seen, or on the lease's absence.
//! - A judgement by another host's clock: a holder counts as dead when this worker saw its counter stand still for a lease
//!   duration, and a holder gives up *before* that, counted from the start of its last write that succeeded.
//! - A checkpoint that moves backward, or `SHARD_END` before the children's leases exist. (A merged shard whose other parent
//!   has no lease yet is left to the end of that parent.)
//! - A lease lost to a lost response: an unclear write is read back and recognised by its own fence and content.
//! - A shard started before its parents have ended.
//! - Progress that is there under other keys (another mode, a stream that was made anew) taken for none: such a table is refused.

#![forbid(unsafe_code)]

mod assign;
mod calls;
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

/// The program on the README's first screen compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
