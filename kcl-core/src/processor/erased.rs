//! The object-safe twin of [`RecordProcessor`]: one box per call, which is one per batch.

use std::pin::Pin;

use crate::{Batch, RecordProcessor, ShardContext};

/// Any error of a user.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Call<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub(crate) trait ErasedProcessor: Send {
    fn initialize<'a>(&'a mut self, shard: &'a mut ShardContext) -> Call<'a, Result<(), BoxError>>;

    fn process_records<'a>(
        &'a mut self,
        batch: Batch,
        shard: &'a mut ShardContext,
    ) -> Call<'a, Result<(), BoxError>>;

    fn shard_ended<'a>(&'a mut self, shard: &'a mut ShardContext)
    -> Call<'a, Result<(), BoxError>>;

    fn shutdown_requested<'a>(
        &'a mut self,
        shard: &'a mut ShardContext,
    ) -> Call<'a, Result<(), BoxError>>;

    fn lease_lost(&mut self) -> Call<'_, ()>;
}

impl<P: RecordProcessor> ErasedProcessor for P {
    fn initialize<'a>(&'a mut self, shard: &'a mut ShardContext) -> Call<'a, Result<(), BoxError>> {
        Box::pin(async { RecordProcessor::initialize(self, shard).await.map_err(Into::into) })
    }

    fn process_records<'a>(
        &'a mut self,
        batch: Batch,
        shard: &'a mut ShardContext,
    ) -> Call<'a, Result<(), BoxError>> {
        Box::pin(async {
            RecordProcessor::process_records(self, batch, shard).await.map_err(Into::into)
        })
    }

    fn shard_ended<'a>(
        &'a mut self,
        shard: &'a mut ShardContext,
    ) -> Call<'a, Result<(), BoxError>> {
        Box::pin(async { RecordProcessor::shard_ended(self, shard).await.map_err(Into::into) })
    }

    fn shutdown_requested<'a>(
        &'a mut self,
        shard: &'a mut ShardContext,
    ) -> Call<'a, Result<(), BoxError>> {
        Box::pin(async {
            RecordProcessor::shutdown_requested(self, shard).await.map_err(Into::into)
        })
    }

    fn lease_lost(&mut self) -> Call<'_, ()> {
        Box::pin(RecordProcessor::lease_lost(self))
    }
}
