//! What the coordinator is told: leases that are no longer kept, surveys that are done.

use kcl_core::leasing::Release;
use kcl_core::metrics;

use super::Message;
use super::run::{Coordinator, End, HOLE_PAUSE};
use super::survey::{SurveyError, Surveyed};
use crate::Lease;
use crate::keeper::{Exit, Freed, Gone};

impl Coordinator {
    pub(super) async fn heed(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Exited(exit) => self.exited(*exit),
            Message::Surveyed(surveyed) => self.surveyed(surveyed),
            Message::Founded(stream, created) => {
                self.has_founded(stream, created).await;
                Ok(())
            }
            Message::Leave(waiter) => Err(End::Left(waiter)),
        }
    }

    fn surveyed(&mut self, surveyed: Surveyed) -> Result<(), End> {
        let Surveyed { stream, listing, created, deleted, failure } = surveyed;
        if failure.as_ref().is_some_and(SurveyError::is_table_missing) {
            return Err(End::TableMissing);
        }
        if !self.streams.by_id.contains_key(&stream) {
            return Ok(());
        }
        if let Some(failure) = &failure {
            tracing::warn!(%stream, error = failure as &dyn std::error::Error, "shards not compared with leases, trying again later");
        }
        self.learn(created);
        for key in &deleted {
            self.view.remove(key);
        }
        if let Some(listing) = listing {
            // Kept only while leases wait for what it tells.
            self.listings.insert(stream.clone(), listing);
            self.agenda.replan = true;
        }
        let interval = self.member.timing.sync_interval;
        let failed = failure.is_some();
        self.plan_survey(stream, if failed { interval.min(HOLE_PAUSE) } else { interval });
        Ok(())
    }

    pub(super) fn exited(&mut self, exit: Exit) -> Result<(), End> {
        let Exit { key, gone, last, children } = exit;
        self.held.remove(&key);
        self.count_held();
        let now = self.member.clock.now();
        self.agenda.replan = true;
        if self.streams.of(&key).is_none() && !matches!(gone, Gone::TableMissing) {
            tracing::info!(lease = %key, "gave up a lease of a stream that is read no longer");
            return Ok(());
        }
        let lost = |why: &str| {
            tracing::info!(lease = %key, why, "lost a lease");
            self.member.metrics.record(metrics::LEASES_LOST, None, 1.0);
        };
        match gone {
            Gone::Taken(current) => {
                lost("another worker took it");
                if current.owner.as_ref() == Some(&self.member.worker) && !self.has_twin {
                    self.has_twin = true;
                    tracing::warn!(worker = %self.member.worker, lease = %key, "another live worker has the same id: they take each other's leases for ever; give every worker an id of its own");
                }
                self.observe(*current);
            }
            Gone::Deleted => {
                lost("it was deleted");
                self.view.remove(&key);
            }
            Gone::Silent => {
                lost("no renewal succeeded in time");
                self.observe(last);
            }
            Gone::TableMissing => {
                lost("the table was deleted");
                return Err(End::TableMissing);
            }
            Gone::Ended => {
                tracing::info!(lease = %key, "shard has ended");
                self.observe(last);
                let merged = |child: &Lease| child.parents.len() > 1;
                if children.iter().any(merged) {
                    // Whether the other parent has ended is known to its own reader.
                    self.agenda.scan = now;
                }
                self.heirs.extend(children.iter().map(|child| child.key.clone()));
                self.learn(children);
            }
            Gone::Freed(freed) => {
                match &last.owner {
                    Some(to) => {
                        tracing::info!(lease = %key, %to, "handed a lease over");
                        self.member.metrics.record(metrics::LEASES_HANDED_OVER, None, 1.0);
                    }
                    None => tracing::info!(lease = %key, ?freed, "freed a lease"),
                }
                self.observe(last);
                if freed == Freed::Released(Release::Halted) {
                    self.shunned.insert(key);
                }
            }
        }
        Ok(())
    }
}
