//! A processor that writes down what it gets, and is slow, fails, panics or hangs by chance. Where checkpoints are its own
//! task, it makes them at records, in one phase or two, and not for every batch. A rash one asks for checkpoints that it has
//! not earned.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::{Batch, Position, Record, RecordProcessor, ShardContext};

use super::World;
use super::calls::Calls;
use super::history::{Life, Seen, What};
use super::schedule::Checkpoints;
use super::weather::Mood;

pub(crate) struct SimProcessor {
    world: Arc<World>,
    life: Life,
    calls: Calls,
    rng: fastrand::Rng,
}

/// Planned trouble.
#[derive(Debug, thiserror::Error)]
#[error("planned failure")]
pub(crate) struct Planned;

impl SimProcessor {
    pub(crate) fn new(world: Arc<World>, life: Life, calls: Calls, seed: u64) -> Self {
        Self { world, life, calls, rng: fastrand::Rng::with_seed(seed) }
    }

    async fn act(&self, shard: &ShardContext) -> Result<(), Planned> {
        let World { log, weather, .. } = &*self.world;
        let fail = |word| log.on(shard.shard_id(), What::Failed(self.life, word));
        match weather.mood(shard.shard_id(), log.elapsed()) {
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

    /// Does a part of the batch, and says so by a checkpoint.
    async fn checkpoint_within(&mut self, batch: &Batch, shard: &ShardContext) {
        let records = batch.records();
        let last = &records[self.rng.usize(0..records.len())];
        let done = What::Done(self.life, records[0].position(), last.position());
        self.world.log.on(shard.shard_id(), done);
        let checkpointer = shard.checkpointer();
        // A checkpoint that is not made is made by a later one, or the records come again.
        let made = if self.rng.bool() {
            checkpointer.checkpoint_at(last).await.is_ok()
        } else if let Ok(prepared) = checkpointer.prepare_at(last, None).await
            && self.rng.u32(0..4) > 0
        {
            prepared.commit().await.is_ok()
        } else {
            false
        };
        if made {
            let durable = What::Checkpointed(self.life, last.position());
            self.world.log.on(shard.shard_id(), durable);
        }
    }

    /// Asks for a checkpoint past what it was given, which is to be refused.
    async fn checkpoint_beyond(&mut self, batch: &Batch, shard: &ShardContext) {
        if let [.., last] = batch.records()
            && let Position::Sequence { number, sub } = last.position()
        {
            let _ = shard.checkpointer().checkpoint_at_sequence(number, sub + 1).await;
        }
    }

    /// After a batch that failed: asks for a checkpoint of everything that counts as delivered, while no call runs. The
    /// failed batch is not to be a part of it.
    fn checkpoint_later(&mut self, shard: &ShardContext) {
        let (calls, shard_id) = (self.calls.clone(), shard.shard_id().clone());
        let checkpointer = shard.checkpointer().clone();
        let delay = Duration::from_millis(self.rng.u64(1..80));
        self.calls.tasks.spawn(async move {
            tokio::time::sleep(delay).await;
            if !calls.is_running(&shard_id) {
                let _ = checkpointer.checkpoint().await;
            }
        });
    }

    fn is_manual(&self) -> bool {
        self.world.settings.checkpoint == Checkpoints::Manual
    }
}

impl RecordProcessor for SimProcessor {
    type Error = Planned;

    async fn initialize(&mut self, shard: &mut ShardContext) -> Result<(), Planned> {
        let _running = self.calls.begin(shard.shard_id());
        self.act(shard).await
    }

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), Planned> {
        let id = shard.shard_id().clone();
        let _running = self.calls.begin(&id);
        let delivered = batch.iter().filter_map(|record| self.world.seen(record)).collect();
        self.world.log.on(&id, What::Delivered(self.life, delivered));
        if self.is_manual() && self.rng.bool() {
            self.checkpoint_within(&batch, shard).await;
        }
        let is_rash = self.world.settings.rash;
        if is_rash && self.rng.u32(0..8) == 0 {
            self.checkpoint_beyond(&batch, shard).await;
        }
        let acted = self.act(shard).await;
        if is_rash && acted.is_err() {
            self.checkpoint_later(shard);
        }
        acted?;
        if let [first, ..] = batch.records()
            && let [.., last] = batch.records()
        {
            self.world.log.on(&id, What::Done(self.life, first.position(), last.position()));
        }
        if self.is_manual() && self.rng.u32(0..4) == 0 {
            let _ = shard.checkpointer().checkpoint().await;
        }
        Ok(())
    }

    async fn shard_ended(&mut self, shard: &mut ShardContext) -> Result<(), Planned> {
        let _running = self.calls.begin(shard.shard_id());
        self.act(shard).await?;
        self.world.log.on(shard.shard_id(), What::SawTheEnd(self.life));
        Ok(())
    }

    async fn shutdown_requested(&mut self, shard: &mut ShardContext) -> Result<(), Planned> {
        let _running = self.calls.begin(shard.shard_id());
        if self.is_manual() {
            shard.checkpointer().checkpoint().await.map_err(|_| Planned)?;
        }
        Ok(())
    }
}

impl World {
    /// Which record this is: payloads begin with `key:nth`, but for those that are known by heart.
    fn seen(&self, record: &Record) -> Option<Seen> {
        let position = record.position();
        if let Some((key, nth)) = self.strange(record.data()) {
            return Some(Seen { position, key, nth });
        }
        let text = std::str::from_utf8(record.data()).ok()?;
        let mut parts = text.splitn(3, ':');
        let (key, nth) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Seen { position, key, nth })
    }
}
