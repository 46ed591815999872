//! Plans, and executes the moves: what is won is kept and granted.

use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use kcl_core::leasing::{Grant, LeaseEvent};
use kcl_core::metrics::{self, ShardMetrics};
use kcl_core::{ShardId, WorkerId};

use super::WIDTH;
use super::run::{Coordinator, End};
use super::take::Taken;
use crate::assign::{self, Claim, Me, Move, Plan};
use crate::store::StoreErrorKind;
use crate::sync;
use crate::{Lease, LeaseKey};

impl Coordinator {
    /// Plans and executes, when something has changed; again when others were faster.
    pub(super) async fn act(&mut self) -> Result<(), End> {
        while std::mem::take(&mut self.agenda.replan) && self.control.is_taking() {
            self.plan_and_move().await?;
        }
        Ok(())
    }

    async fn plan_and_move(&mut self) -> Result<(), End> {
        self.find_waiting();
        let held = self.held.keys().cloned().collect();
        let me = Me {
            worker: &self.member.worker,
            held: &held,
            shunned: &self.shunned,
            heirs: &self.heirs,
            waiting: &self.waiting,
            asked: &self.handoffs.deadlines(),
            // What one has seen, another one sees a scan later at the most; and then it has to act.
            patience: self.member.timing.scan_interval * 6 / 5,
            max_leases: self.member.max_leases,
        };
        self.agenda.planned = self.member.clock.now();
        let plan = assign::plan(&self.view, &me, self.agenda.planned, &mut self.rng);
        self.agenda.patience = plan.again;
        self.explain(&plan);
        let moves = plan.moves;
        let (taker, control) = (self.taker.clone(), self.control.clone());
        let taken = stream::iter(moves).map(|planned| {
            let (taker, control) = (taker.clone(), control.clone());
            async move {
                let taken =
                    if control.is_taking() { Some(taker.take(&planned).await) } else { None };
                (planned, taken)
            }
        });
        let mut taken = std::pin::pin!(taken.buffer_unordered(WIDTH));
        while let Some((planned, taken)) = taken.next().await {
            let Some(taken) = taken else { continue };
            let (Move::Take(claim) | Move::Ask(claim) | Move::Steal(claim)) = &planned;
            self.agenda.replan |= leaves_others(&planned, &taken, &self.member.worker);
            if matches!((&planned, &taken), (Move::Steal(_), Taken::Won(..) | Taken::Missed(_))) {
                self.handoffs.forget(&claim.lease.key);
            }
            match taken {
                Taken::Asked(lease, begun) => {
                    self.member.metrics.record(metrics::LEASES_ASKED_FOR, None, 1.0);
                    tracing::debug!(lease = %lease.key, "asked for a lease");
                    self.handoffs.note(&lease, begun, self.member.timing.lease_duration);
                    self.observe(lease);
                }
                Taken::Won(lease, begun) => self.won(&planned, claim, lease, begun).await,
                Taken::Missed(found) => self.observe(found),
                Taken::Deleted => self.view.remove(&claim.lease.key),
                Taken::Failed(error) if error.kind() == StoreErrorKind::TableMissing => {
                    return Err(End::TableMissing);
                }
                Taken::Failed(error) => {
                    tracing::info!(lease = %claim.lease.key, error = &error as &dyn std::error::Error, "lease not taken");
                }
            }
        }
        let is_free = |key: &LeaseKey| {
            self.view.get(key).is_some_and(|lease| lease.owner.is_none() && !lease.has_ended())
        };
        self.heirs.retain(is_free);
        Ok(())
    }

    /// To the log, when it says something else than before. Only with a thought for it: a plan of a thousand leases is long.
    fn explain(&mut self, plan: &Plan) {
        if tracing::enabled!(target: EXPLAIN, tracing::Level::DEBUG) {
            let explanation = plan.explain();
            if explanation != self.explained {
                tracing::debug!(target: EXPLAIN, "{explanation}");
                self.explained = explanation;
            }
        }
    }

    async fn won(&mut self, planned: &Move, claim: &Claim, lease: Lease, begun: Instant) {
        let Some((stream, start)) = self.streams.of(&lease.key) else {
            return;
        };
        let metric = match planned {
            Move::Take(_) => metrics::LEASES_TAKEN,
            Move::Ask(_) | Move::Steal(_) => metrics::LEASES_STOLEN,
        };
        self.member.metrics.record(metric, None, 1.0);
        let before = claim.lease.owner.as_ref().map_or("-", |owner| owner.as_str());
        tracing::info!(lease = %lease.key, why = claim.why, before, position = %lease.position, "took a lease");
        let (position, started_at) =
            sync::where_to_read(&lease, self.has_known_parent(&lease), *start);
        let figures = ShardMetrics::new(
            self.member.metrics.clone(),
            stream.id.clone(),
            lease.key.shard().clone(),
        );
        let (keeper, held) = self.keeping.keep(lease.clone(), begun, figures, self.rng.fork());
        let grant = Grant {
            stream: stream.clone(),
            shard: lease.key.shard().clone(),
            hash_range: lease.hash_range,
            position,
            started_at,
            pending: lease.pending.clone(),
            lease: held,
        };
        self.handoffs.forget(&lease.key);
        self.held.insert(lease.key.clone(), keeper);
        self.observe(lease);
        self.count_held();
        let granted = LeaseEvent::Granted(Box::new(grant));
        // A grant that nobody receives is dropped, and so frees its lease.
        let received = tokio::select! {
            biased;
            () = self.control.leaving.cancelled() => true,
            sent = self.events.send(granted) => sent.is_ok(),
        };
        if !received {
            self.control.taking.store(false, Ordering::SeqCst);
        }
    }

    fn has_known_parent(&self, lease: &Lease) -> bool {
        let is_known =
            |parent: &ShardId| self.view.get(&lease.key.sibling(parent.clone())).is_some();
        lease.parents.iter().any(is_known)
    }
}

/// Where plans are explained, for whoever asks for it.
const EXPLAIN: &str = "kcl_lease::explain";

/// True when this worker was to have a lease that it did not get, because others were faster: there may be another one, which
/// would stand still until the next scan. Under its own id it must be a twin, and there is no end to that.
fn leaves_others(planned: &Move, taken: &Taken, me: &WorkerId) -> bool {
    match (planned, taken) {
        (Move::Take(_), Taken::Deleted) => true,
        (Move::Take(_), Taken::Missed(found)) => found.owner.as_ref() != Some(me),
        // It was handed over meanwhile.
        (Move::Ask(_) | Move::Steal(_), Taken::Missed(found)) => found.owner.as_ref() == Some(me),
        _ => false,
    }
}
