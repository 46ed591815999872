//! Core.

#![forbid(unsafe_code)]

pub mod aggregation;
mod backoff;
mod batch;
mod checkpoint;
mod clock;
mod consumer;
mod failure;
mod hash_range;
mod ids;
pub mod kinesis;
pub mod leasing;
pub mod metrics;
mod processor;
mod record;
pub mod retrieval;
mod sequence;
mod shard;
mod shard_graph;
mod tasks;
mod worker;

pub use backoff::Backoff;
pub use batch::Batch;
pub use checkpoint::{Checkpoint, Checkpointer, PreparedCheckpoint};
pub use clock::Clock;
pub use failure::FailurePolicy;
pub use hash_range::{HashRange, InvalidHashRange};
pub use ids::{
    ApplicationName, InvalidName, ShardId, Stream, StreamAddress, StreamId, StreamName, WorkerId,
};
pub use processor::{RecordProcessor, ShardContext};
pub use record::{Aggregation, RawRecord, Record};
pub use sequence::{InvalidSequenceNumber, Position, SequenceNumber, StartFrom, StartingPosition};
pub use shard::{ChildShard, Shard};
pub use shard_graph::ShardGraph;
pub use tasks::{StopOnDrop, Tasks};
pub use worker::{
    BuildError, HaltedShard, RunError, Settings, ShardRef, ShutdownReport, Worker, WorkerBuilder,
    WorkerEvent, builder, shutdown_signal,
};
