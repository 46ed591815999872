//! What happened in a run, event by event: the only thing that invariants judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kcl_core::leasing::LeaseTiming;
use kcl_core::{Clock, HashRange, Position, ShardId};
use kcl_lease::{Fence, Lease};

/// A process: the worker `w1`, started for the second time, is `w1.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    /// The number in its worker id.
    pub worker: u32,
    /// How often a worker of this id was started.
    pub life: u32,
}

/// A user record: `nth` counts the records of its key from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its place.
    pub position: Position,
    /// Its key.
    pub key: u32,
    /// Its number among the records of the key.
    pub nth: u64,
}

/// A write that changed a lease.
#[derive(Debug, Clone)]
pub struct Write {
    /// Who wrote; `None` is an operator.
    pub by: Option<Life>,
    /// When the writer sent it.
    pub issued: Duration,
    /// What it expected to find; `None` for a creation.
    pub expected: Option<Fence>,
    /// The lease before; `None` when there was none.
    pub before: Option<Lease>,
    /// The lease after; `None` when it was deleted.
    pub after: Option<Lease>,
}

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum What {
    /// A shard was opened.
    Opened {
        /// The shards that it was made of.
        parents: Vec<ShardId>,
        /// Its hash keys.
        range: HashRange,
    },
    /// A shard was closed.
    Closed,
    /// A record was put.
    Put(Seen),
    /// A process started, crashed, stalled, …
    Process(Life, &'static str),
    /// A process ended by itself: its report or error.
    Finished(Life, String),
    /// The shard was granted at this position.
    Granted(Life, Position),
    /// Records were handed to the processor.
    Delivered(Life, Vec<Seen>),
    /// The processor returned `Ok` for everything from the first to the second position.
    Done(Life, Position, Position),
    /// The processor failed.
    Failed(Life, &'static str),
    /// The lease was written.
    Wrote(Box<Write>),
    /// A conditional write was refused.
    Refused(Life),
    /// A service refused a request as malformed, or a write left something that is no lease.
    Malformed(Life, String),
    /// A call went wrong on purpose.
    Fault(Life, &'static str),
    /// The world changed: an outage, healing.
    Weather(String),
    /// No more faults from here on.
    Healed,
    /// Everything put is done, every closed shard has ended, every open one has an owner.
    Drained,
    /// Every worker is asked to stop.
    Stopping,
    /// Every worker has stopped.
    Stopped,
}

/// An event: when, on which shard if on one, and what.
#[derive(Debug, Clone)]
pub struct Event {
    /// Since the beginning.
    pub at: Duration,
    /// The shard.
    pub shard: Option<ShardId>,
    /// What happened.
    pub what: What,
}

/// A run.
#[derive(Debug, Clone)]
pub struct History {
    /// The timing of the leases.
    pub timing: LeaseTiming,
    /// How soon after healing everything must be done.
    pub heal_bound: Duration,
    /// The events in their order.
    pub events: Vec<Event>,
}

impl History {
    /// An empty history.
    #[must_use]
    pub fn new(timing: LeaseTiming, heal_bound: Duration) -> Self {
        Self { timing, heal_bound, events: Vec::new() }
    }

    /// Every shard with its parents and hash keys.
    #[must_use]
    pub fn shards(&self) -> BTreeMap<&ShardId, (&[ShardId], HashRange)> {
        let opened = |event: &'_ Event| match &event.what {
            What::Opened { .. } => event.shard.is_some(),
            _ => false,
        };
        let facts = self.events.iter().filter(|event| opened(event)).filter_map(|event| {
            match (&event.shard, &event.what) {
                (Some(shard), What::Opened { parents, range }) => {
                    Some((shard, (parents.as_slice(), *range)))
                }
                _ => None,
            }
        });
        facts.collect()
    }

    /// The leases as the last writes left them.
    #[must_use]
    pub fn final_leases(&self) -> BTreeMap<&ShardId, &Lease> {
        let mut leases = BTreeMap::new();
        for event in &self.events {
            if let (Some(shard), What::Wrote(write)) = (&event.shard, &event.what) {
                match &write.after {
                    Some(lease) => leases.insert(shard, lease),
                    None => leases.remove(shard),
                };
            }
        }
        leases
    }

    /// One line an event; `last` limits it to that many from the end.
    #[must_use]
    pub fn render(&self, last: Option<usize>) -> String {
        let mut names = BTreeMap::new();
        let mut counts: BTreeMap<&ShardId, usize> = BTreeMap::new();
        for event in &self.events {
            if let (Some(shard), What::Put(seen)) = (&event.shard, &event.what) {
                let count = counts.entry(shard).or_default();
                *count += 1;
                names.insert((shard, &seen.position), *count);
            }
        }
        let from = last.map_or(0, |last| self.events.len().saturating_sub(last));
        let mut text = String::new();
        for event in &self.events[from..] {
            let name = |position: &Position| {
                let shard = event.shard.as_ref()?;
                names.get(&(shard, position)).map(|count| format!("#{count}"))
            };
            let name = |position: &Position| name(position).unwrap_or_else(|| position.to_string());
            let shard = event.shard.as_ref().map_or("-", |shard| short(shard));
            let _ = write!(text, "{:>9.3} {shard:>4} ", event.at.as_secs_f64());
            let _ = writeln!(text, "{}", describe(&event.what, &name));
        }
        text
    }
}

/// `shardId-000000000012` as `12`.
pub(crate) fn short(shard: &ShardId) -> &str {
    let digits = shard.as_str().trim_start_matches("shardId-").trim_start_matches('0');
    if digits.is_empty() { "0" } else { digits }
}

fn describe(what: &What, name: &dyn Fn(&Position) -> String) -> String {
    match what {
        What::Opened { parents, .. } => {
            format!("opened, parents {:?}", parents.iter().map(short).collect::<Vec<_>>())
        }
        What::Closed => "closed".into(),
        What::Put(seen) => format!("put {} k{}:{}", name(&seen.position), seen.key, seen.nth),
        What::Process(life, what) => format!("{life} {what}"),
        What::Finished(life, how) => format!("{life} finished: {how}"),
        What::Granted(life, position) => format!("{life} granted after {}", name(position)),
        What::Delivered(life, records) => {
            let ends = [records.first(), records.last()]
                .map(|end| end.map_or_else(String::new, |seen| name(&seen.position)));
            format!("{life} gets {}..{}", ends[0], ends[1])
        }
        What::Done(life, first, last) => format!("{life} done {}..{}", name(first), name(last)),
        What::Failed(life, how) => format!("{life} processor {how}"),
        What::Wrote(write) => {
            let by = write.by.map_or_else(|| "operator".into(), |life| life.to_string());
            let lease = |lease: &Option<Lease>| match lease {
                None => "nothing".to_owned(),
                Some(lease) => format!(
                    "{}@{} {}",
                    lease.owner.as_ref().map_or("-", |owner| owner.as_str()),
                    lease.counter,
                    name(&lease.position)
                ),
            };
            let (before, after) = (lease(&write.before), lease(&write.after));
            format!("{by} wrote {before} -> {after}, sent {:.3}", write.issued.as_secs_f64())
        }
        What::Refused(life) => format!("{life} write refused"),
        What::Malformed(life, what) => format!("{life} malformed: {what}"),
        What::Fault(life, fault) => format!("{life} fault: {fault}"),
        What::Weather(text) => format!("weather: {text}"),
        What::Healed => "healed".into(),
        What::Drained => "drained".into(),
        What::Stopping => "everybody is asked to stop".into(),
        What::Stopped => "stopped".into(),
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}.{}", self.worker, self.life)
    }
}

/// Where events are written down as they happen. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    clock: Clock,
    begun: Instant,
    history: Arc<Mutex<History>>,
    undone: Arc<Mutex<BTreeSet<(ShardId, Position)>>>,
}

impl Log {
    pub(crate) fn new(clock: Clock, history: History) -> Self {
        let begun = clock.now();
        Self { clock, begun, history: Arc::new(Mutex::new(history)), undone: Arc::default() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.now() - self.begun
    }

    pub(crate) fn note(&self, what: What) {
        let at = self.elapsed();
        self.lock().events.push(Event { at, shard: None, what });
    }

    pub(crate) fn on(&self, shard: &ShardId, what: What) {
        let at = self.elapsed();
        let mut undone = self.undone.lock().unwrap_or_else(PoisonError::into_inner);
        match &what {
            What::Put(seen) => {
                undone.insert((shard.clone(), seen.position.clone()));
            }
            What::Done(_, first, last) => {
                let done = (shard.clone(), first.clone())..=(shard.clone(), last.clone());
                for record in undone.range(done).cloned().collect::<Vec<_>>() {
                    undone.remove(&record);
                }
            }
            _ => {}
        }
        drop(undone);
        self.lock().events.push(Event { at, shard: Some(shard.clone()), what });
    }

    /// Whether every record that was put was returned `Ok` by some processor.
    pub(crate) fn everything_done(&self) -> bool {
        self.undone.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
