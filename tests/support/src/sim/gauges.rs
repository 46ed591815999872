//! What a process costs: how often it calls, and how many bytes of large payloads it holds. New heights go into the history.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kcl_core::ShardId;

use super::history::{Life, What};
use super::log::Log;

/// What one process costs.
#[derive(Debug)]
pub(crate) struct Gauges {
    life: Life,
    log: Log,
    calls: Mutex<BTreeMap<(&'static str, Option<ShardId>), Calls>>,
    held: Arc<AtomicUsize>,
    most_held: AtomicUsize,
}

/// The calls of the last second, and the most of any.
#[derive(Debug, Default)]
struct Calls {
    newest: VecDeque<Duration>,
    most: usize,
}

/// Payloads from this size on are counted: to count every one would cost more than the run.
const LARGE: usize = 64 * 1024;

impl Gauges {
    pub(crate) fn new(life: Life, log: Log) -> Self {
        let (calls, held) = (Mutex::default(), Arc::default());
        Self { life, log, calls, held, most_held: AtomicUsize::new(0) }
    }

    /// A call is sent.
    pub(crate) fn called(&self, operation: &'static str, shard: Option<&ShardId>) {
        let now = self.log.elapsed();
        let mut all = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = all.entry((operation, shard.cloned())).or_default();
        calls.newest.push_back(now);
        while calls.newest.front().is_some_and(|oldest| *oldest + Duration::from_secs(1) <= now) {
            calls.newest.pop_front();
        }
        if calls.newest.len() <= calls.most {
            return;
        }
        calls.most = calls.newest.len();
        let rate = What::Rate(self.life, operation, calls.most);
        match shard {
            Some(shard) => self.log.on(shard, rate),
            None => self.log.note(rate),
        }
    }

    /// The shard has a new reader, which knows nothing of the calls of the one before.
    pub(crate) fn begins(&self, shard: &ShardId) {
        let mut all = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, of), calls) in all.iter_mut() {
            if of.as_ref() == Some(shard) {
                calls.newest.clear();
            }
        }
    }

    /// A payload that is counted for as long as anybody holds it.
    pub(crate) fn hold(&self, data: Bytes) -> Bytes {
        if data.len() < LARGE {
            return data;
        }
        let held = self.held.fetch_add(data.len(), Ordering::SeqCst) + data.len();
        if held > self.most_held.fetch_max(held, Ordering::SeqCst) {
            self.log.note(What::Holds(self.life, held));
        }
        Bytes::from_owner(Held { data, held: self.held.clone() })
    }
}

struct Held {
    data: Bytes,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.data.len(), Ordering::SeqCst);
    }
}
