//! The lease table at port level, as one process reaches it: every change is written down, and calls go wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::WorkerId;
use kcl_core::leasing::LeasingError;
use kcl_lease::store::{
    Change, Consistency, LeaseStore, MemoryStore, Outcome, Scan, StoreError, StoreErrorKind,
};
use kcl_lease::{Fence, Lease, LeaseKey};
use tokio::sync::oneshot;

use super::World;
use super::history::{Life, What, Write};
use super::weather::Fate;

/// The table itself, with the versions that a stale read may still show. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryTable {
    now: MemoryStore,
    versions: Arc<Mutex<BTreeMap<LeaseKey, Versions>>>,
}

/// Since when a lease was like this; `None` while there was none.
type Versions = Vec<(Duration, Option<Lease>)>;

/// Enough for the oldest scan.
const VERSIONS: usize = 12;

/// A conditional change.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Create(Lease),
    Update(LeaseKey, Fence, Change),
    /// As seen, on whose behalf.
    Ask(Box<Lease>, Option<WorkerId>),
    Delete(LeaseKey, Fence),
    /// Whatever was there; what no worker may do.
    Put(Box<Lease>),
}

impl MemoryTable {
    pub(crate) async fn read(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        self.now.read(key).await
    }

    pub(crate) async fn all(&self) -> Result<Vec<Lease>, StoreError> {
        Ok(self.now.scan(Consistency::Strong).await?.leases)
    }

    /// Carries a request out and writes it down. Nothing waits in here.
    pub(crate) async fn carry_out(
        &self,
        world: &World,
        by: Option<Life>,
        issued: Duration,
        request: &Request,
    ) -> Result<Outcome, StoreError> {
        let key = match request {
            Request::Create(lease) => &lease.key,
            Request::Put(lease) | Request::Ask(lease, _) => &lease.key,
            Request::Update(key, ..) | Request::Delete(key, _) => key,
        };
        let before = self.now.read(key).await?;
        let (outcome, expected) = match request {
            Request::Create(lease) => {
                let created = self.now.create(lease).await?;
                (if created { Outcome::Applied } else { Outcome::Conflict(None) }, None)
            }
            Request::Update(key, fence, change) => {
                (self.now.update(key, fence, change).await?, Some(fence.clone()))
            }
            Request::Ask(seen, to) => (self.now.ask(seen, to.as_ref()).await?, Some(seen.fence())),
            Request::Delete(key, fence) => {
                (self.now.delete(key, fence).await?, Some(fence.clone()))
            }
            Request::Put(lease) => {
                if let Some(old) = &before {
                    self.now.delete(key, &old.fence()).await?;
                }
                self.now.create(lease).await?;
                (Outcome::Applied, None)
            }
        };
        let after = self.now.read(key).await?;
        if outcome == Outcome::Applied {
            self.keep(key, world.log.elapsed(), after.clone());
            let write = Write { by, issued, expected, before, after };
            world.log.on(key.shard(), write.into_what());
        } else if let Some(life) = by {
            world.log.on(key.shard(), What::Refused(life));
        }
        Ok(outcome)
    }

    fn keep(&self, key: &LeaseKey, at: Duration, lease: Option<Lease>) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = versions.entry(key.clone()).or_default();
        versions.push((at, lease));
        if versions.len() > VERSIONS {
            versions.remove(0);
        }
    }

    /// All leases, each as of a moment of its own.
    fn torn(&self, world: &World) -> Vec<Lease> {
        let now = world.log.elapsed();
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let as_of = |versions: &Versions| {
            let moment = now.saturating_sub(world.weather.age());
            let shown = versions.iter().rev().find(|(since, _)| *since <= moment);
            shown.and_then(|(_, lease)| lease.clone())
        };
        versions.values().filter_map(as_of).collect()
    }
}

/// The table as one process reaches it.
#[derive(Clone)]
pub(crate) struct SimStore {
    pub(crate) world: Arc<World>,
    pub(crate) life: Life,
    pub(crate) table: MemoryTable,
}

