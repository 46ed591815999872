//! A lease store whose calls fail, hang or crash the worker by rule, and that remembers every write.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::leasing::LeasingError;
use kcl_core::{Clock, WorkerId};
use kcl_lease::store::{
    Change, Consistency, LeaseStore, MemoryStore, Outcome, Scan, StoreError, StoreErrorKind,
};
use kcl_lease::{Fence, Lease, LeaseKey};

/// What a rule does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An error, and no effect.
    Before(StoreErrorKind),
    /// The effect, and an error.
    After(StoreErrorKind),
    /// No effect, and no answer.
    Hang,
    /// The effect, and no answer: as seen from outside, a worker that died right after the call.
    DieAfter,
    /// The answer comes late.
    Slow(Duration),
}

/// Whether the call had its effect is not known.
pub(crate) const UNCLEAR: StoreErrorKind = StoreErrorKind::Unavailable;

/// Which call of which worker; the name of the call, the change of an update, and how many calls the worker has made.
pub(crate) type Rule = Box<dyn FnMut(&Call<'_>) -> Option<Fault> + Send>;

#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) worker: &'a str,
    pub(crate) operation: &'static str,
    pub(crate) key: Option<&'a LeaseKey>,
    pub(crate) change: Option<&'a Change>,
}

#[derive(Clone)]
pub(crate) struct Faulty {
    worker: String,
    store: MemoryStore,
    clock: Clock,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    rule: Option<Rule>,
    /// Applied writes: who, which lease, and what it was after.
    writes: Vec<(String, Lease)>,
    stale: Option<Scan>,
    /// What every scan shows beside the leases: damaged ones, and how many items of others.
    litter: (Vec<(String, String)>, usize),
    under_way: usize,
    /// The most calls that were ever under way at once.
    busiest: usize,
}

struct UnderWay(Arc<Mutex<Shared>>);

impl UnderWay {
    fn begin(shared: &Arc<Mutex<Shared>>) -> Self {
        let mut state = shared.lock().unwrap();
        state.under_way += 1;
        state.busiest = state.busiest.max(state.under_way);
        Self(shared.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().unwrap().under_way -= 1;
    }
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Faulty({})", self.worker)
    }
}

impl Faulty {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { worker: String::new(), store: MemoryStore::new(), clock, shared: Arc::default() }
    }

    /// The same store in the hands of a worker.
    pub(crate) fn of(&self, worker: &str) -> Self {
        Self { worker: worker.into(), ..self.clone() }
    }

    pub(crate) fn plain(&self) -> &MemoryStore {
        &self.store
    }

    pub(crate) fn rule(&self, rule: impl FnMut(&Call<'_>) -> Option<Fault> + Send + 'static) {
        self.shared.lock().unwrap().rule = Some(Box::new(rule));
    }

    pub(crate) fn heal(&self) {
        self.shared.lock().unwrap().rule = None;
    }

    /// Until called again every scan shows the leases as they are now.
    pub(crate) async fn freeze_scans(&self) {
        let scan = self.store.scan(Consistency::Eventual).await.unwrap();
        self.shared.lock().unwrap().stale = Some(scan);
    }

    pub(crate) fn thaw_scans(&self) {
        self.shared.lock().unwrap().stale = None;
    }

    /// From now on damaged leases, and items that are none, lie among the leases.
    pub(crate) fn litter(&self, damaged: &[(&str, &str)], foreign: usize) {
        let damaged = damaged.iter().map(|(key, reason)| ((*key).to_owned(), (*reason).to_owned()));
        self.shared.lock().unwrap().litter = (damaged.collect(), foreign);
    }

    /// The most calls that were ever under way at once.
    pub(crate) fn busiest(&self) -> usize {
        self.shared.lock().unwrap().busiest
    }

    /// All applied writes so far.
    pub(crate) fn writes(&self) -> Vec<(String, Lease)> {
        self.shared.lock().unwrap().writes.clone()
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        key: Option<&LeaseKey>,
        change: Option<&Change>,
        effect: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let _under_way = UnderWay::begin(&self.shared);
        let call = Call { worker: &self.worker, operation, key, change };
        let fault = match &mut self.shared.lock().unwrap().rule {
            Some(rule) => rule(&call),
            None => None,
        };
        // As a network: the answer takes its time, and other tasks run meanwhile.
        self.clock.sleep(Duration::from_millis(1)).await;
        let result = match fault {
            Some(Fault::Before(kind)) => return Err(StoreError::new(operation, kind, "by rule")),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::After(_) | Fault::DieAfter | Fault::Slow(_)) | None => effect.await,
        };
        if let (Ok(_), Some(key), "UpdateItem" | "PutItem") = (&result, key, operation)
            && let Some(lease) = self.store.read(key).await?
        {
            let mut shared = self.shared.lock().unwrap();
            if shared
                .writes
                .iter()
                .rev()
                .find(|(_, l)| l.key == lease.key)
                .is_none_or(|(_, l)| *l != lease)
            {
                shared.writes.push((self.worker.clone(), lease));
            }
        }
        match fault {
            Some(Fault::After(kind)) => Err(StoreError::new(operation, kind, "by rule")),
            Some(Fault::DieAfter) => std::future::pending().await,
            Some(Fault::Slow(time)) => {
                self.clock.sleep(time).await;
                result
            }
            Some(Fault::Before(_) | Fault::Hang) | None => result,
        }
    }
}

#[async_trait]
impl LeaseStore for Faulty {
    fn name(&self) -> &'static str {
        "orders-app"
    }

    async fn prepare(&self) -> Result<(), LeasingError> {
        Ok(())
    }

    async fn scan(&self, consistency: Consistency) -> Result<Scan, StoreError> {
        let stale = self.shared.lock().unwrap().stale.clone();
        let scan = self.call("Scan", None, None, self.store.scan(consistency)).await?;
        let mut scan = stale.unwrap_or(scan);
        (scan.unreadable, scan.foreign) = self.shared.lock().unwrap().litter.clone();
        Ok(scan)
    }

    async fn read(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        self.call("GetItem", Some(key), None, self.store.read(key)).await
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.call("PutItem", Some(&lease.key), None, self.store.create(lease)).await
    }

    async fn update(
        &self,
        key: &LeaseKey,
        fence: &Fence,
        change: &Change,
    ) -> Result<Outcome, StoreError> {
        let update = self.store.update(key, fence, change);
        self.call("UpdateItem", Some(key), Some(change), update).await
    }

    async fn ask(&self, seen: &Lease, to: Option<&WorkerId>) -> Result<Outcome, StoreError> {
        self.call("Ask", Some(&seen.key), None, self.store.ask(seen, to)).await
    }

    async fn delete(&self, key: &LeaseKey, fence: &Fence) -> Result<Outcome, StoreError> {
        self.call("DeleteItem", Some(key), None, self.store.delete(key, fence)).await
    }
}
