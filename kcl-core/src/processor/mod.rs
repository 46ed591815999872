//! What a user implements: the processor of one shard's records.

mod context;
mod erased;

use std::future::Future;

pub use context::ShardContext;
pub(crate) use erased::{BoxError, ErasedProcessor};

use crate::Batch;

/// Processes the records of one shard.
///
/// Each shard that a worker holds has its own processor, made when the lease is granted and dropped when it is gone. Calls
/// for one shard come one after the other; shards run side by side.
///
/// ```text
/// initialize ─> process_records* ─┬─> shard_ended            the shard is closed and all of it was delivered
///                                 ├─> shutdown_requested     the worker stops, or hands the shard over
///                                 └─> lease_lost             another worker may already read the shard
/// ```
///
/// Implementors write plain `async fn`s:
///
/// ```
/// use kcl_core::{Batch, RecordProcessor, ShardContext};
///
/// struct Orders;
///
/// impl RecordProcessor for Orders {
///     type Error = std::io::Error;
///
///     async fn process_records(&mut self, batch: Batch, shard: &mut ShardContext) -> Result<(), Self::Error> {
///         for record in &batch {
///             println!("{} {} bytes", shard.shard_id(), record.data().len());
///         }
///         Ok(()) // everything in this batch is done
///     }
/// }
/// ```
pub trait RecordProcessor: Send + 'static {
    /// Why a call failed. See [`FailurePolicy`](crate::FailurePolicy) for what follows.
    type Error: Into<BoxError> + Send;

    /// Called once, before the first record. Tried again like a batch when it fails.
    fn initialize(
        &mut self,
        shard: &mut ShardContext,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = shard;
        async { Ok(()) }
    }

    /// Processes a batch. `Ok` means that everything in it is done (unless checkpoints are
    /// [manual](crate::Checkpoint::manual)); `Err` or a panic means that it comes again.
    fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The shard is closed and every record was delivered. `Ok` means that all of them are done: the framework then writes
    /// the end of the shard, and its children start. Tried again like a batch when it fails.
    fn shard_ended(
        &mut self,
        shard: &mut ShardContext,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = shard;
        async { Ok(()) }
    }

    /// The worker stops. The last chance to finish and to checkpoint; an error is logged.
    fn shutdown_requested(
        &mut self,
        shard: &mut ShardContext,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = shard;
        async { Ok(()) }
    }

    /// The lease is gone. There is no context here, because nothing can be checkpointed any more: the next owner repeats what
    /// was not durable.
    fn lease_lost(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}
