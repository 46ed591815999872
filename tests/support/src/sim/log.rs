//! Where events are written down as they happen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kcl_core::{Clock, Position, ShardId};

use super::history::{Event, History, Readers, What};

/// Where events are written down as they happen. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    clock: Clock,
    begun: Instant,
    history: Arc<Mutex<History>>,
    undone: Arc<Mutex<Undone>>,
}

/// What has to be done yet.
#[derive(Debug, Default)]
struct Undone {
    /// When each record was put.
    records: BTreeMap<(ShardId, Position), Duration>,
    /// From when on records count; `None` while the application has not begun.
    begins: Option<Duration>,
    readers: Readers,
}

impl Log {
    pub(crate) fn new(clock: Clock, history: History) -> Self {
        let begun = clock.now();
        let undone = Undone { begins: history.begins(), ..Undone::default() };
        Self {
            clock,
            begun,
            history: Arc::new(Mutex::new(history)),
            undone: Arc::new(Mutex::new(undone)),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.now() - self.begun
    }

    pub(crate) fn note(&self, what: What) {
        let at = self.elapsed();
        let Undone { begins, readers, .. } = &mut *self.undone();
        if readers.promise(&what) {
            begins.get_or_insert(at);
        }
        self.lock().events.push(Event { at, shard: None, what });
    }

    pub(crate) fn on(&self, shard: &ShardId, what: What) {
        let at = self.elapsed();
        match &what {
            What::Put(seen) => {
                self.undone().records.insert((shard.clone(), seen.position.clone()), at);
            }
            What::Done(_, first, last) => {
                let done = (shard.clone(), first.clone())..=(shard.clone(), last.clone());
                let mut undone = self.undone();
                let done: Vec<_> =
                    undone.records.range(done).map(|(record, _)| record.clone()).collect();
                for record in done {
                    undone.records.remove(&record);
                }
            }
            _ => {}
        }
        self.lock().events.push(Event { at, shard: Some(shard.clone()), what });
    }

    /// Whether every record that counts was returned `Ok` by some processor.
    pub(crate) fn everything_done(&self) -> bool {
        let Undone { records, begins, .. } = &*self.undone();
        begins.is_some_and(|begins| records.values().all(|at| *at < begins))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn undone(&self) -> MutexGuard<'_, Undone> {
        self.undone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
