//! The subscription of one reader, given up when nobody takes its events.
//!
//! Events that are not taken fill the stream's window, and then that of the HTTP/2 connection, which other shards share. A
//! reader is asked for nothing while its processor is slow, so it cannot give its subscription up by itself: a watch does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use kcl_core::{Clock, Tasks};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::calls::Subscription;

/// For so long events may wait for their reader: twice the gap between events of an idle shard.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Holds a subscription while its reader is not asked.
#[derive(Debug)]
pub(crate) struct Line {
    slot: Arc<Mutex<Slot>>,
    clock: Clock,
    tasks: Tasks,
}

#[derive(Debug)]
enum Slot {
    Empty,
    /// The reader has it.
    InUse,
    Parked {
        live: Box<Live>,
        since: Instant,
    },
}

/// A subscription and its watch, which ends with it.
#[derive(Debug)]
struct Live {
    subscription: Subscription,
    _watch: DropGuard,
}

/// A subscription in use. It goes back into its line when it is dropped, unless it was closed.
#[derive(Debug)]
pub(crate) struct InUse<'a> {
    line: &'a Line,
    live: Option<Box<Live>>,
}

impl Line {
    pub(crate) fn new(clock: Clock, tasks: Tasks) -> Self {
        Self { slot: Arc::new(Mutex::new(Slot::Empty)), clock, tasks }
    }

    /// Puts a new subscription in, for the one that was there.
    pub(crate) fn open(&self, subscription: Subscription) {
        let watch = CancellationToken::new();
        let live = Box::new(Live { subscription, _watch: watch.clone().drop_guard() });
        self.put(Slot::Parked { live, since: self.clock.now() });
        self.tasks.spawn(watch_over(Arc::downgrade(&self.slot), self.clock.clone(), watch));
    }

    /// Takes it out; `None` when it was given up.
    pub(crate) fn take(&self) -> Option<InUse<'_>> {
        let mut slot = lock(&self.slot);
        match std::mem::replace(&mut *slot, Slot::InUse) {
            Slot::Parked { live, .. } => Some(InUse { line: self, live: Some(live) }),
            Slot::Empty | Slot::InUse => {
                *slot = Slot::Empty;
                None
            }
        }
    }

    fn put(&self, slot: Slot) {
        let before = std::mem::replace(&mut *lock(&self.slot), slot);
        drop(before); // past the lock: it closes a stream
    }
}

impl InUse<'_> {
    pub(crate) fn subscription(&mut self) -> Option<&mut Subscription> {
        self.live.as_mut().map(|live| &mut live.subscription)
    }

    /// Ends it.
    pub(crate) fn close(mut self) {
        self.live = None;
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.line.put(match self.live.take() {
            Some(live) => Slot::Parked { live, since: self.line.clock.now() },
            None => Slot::Empty,
        });
    }
}

/// Gives a parked subscription up when its time is over.
async fn watch_over(slot: Weak<Mutex<Slot>>, clock: Clock, ended: CancellationToken) {
    loop {
        let due = {
            let Some(slot) = slot.upgrade() else { return };
            let mut slot = lock(&slot);
            let now = clock.now();
            match &*slot {
                Slot::Empty => return,
                Slot::InUse => now + PATIENCE,
                Slot::Parked { since, .. } if *since + PATIENCE <= now => {
                    let given_up = std::mem::replace(&mut *slot, Slot::Empty);
                    drop(slot);
                    drop(given_up);
                    return;
                }
                Slot::Parked { since, .. } => *since + PATIENCE,
            }
        };
        tokio::select! {
            biased;
            () = ended.cancelled() => return,
            () = clock.sleep_until(due) => {}
        }
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
