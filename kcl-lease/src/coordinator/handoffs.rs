//! Leases that this worker has asked their owners for: until they come, are given to others, or time is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use kcl_core::WorkerId;

use super::WIDTH;
use super::run::{Coordinator, End};
use super::take::Taker;
use crate::store::{Outcome, StoreError, StoreErrorKind};
use crate::{Lease, LeaseKey};

/// What was asked for and has not been answered.
#[derive(Debug, Default)]
pub(super) struct Handoffs(BTreeMap<LeaseKey, Asked>);

#[derive(Debug)]
struct Asked {
    owner: WorkerId,
    /// From then on it is taken.
    deadline: Instant,
    /// When it was last looked at.
    looked: Instant,
}

impl Handoffs {
    pub(super) fn note(&mut self, lease: &Lease, begun: Instant, patience: Duration) {
        if let Some(owner) = lease.owner.clone() {
            let asked = Asked { owner, deadline: begun + patience, looked: begun };
            self.0.insert(lease.key.clone(), asked);
        }
    }

    pub(super) fn forget(&mut self, key: &LeaseKey) {
        self.0.remove(key);
    }

    /// Until when each is waited for.
    pub(super) fn deadlines(&self) -> BTreeMap<LeaseKey, Instant> {
        self.0.iter().map(|(key, asked)| (key.clone(), asked.deadline)).collect()
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|asked| asked.looked + LOOK).min()
    }

    /// Those to look at now, at the most so many: those first that were not looked at for longest.
    fn next(&mut self, now: Instant, most: usize) -> Vec<LeaseKey> {
        let mut due: Vec<_> = self.0.iter_mut().filter(|(_, at)| at.looked + LOOK <= now).collect();
        due.sort_by_key(|(_, asked)| asked.looked);
        due.truncate(most);
        let look = |(key, asked): (&LeaseKey, &mut Asked)| {
            asked.looked = now;
            key.clone()
        };
        due.into_iter().map(look).collect()
    }

    /// Takes note of a lease as it is now; false when it is no longer waited for.
    fn look(&mut self, key: &LeaseKey, now: Option<&Lease>, me: &WorkerId) -> bool {
        let stands = |lease: &&Lease, asked: &Asked| {
            lease.owner.as_ref() == Some(&asked.owner)
                && lease.cooperates()
                && lease.handoff_to.as_ref() == Some(me)
                && !lease.has_ended()
        };
        let waits = self.0.get(key).is_some_and(|asked| now.is_some_and(|now| stands(&now, asked)));
        if !waits {
            self.forget(key);
        }
        waits
    }

    /// Those whose time was over a while ago, and which no plan took.
    fn unwanted(&self, now: Instant, grace: Duration) -> Vec<LeaseKey> {
        let unwanted = self.0.iter().filter(|(_, asked)| asked.deadline + grace <= now);
        unwanted.map(|(key, _)| key.clone()).collect()
    }
}

impl Coordinator {
    /// Looks whether what was asked for has come, or will not. A worker that stops wants none of it.
    pub(super) async fn look_at_asked(&mut self) -> Result<(), End> {
        if !self.control.is_taking() {
            self.withdraw_all().await;
            return Ok(());
        }
        let now = self.member.clock.now();
        let keys = self.handoffs.next(now, WIDTH);
        let until = now + LOOK;
        let calls = self.keeping.calls.clone();
        let reads = stream::iter(keys).map(|key| {
            let calls = calls.clone();
            async move { (calls.read(&key, until).await, key) }
        });
        let found: Vec<_> = reads.buffer_unordered(WIDTH).collect().await;
        let now = self.member.clock.now();
        for (found, key) in found {
            match found {
                Ok(lease) => {
                    self.agenda.replan |=
                        !self.handoffs.look(&key, lease.as_ref(), &self.member.worker);
                    match lease {
                        Some(lease) => self.observe(lease),
                        None => self.view.remove(&key),
                    }
                }
                Err(error) if error.kind() == StoreErrorKind::TableMissing => {
                    return Err(End::TableMissing);
                }
                // Asked again soon.
                Err(_) => {}
            }
        }
        // What is late is taken.
        self.agenda.replan |= self.handoffs.0.values().any(|asked| asked.deadline <= now);
        let unwanted = self.handoffs.unwanted(now, self.member.timing.scan_interval);
        self.withdraw(unwanted).await;
        Ok(())
    }

    /// Takes back every request; says how many leases may still come.
    pub(super) async fn withdraw_all(&mut self) -> usize {
        self.withdraw(self.handoffs.0.keys().cloned().collect()).await
    }

    /// Takes back the requests for leases of streams that are read no longer.
    pub(super) async fn withdraw_strangers(&mut self) {
        let strange = |key: &&LeaseKey| self.streams.of(key).is_none();
        let keys: Vec<_> = self.handoffs.0.keys().filter(strange).cloned().collect();
        self.withdraw(keys).await;
    }

    async fn withdraw(&mut self, keys: Vec<LeaseKey>) -> usize {
        let (taker, now) = (self.taker.clone(), self.member.clock.now());
        // What has come and is read is no request any more, and must not be freed.
        self.handoffs.0.retain(|key, _| !self.held.contains_key(key));
        let keys = keys.into_iter().filter(|key| self.handoffs.0.contains_key(key));
        let keys: Vec<_> = keys.collect();
        for key in &keys {
            if let Some(asked) = self.handoffs.0.get_mut(key) {
                asked.looked = now;
            }
        }
        let withdrawn = stream::iter(keys).map(|key| {
            let taker = taker.clone();
            async move { (taker.withdraw(&key).await, key) }
        });
        let withdrawn: Vec<_> = withdrawn.buffer_unordered(WIDTH).collect().await;
        let mut unsure = 0;
        for (result, key) in withdrawn {
            match result {
                Ok(Some(lease)) => {
                    self.handoffs.forget(&key);
                    self.observe(lease);
                }
                Ok(None) => self.handoffs.forget(&key),
                Err(_) => unsure += 1,
            }
        }
        unsure
    }
}

impl Taker {
    /// Takes a request back, and frees the lease if it has come already; says how it was left.
    pub(super) async fn withdraw(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        let me = Some(&self.worker);
        let free = self.giving_to(None);
        let has_come = |lease: &Lease| lease.owner.as_ref() == me && !lease.has_ended();
        let mut failure = None;
        for _ in 0..TRIES {
            let Some(lease) = self.calls.read(key, self.deadline()).await? else {
                return Ok(None);
            };
            let outcome = if has_come(&lease) {
                self.calls.update(key, &lease.fence(), &free, self.deadline()).await
            } else if lease.handoff_to.as_ref() == me {
                self.calls.ask(&lease, None, self.deadline()).await
            } else {
                return Ok(Some(lease));
            };
            // Whatever it did, the lease tells.
            if let Err(error) = outcome {
                failure = Some(error);
            } else if outcome.is_ok_and(|outcome| outcome == Outcome::Missing) {
                return Ok(None);
            }
        }
        let last = self.calls.read(key, self.deadline()).await?;
        let is_mine = |lease: &Lease| has_come(lease) || lease.handoff_to.as_ref() == me;
        match (last, failure) {
            (Some(lease), Some(error)) if is_mine(&lease) => Err(error),
            (last, _) => Ok(last),
        }
    }
}

/// So often a lease is looked at that was asked for.
const LOOK: Duration = Duration::from_millis(400);
/// How often it is tried to take a request back: its owner renews meanwhile.
const TRIES: usize = 4;
