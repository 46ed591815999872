//! What really happened in a run, so that a scenario can demand that it came to the point.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use kcl_core::{Position, ShardId, WorkerId};
use kcl_lease::Lease;
use kcl_testkit::sim::history::{Event, History, Life, Turn, What, Write};

/// A run in which no invariant was violated.
pub(crate) struct Facts(pub(crate) History);

/// A shard that was given to a process.
pub(crate) struct Grant<'a> {
    pub(crate) at: Duration,
    pub(crate) shard: &'a ShardId,
    pub(crate) life: Life,
    pub(crate) position: &'a Position,
}

impl Facts {
    pub(crate) fn events(&self) -> &[Event] {
        &self.0.events
    }

    pub(crate) fn count(&self, wanted: impl Fn(&What) -> bool) -> usize {
        self.events().iter().filter(|event| wanted(&event.what)).count()
    }

    /// The first event like this.
    pub(crate) fn when(&self, wanted: impl Fn(&Event) -> bool) -> Option<Duration> {
        self.events().iter().find(|event| wanted(event)).map(|event| event.at)
    }

    /// How many calls went wrong in this way.
    pub(crate) fn faults(&self, word: &str) -> usize {
        self.count(|what| matches!(what, What::Fault(_, fault) if *fault == word))
    }

    /// How many calls of processors went wrong.
    pub(crate) fn failures(&self) -> usize {
        self.count(|what| matches!(what, What::Failed(..)))
    }

    pub(crate) fn turns(&self, wanted: Turn) -> usize {
        self.turns_within(Duration::ZERO..Duration::MAX, wanted)
    }

    pub(crate) fn turns_within(&self, span: Range<Duration>, wanted: Turn) -> usize {
        let wanted = |event: &&Event| {
            matches!(event.what, What::Process(_, turn) if turn == wanted)
                && span.contains(&event.at)
        };
        self.events().iter().filter(wanted).count()
    }

    pub(crate) fn grants(&self) -> Vec<Grant<'_>> {
        let grants = self.events().iter().filter_map(|event| match event {
            Event { at, shard: Some(shard), what: What::Granted(life, position) } => {
                Some(Grant { at: *at, shard, life: *life, position })
            }
            _ => None,
        });
        grants.collect()
    }

    /// The applied writes, each with its time and shard.
    pub(crate) fn writes(&self) -> impl Iterator<Item = (Duration, &ShardId, &Write)> {
        self.events().iter().filter_map(|event| match (&event.shard, &event.what) {
            (Some(shard), What::Wrote(write)) => Some((event.at, shard, &**write)),
            _ => None,
        })
    }

    /// How many leases went straight from one worker to another.
    pub(crate) fn moves(&self) -> usize {
        let moves = |write: &Write| match (owner(&write.before), owner(&write.after)) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        };
        self.writes().filter(|(_, _, write)| moves(write)).count()
    }

    /// How many deliveries of a record there were that had been done before.
    pub(crate) fn repeats(&self) -> usize {
        let mut done: BTreeMap<&ShardId, &Position> = BTreeMap::new();
        let mut repeats = 0;
        for event in self.events() {
            let Some(shard) = &event.shard else { continue };
            match &event.what {
                What::Delivered(_, batch) => {
                    let until = done.get(shard);
                    repeats += batch.iter().filter(|seen| Some(&&seen.position) <= until).count();
                }
                What::Done(_, _, last) => {
                    let until = done.entry(shard).or_insert(last);
                    *until = (*until).max(last);
                }
                _ => {}
            }
        }
        repeats
    }

    /// The longest time from a put of these to its first `Ok`.
    pub(crate) fn slowest(&self, which: impl Fn(&Event) -> bool) -> Duration {
        let mut open: BTreeMap<(&ShardId, &Position), Duration> = BTreeMap::new();
        let mut slowest = Duration::ZERO;
        for event in self.events() {
            let Some(shard) = &event.shard else { continue };
            match &event.what {
                What::Put(seen) if which(event) => {
                    open.insert((shard, &seen.position), event.at);
                }
                What::Done(_, first, last) => {
                    let done: Vec<_> = open
                        .range((shard, first)..=(shard, last))
                        .map(|(record, put)| (*record, *put))
                        .collect();
                    for (record, put) in done {
                        open.remove(&record);
                        slowest = slowest.max(event.at - put);
                    }
                }
                _ => {}
            }
        }
        slowest
    }

    /// The shards that were closed.
    pub(crate) fn closed(&self) -> BTreeSet<&ShardId> {
        let closed = self.events().iter().filter(|event| matches!(event.what, What::Closed));
        closed.filter_map(|event| event.shard.as_ref()).collect()
    }

    /// The shards whose end is durable.
    pub(crate) fn ended(&self) -> BTreeSet<&ShardId> {
        let ended = |write: &Write| write.after.as_ref().is_some_and(Lease::has_ended);
        self.writes().filter(|(_, _, write)| ended(write)).map(|(_, shard, _)| shard).collect()
    }
}

pub(crate) fn owner(lease: &Option<Lease>) -> Option<&WorkerId> {
    lease.as_ref()?.owner.as_ref()
}
