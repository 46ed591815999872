//! Which calls into the processors of one process run: two at once for a shard go into the history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::{ShardId, Tasks};

use super::history::{Life, What};
use super::log::Log;

/// The calls of one process. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    life: Life,
    log: Log,
    /// The tasks of the process.
    pub(crate) tasks: Tasks,
    running: Arc<Mutex<BTreeMap<ShardId, usize>>>,
}

/// A call that runs until this is dropped, with the future of the call or at its end.
pub(crate) struct Running {
    calls: Calls,
    shard: ShardId,
}

impl Calls {
    pub(crate) fn new(life: Life, log: Log, tasks: Tasks) -> Self {
        Self { life, log, tasks, running: Arc::default() }
    }

    pub(crate) fn begin(&self, shard: &ShardId) -> Running {
        let before = {
            let mut running = self.running();
            let running = running.entry(shard.clone()).or_default();
            *running += 1;
            *running - 1
        };
        if before > 0 {
            self.log.on(shard, What::Overlaps(self.life));
        }
        Running { calls: self.clone(), shard: shard.clone() }
    }

    /// Whether a call for this shard runs.
    pub(crate) fn is_running(&self, shard: &ShardId) -> bool {
        self.running().get(shard).is_some_and(|calls| *calls > 0)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<ShardId, usize>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(running) = self.calls.running().get_mut(&self.shard) {
            *running -= 1;
        }
    }
}
