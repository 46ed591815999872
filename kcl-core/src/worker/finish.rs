//! What becomes of a shard whose consumer has ended.

use super::run::Running;
use super::{HaltedShard, ShardRef, WorkerEvent};
use crate::consumer::{Finished, Outcome};

impl Running {
    /// Takes note that a shard's consumer has ended, and starts the next one where the shard was granted again meanwhile.
    pub(super) fn finish(&mut self, shard: ShardRef, finished: Option<Finished>) {
        let live = self.live.remove(&shard);
        let is_stopped = live.as_ref().is_none_or(|live| live.stop.is_cancelled());
        let next = live.and_then(|live| live.next);
        let event = match finished {
            None => {
                if self.draining.is_cancelled() {
                    self.report.abandoned.push(shard.clone());
                }
                WorkerEvent::Abandoned(shard.clone())
            }
            Some(Finished { outcome, failure }) => {
                self.outcome(&shard, outcome, failure, is_stopped)
            }
        };
        tracing::info!(%shard, how = %event.how(), "shard stopped");
        (self.observer)(&event);
        if let Some(grant) = next
            && !self.draining.is_cancelled()
        {
            self.start(shard, grant);
        }
    }

    fn outcome(
        &mut self,
        shard: &ShardRef,
        outcome: Outcome,
        failure: Option<String>,
        is_stopped: bool,
    ) -> WorkerEvent {
        match outcome {
            Outcome::Ended => WorkerEvent::Ended(shard.clone()),
            Outcome::Lost => {
                if self.draining.is_cancelled() {
                    self.report.lost.push(shard.clone());
                }
                WorkerEvent::Lost(shard.clone())
            }
            Outcome::Drained if !is_stopped => WorkerEvent::HandedOver(shard.clone()),
            Outcome::Drained => {
                if self.draining.is_cancelled() {
                    self.report.drained.push(shard.clone());
                }
                WorkerEvent::Drained(shard.clone())
            }
            Outcome::Halted | Outcome::Unreadable => {
                let failure = failure.unwrap_or_default();
                let metrics = crate::metrics::SHARDS_HALTED;
                self.metrics.record(metrics, Some((&shard.stream, &shard.shard)), 1.0);
                tracing::error!(%shard, %failure, "shard is halted on this worker; its checkpoint has not moved");
                self.report
                    .halted
                    .push(HaltedShard { shard: shard.clone(), failure: failure.clone() });
                WorkerEvent::Halted { shard: shard.clone(), failure }
            }
        }
    }
}
