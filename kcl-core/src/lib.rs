//! Core.

#![forbid(unsafe_code)]

pub mod aggregation;
mod backoff;
mod clock;
mod hash_range;
mod ids;
pub mod kinesis;
pub mod leasing;
pub mod metrics;
mod record;
pub mod retrieval;
mod sequence;
mod shard;
mod tasks;

pub use backoff::Backoff;
pub use clock::Clock;
pub use hash_range::{HashRange, InvalidHashRange};
pub use ids::{
    ApplicationName, InvalidName, ShardId, Stream, StreamAddress, StreamId, StreamName, WorkerId,
};
pub use record::{Aggregation, RawRecord, Record};
pub use sequence::{InvalidSequenceNumber, Position, SequenceNumber, StartFrom, StartingPosition};
pub use shard::{ChildShard, Shard};
pub use tasks::{StopOnDrop, Tasks};
