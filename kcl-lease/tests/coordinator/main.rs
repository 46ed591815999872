//! Workers that share the shards of a stream, as seen from their consumers and from the lease table.

mod failing;
mod faults;
mod resharding;
mod sharing;
mod world;
