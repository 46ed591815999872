//! Consume a Kinesis Data Stream: every record, in order per shard, at least once.
//!
//! This crate holds the vocabulary (shards, sequence numbers, positions), the pure machines that decide, the [`Worker`] that runs them,
//! and polling. Who reads which shard is agreed behind the port [`leasing::Leases`], which the crate `kcl-lease` implements on a
//! DynamoDB table.
//!
//! ```text
//!  Kinesis ──GetRecords──> RecordSource ──RawRecord under a byte permit──> de-aggregation ──Batch──> RecordProcessor
//!                                                                                                        │ Ok
//!  lease table <──one fenced write, renewal and checkpoint in one── HeldLease <──position── Checkpointer <┘
//! ```
//!
//! # How data flows
//!
//! [`Worker::run`] joins the application and receives a [`leasing::Grant`] for each shard that it shall read. A consumer for that
//! shard opens a [`retrieval::ShardReader`] at the grant's position, takes replies apart, and hands a [`Batch`] at a time to the
//! [`RecordProcessor`]. What the processor has done becomes the checkpoint, which travels with the renewal of the lease.
//!
//! # What it must never do
//!
//! - Move a checkpoint past work that was not done, or backward.
//! - Skip a record because a processor failed.
//! - Hand out a record after the grant's validity, by this host's monotonic clock.
//! - Hold more payload bytes than the budget.
//! - Read time, draw chance or spawn a task but through [`Clock`], seeded generators and [`Tasks`].
//! - Log a payload, a partition key or a credential.
//! - Depend on DynamoDB.

#![forbid(unsafe_code)]

pub mod aggregation;
mod backoff;
mod batch;
mod chain;
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
pub use tasks::{StopOnDrop, Tasks};
pub use worker::{
    BuildError, HaltedShard, RunError, Settings, ShardRef, ShutdownReport, StreamSet, Worker,
    WorkerBuilder, WorkerEvent, builder, shutdown_signal,
};
