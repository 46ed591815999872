//! Leases in memory: for tests, simulations and single processes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use kcl_core::WorkerId;
use kcl_core::leasing::LeasingError;

use super::{Change, Consistency, LeaseStore, Outcome, Scan, StoreError};
use crate::{Fence, Lease, LeaseKey};

/// Leases in memory, under the same conditions as in DynamoDB. Clones share them; the last clone takes them along.
///
/// Never fails and never waits, so every call takes effect in the order in which it is polled.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    leases: Arc<Mutex<BTreeMap<LeaseKey, Lease>>>,
}

impl MemoryStore {
    /// A store without leases.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A panic of an earlier holder must not fail calls that come after it.
    fn leases(&self) -> MutexGuard<'_, BTreeMap<LeaseKey, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    #[expect(clippy::unnecessary_literal_bound, reason = "other stores have names of their own")]
    fn name(&self) -> &str {
        "memory"
    }

    async fn prepare(&self) -> Result<(), LeasingError> {
        Ok(())
    }

    async fn scan(&self, _: Consistency) -> Result<Scan, StoreError> {
        Ok(Scan { leases: self.leases().values().cloned().collect(), ..Scan::default() })
    }

    async fn read(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        Ok(self.leases().get(key).cloned())
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        let mut leases = self.leases();
        if leases.contains_key(&lease.key) {
            return Ok(false);
        }
        let mut stored = lease.clone();
        for time in [&mut stored.started_at, &mut stored.application_start] {
            *time = time.map(whole_millis);
        }
        leases.insert(lease.key.clone(), stored);
        Ok(true)
    }

    async fn update(
        &self,
        key: &LeaseKey,
        fence: &Fence,
        change: &Change,
    ) -> Result<Outcome, StoreError> {
        let mut leases = self.leases();
        let Some(lease) = leases.get_mut(key) else {
            return Ok(Outcome::Missing);
        };
        if lease.fence() != *fence || !change.fits(lease) {
            return Ok(Outcome::Conflict(Some(Box::new(lease.clone()))));
        }
        *lease = change.apply_to(lease);
        Ok(Outcome::Applied)
    }

    async fn ask(&self, seen: &Lease, to: Option<&WorkerId>) -> Result<Outcome, StoreError> {
        let mut leases = self.leases();
        let Some(lease) = leases.get_mut(&seen.key) else {
            return Ok(Outcome::Missing);
        };
        if lease.fence() != seen.fence() || lease.handoff_to != seen.handoff_to {
            return Ok(Outcome::Conflict(Some(Box::new(lease.clone()))));
        }
        lease.handoff_to = to.cloned();
        Ok(Outcome::Applied)
    }

    async fn delete(&self, key: &LeaseKey, fence: &Fence) -> Result<Outcome, StoreError> {
        let mut leases = self.leases();
        let Some(lease) = leases.get(key) else {
            return Ok(Outcome::Missing);
        };
        if lease.fence() != *fence {
            return Ok(Outcome::Conflict(Some(Box::new(lease.clone()))));
        }
        leases.remove(key);
        Ok(Outcome::Applied)
    }
}

/// Rounds down to what the DynamoDB item can hold.
fn whole_millis(time: SystemTime) -> SystemTime {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::new(since_epoch.as_secs(), since_epoch.subsec_millis() * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::all(|| async { MemoryStore::new() }).await;
    }

    #[tokio::test]
    async fn clones_share_their_leases() {
        let store = MemoryStore::new();
        contract::only_the_first_create_counts(&store.clone()).await;
        assert_eq!(store.scan(Consistency::Strong).await.unwrap().leases.len(), 1);
    }
}
