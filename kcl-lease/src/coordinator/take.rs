//! Executes one move of an assignment plan.

use std::time::Instant;

use kcl_core::leasing::LeaseTiming;
use kcl_core::{Clock, WorkerId};

use crate::Lease;
use crate::assign::{Claim, Move};
use crate::calls::Calls;
use crate::store::{Change, Outcome, StoreError};

/// What taking needs.
#[derive(Debug, Clone)]
pub(super) struct Taker {
    pub(super) worker: WorkerId,
    pub(super) calls: Calls,
    pub(super) clock: Clock,
    pub(super) timing: LeaseTiming,
    pub(super) stride: u16,
}

/// What became of a move.
#[derive(Debug)]
pub(super) enum Taken {
    /// The lease is this worker's, by a write that began then.
    Won(Lease, Instant),
    /// Its owner was asked for the lease, which it holds as before, by a call that began then.
    Asked(Lease, Instant),
    /// Somebody else was faster, or a parent has not ended: this is what was found instead.
    Missed(Lease),
    /// The lease does not exist any more.
    Deleted,
    /// The store failed; the next plan tries again.
    Failed(StoreError),
}

impl Taker {
    pub(super) async fn take(&self, planned: &Move) -> Taken {
        match self.try_take(planned).await {
            Ok(taken) => taken,
            Err(error) => Taken::Failed(error),
        }
    }

    async fn try_take(&self, planned: &Move) -> Result<Taken, StoreError> {
        let (claim, victim) = match planned {
            // An own lease may have been renewed by this worker after the view saw it.
            Move::Take(claim) => {
                (claim, claim.lease.owner.as_ref().filter(|owner| **owner == self.worker))
            }
            Move::Steal(claim) => (claim, claim.lease.owner.as_ref()),
            Move::Ask(claim) => return self.ask(&claim.lease).await,
        };
        if let Some(parent) = self.unended_parent(claim).await? {
            return Ok(Taken::Missed(parent));
        }
        let mut lease = claim.lease.clone();
        let change = self.giving_to(Some(self.worker.clone()));
        let mut unclear = false;
        for _ in 0..ATTEMPTS {
            let now = self.clock.now();
            let fence = lease.fence();
            let outcome = self.calls.update(&lease.key, &fence, &change, self.deadline()).await;
            let current = match outcome {
                Ok(Outcome::Applied) => return Ok(Taken::Won(change.apply_to(&lease), now)),
                Ok(Outcome::Missing) => return Ok(Taken::Deleted),
                Ok(Outcome::Conflict(Some(current))) => Some(*current),
                Ok(Outcome::Conflict(None)) => self.calls.read(&lease.key, self.deadline()).await?,
                Err(error) if error.has_no_side_effects() => return Err(error),
                Err(_) => {
                    unclear = true;
                    self.calls.read(&lease.key, self.deadline()).await?
                }
            };
            let Some(current) = current else {
                return Ok(Taken::Deleted);
            };
            let is_own = current.owner.as_ref() == Some(&self.worker);
            // Its owner has only renewed meanwhile.
            let renewed = victim.is_some() && current.owner.as_ref() == victim;
            match current {
                current if unclear && current.fence() == fence => {}
                // This write has applied, it seems. But an earlier process of the same id may have taken or renewed it just
                // like this, which proves nothing about now: another write does.
                current if (unclear && is_own || renewed) && !current.has_ended() => {
                    (lease, unclear) = (current, false);
                }
                current => return Ok(Taken::Missed(current)),
            }
        }
        Ok(Taken::Missed(lease))
    }

    /// Asks the owner, who may renew meanwhile.
    async fn ask(&self, seen: &Lease) -> Result<Taken, StoreError> {
        let me = Some(&self.worker);
        if seen.handoff_to.as_ref() == me {
            // Since an earlier life, or by a call whose answer was lost; the next look at it tells whether that is so.
            return Ok(Taken::Asked(seen.clone(), self.clock.now()));
        }
        let mut lease = seen.clone();
        for _ in 0..ATTEMPTS {
            let now = self.clock.now();
            let current = match self.calls.ask(&lease, me, self.deadline()).await {
                Ok(Outcome::Applied) => {
                    lease.handoff_to = me.cloned();
                    return Ok(Taken::Asked(lease, now));
                }
                Ok(Outcome::Missing) => return Ok(Taken::Deleted),
                Ok(Outcome::Conflict(Some(current))) => Some(*current),
                Ok(Outcome::Conflict(None)) => self.calls.read(&lease.key, self.deadline()).await?,
                Err(failure) if failure.has_no_side_effects() => return Err(failure),
                Err(_) => match self.calls.read(&lease.key, self.deadline()).await {
                    Ok(current) => current,
                    // The request may stand: the next look at it tells.
                    Err(_) => return Ok(Taken::Asked(lease, now)),
                },
            };
            let Some(current) = current else {
                return Ok(Taken::Deleted);
            };
            if current.owner != lease.owner || !current.cooperates() || current.has_ended() {
                return Ok(Taken::Missed(current));
            }
            if current.handoff_to.as_ref() == me {
                return Ok(Taken::Asked(current, now));
            }
            if current.handoff_to != seen.handoff_to {
                return Ok(Taken::Missed(current));
            }
            lease = current;
        }
        Ok(Taken::Missed(lease))
    }

    async fn unended_parent(&self, claim: &Claim) -> Result<Option<Lease>, StoreError> {
        for key in &claim.verify {
            let parent = self.calls.read(key, self.deadline()).await?;
            if let Some(parent) = parent.filter(|parent| !parent.has_ended()) {
                return Ok(Some(parent));
            }
        }
        Ok(None)
    }

    /// This process's change of a lease's owner; `None` frees it.
    pub(super) fn giving_to(&self, owner: Option<WorkerId>) -> Change {
        let owner = Some(owner);
        Change { owner, cooperates: true, stride: self.stride, ..Change::default() }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.clock.now() + self.timing.renew_interval
    }
}

/// How often a take is tried before it is left to the next plan.
const ATTEMPTS: usize = 5;
