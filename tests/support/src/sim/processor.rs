//! A processor that writes down what it gets, and is slow, fails, panics or hangs by chance.

use std::sync::Arc;

use kcl_core::{Batch, Record, RecordProcessor, ShardContext};

use super::World;
use super::history::{Life, Seen, What};
use super::weather::Mood;

pub(crate) struct SimProcessor {
    pub(crate) world: Arc<World>,
    pub(crate) life: Life,
}

/// Planned trouble.
#[derive(Debug, thiserror::Error)]
#[error("planned failure")]
pub(crate) struct Planned;

impl SimProcessor {
    async fn act(&self, shard: &ShardContext) -> Result<(), Planned> {
        let World { log, weather, .. } = &*self.world;
        let fail = |word| log.on(shard.shard_id(), What::Failed(self.life, word));
        match weather.mood() {
            Mood::Good => Ok(()),
            Mood::Slow(span) => {
                tokio::time::sleep(span).await;
                Ok(())
            }
            Mood::Fails => {
                fail("fails");
                Err(Planned)
            }
            Mood::Panics => {
                fail("panics");
                // Past the panic hook, which counts the panics that nobody planned.
                std::panic::resume_unwind(Box::new("planned panic"))
            }
            Mood::Hangs => {
                fail("hangs");
                std::future::pending().await
            }
        }
    }
}

impl RecordProcessor for SimProcessor {
    type Error = Planned;

    async fn initialize(&mut self, shard: &mut ShardContext) -> Result<(), Planned> {
        self.act(shard).await
    }

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), Planned> {
        let id = shard.shard_id().clone();
        let log = &self.world.log;
        log.on(&id, What::Delivered(self.life, batch.iter().filter_map(seen).collect()));
        self.act(shard).await?;
        if let [first, ..] = batch.records()
            && let [.., last] = batch.records()
        {
            log.on(&id, What::Done(self.life, first.position(), last.position()));
        }
        Ok(())
    }

    async fn shard_ended(&mut self, shard: &mut ShardContext) -> Result<(), Planned> {
        self.act(shard).await
    }
}

/// Payloads are `key:nth`.
fn seen(record: &Record) -> Option<Seen> {
    let (key, nth) = std::str::from_utf8(record.data()).ok()?.split_once(':')?;
    Some(Seen { position: record.position(), key: key.parse().ok()?, nth: nth.parse().ok()? })
}
