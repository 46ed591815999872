//! Reads one shard and hands its records to the processor, for as long as the lease lasts.
//!
//! ```text
//! ShardReader ──Fetched──> (one slot) ──> Intake: de-aggregate, filter ──Batch──> Task ──> RecordProcessor
//!   driven by Ahead, under a byte permit                                           │ └─> Checkpointer ─> lease
//!                                                              events │ ^ commands
//!                                                                     v │
//!                                                                   Machine (pure)
//! ```
//!
//! The machine decides, the task does. The consumer never asks who owns the lease; before each call it looks whether its
//! grant is still good, and it stops when the grant is revoked.

mod ahead;
mod calls;
mod intake;
mod machine;
mod start;
mod task;

pub(crate) use calls::panic_message;
pub(crate) use machine::Outcome;
pub(crate) use task::{Consumer, ConsumerSettings, Finished};
