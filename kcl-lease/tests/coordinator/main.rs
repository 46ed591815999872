//! Workers that share the shards of a stream, as seen from their consumers and from the lease table.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests")]

mod deletion;
mod failing;
mod faults;
mod handoff;
mod java;
mod kinesis;
mod listing;
mod litter;
mod log;
mod resharding;
mod seeds;
mod sharing;
mod streams;
mod twins;
mod world;
