//! Workers that share the shards of a stream, as seen from their consumers and from the lease table.

mod faults;
mod sharing;
mod world;