impl SimStore {
    async fn write(
        &self,
        operation: &'static str,
        request: Request,
    ) -> Result<Outcome, StoreError> {
        let World { log, weather, .. } = &*self.world;
        let table = &self.table;
        let issued = log.elapsed();
        let fate = self.fate(operation);
        if let Fate::Late(delay) = fate {
            let (world, by, delivery) = (self.world.clone(), self.life, request);
            let table = table.clone();
            let (answer, answered) = oneshot::channel();
            self.world.tasks.spawn(async move {
                tokio::time::sleep(delay).await;
                let outcome = table.carry_out(&world, Some(by), issued, &delivery).await;
                drop(answer.send(outcome)); // the caller may be gone
            });
            return answered.await.unwrap_or_else(|_| Err(unavailable(operation)));
        }
        tokio::time::sleep(weather.millis(1, 15)).await;
        let effect = || table.carry_out(&self.world, Some(self.life), issued, &request);
        match fate {
            Fate::Throttled => return Err(throttled(operation)),
            Fate::Expired => return Err(expired(operation)),
            Fate::Refused => return Err(refused(operation)),
            Fate::Before => return Err(unavailable(operation)),
            Fate::HangBefore => std::future::pending().await,
            Fate::After => {
                effect().await?;
                return Err(unavailable(operation));
            }
            Fate::HangAfter => {
                effect().await?;
                std::future::pending::<()>().await;
            }
            Fate::Clear | Fate::Late(_) => {}
        }
        let outcome = effect().await;
        tokio::time::sleep(weather.millis(1, 15)).await;
        outcome
    }

    /// What becomes of a call without effects.
    async fn read_through(&self, operation: &'static str) -> Result<(), StoreError> {
        let fate = self.fate(operation);
        let weather = &self.world.weather;
        tokio::time::sleep(weather.millis(1, 15)).await;
        match fate {
            Fate::Clear => Ok(()),
            Fate::Throttled => Err(throttled(operation)),
            Fate::Expired => Err(expired(operation)),
            Fate::Refused => Err(refused(operation)),
            Fate::Before | Fate::After => Err(unavailable(operation)),
            Fate::HangBefore | Fate::HangAfter => std::future::pending().await,
            Fate::Late(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
        }
    }

    fn fate(&self, operation: &'static str) -> Fate {
        let World { log, weather, .. } = &*self.world;
        let fate = weather.fate(self.life, operation, log.elapsed());
        if fate != Fate::Clear {
            log.note(What::Fault(self.life, name(operation, fate)));
        }
        fate
    }
}

#[async_trait]
impl LeaseStore for SimStore {
    fn name(&self) -> &str {
        "simulated"
    }

    async fn prepare(&self) -> Result<(), LeasingError> {
        Ok(())
    }

    async fn scan(&self, consistency: Consistency) -> Result<Scan, StoreError> {
        self.read_through("Scan").await?;
        let leases = match consistency {
            Consistency::Eventual => self.table.torn(&self.world),
            Consistency::Strong => self.table.all().await?,
        };
        tokio::time::sleep(self.world.weather.millis(1, 30)).await;
        Ok(Scan { leases, ..Scan::default() })
    }

    async fn read(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        self.read_through("GetItem").await?;
        let lease = self.table.read(key).await;
        tokio::time::sleep(self.world.weather.millis(1, 15)).await;
        lease
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        let outcome = self.write("PutItem", Request::Create(lease.clone())).await?;
        Ok(outcome == Outcome::Applied)
    }

    async fn update(
        &self,
        key: &LeaseKey,
        fence: &Fence,
        change: &Change,
    ) -> Result<Outcome, StoreError> {
        let request = Request::Update(key.clone(), fence.clone(), change.clone());
        self.write("UpdateItem", request).await
    }

    async fn ask(&self, seen: &Lease, to: Option<&WorkerId>) -> Result<Outcome, StoreError> {
        let request = Request::Ask(Box::new(seen.clone()), to.cloned());
        self.write("UpdateItem", request).await
    }

    async fn delete(&self, key: &LeaseKey, fence: &Fence) -> Result<Outcome, StoreError> {
        self.write("DeleteItem", Request::Delete(key.clone(), fence.clone())).await
    }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimStore({})", self.life)
    }
}

fn throttled(operation: &'static str) -> StoreError {
    StoreError::new(operation, StoreErrorKind::Throttled, "simulated")
}

fn expired(operation: &'static str) -> StoreError {
    StoreError::new(operation, StoreErrorKind::AccessDenied, "simulated")
}

fn refused(operation: &'static str) -> StoreError {
    StoreError::new(operation, StoreErrorKind::Invalid, "simulated")
}

fn unavailable(operation: &'static str) -> StoreError {
    StoreError::new(operation, StoreErrorKind::Unavailable, "simulated")
}

/// A word for the history.
fn name(operation: &'static str, fate: Fate) -> &'static str {
    match (operation, fate) {
        (_, Fate::Clear) => "none",
        (_, Fate::Throttled) => "store throttles",
        (_, Fate::Before) => "store fails before the effect",
        ("Scan" | "GetItem", Fate::After) => "store read fails",
        (_, Fate::After) => "store fails after the effect",
        (_, Fate::HangBefore) => "store request lost",
        (_, Fate::HangAfter) => "store answer lost",
        (_, Fate::Refused) => "store calls it invalid",
        (_, Fate::Expired) => "store refuses the credentials",
        (_, Fate::Late(_)) => "store request under way for long",
    }
}
