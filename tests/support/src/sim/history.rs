//! What happened in a run, event by event: the only thing that invariants judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use kcl_core::leasing::LeaseTiming;
use kcl_core::{HashRange, Position, ShardId, WorkerId};
use kcl_lease::{Fence, Lease};

use super::schedule::{Checkpoints, Start, Trial};

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

/// The fault of a position that the stream has forgotten.
pub(crate) const FORGOTTEN: &str = "Kinesis does not know the position";

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
    /// A process started, crashed, stalled, … or its consumer of the shard ended.
    Process(Life, Turn),
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
    /// The processor's `shard_ended` returned `Ok`.
    SawTheEnd(Life),
    /// The processor asked for a checkpoint here, and was told that it is durable.
    Checkpointed(Life, Position),
    /// A call into the processor of the shard began while another one of the same process had not ended.
    Overlaps(Life),
    /// The process asked where to read the shard.
    Reads(Life),
    /// The process called this operation (of the shard, if it names one) so often within a second, more often than before.
    Rate(Life, &'static str, usize),
    /// The process holds so many bytes of large payloads, more than before.
    Holds(Life, usize),
    /// The lease was written.
    Wrote(Box<Write>),
    /// The owner of the lease was asked to hand it over to this worker, or the request was taken back.
    Asked(Option<Life>, Option<WorkerId>),
    /// A conditional write was refused.
    Refused(Life),
    /// A service refused a request as malformed, or a write left something that is no lease.
    Malformed(Life, String),
    /// A call went wrong on purpose.
    Fault(Life, &'static str),
    /// The world changed: an outage, healing.
    Weather(String),
    /// No more faults from here on, but for those of trials.
    Healed,
    /// The processor of the shard fails from here on, whoever runs it.
    Poisoned,
    /// The processor of the shard does not fail any more.
    Cured,
    /// A trial begins.
    Tries(Trial),
    /// What the trial did has had its time.
    Tried,
    /// Everything put is done, every closed shard has ended, every open one has an owner.
    Drained,
    /// Every worker is asked to stop.
    Stopping,
    /// Every worker has stopped.
    Stopped,
}

/// A turn in the life of a process, or of its consumer of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It starts.
    Starts,
    /// It has joined.
    IsReady,
    /// It dies without a word.
    Crashes,
    /// It is stopped by its host.
    Stalls,
    /// It goes on.
    Resumes,
    /// It is asked to stop.
    IsAskedToStop,
    /// It is told that it reads the stream no longer.
    LeavesTheStream,
    /// It is told to read the stream again.
    ReadsTheStream,
    /// It reads the stream that it was told to read again.
    StreamIsReady,
    /// It read the shard to its end.
    EndedIt,
    /// It freed the shard in order.
    DrainedIt,
    /// It drained the shard because another worker had asked for it.
    HandedItOver,
    /// It lost the shard.
    LostIt,
    /// It gave the shard up.
    HaltedIt,
    /// It left a call behind.
    AbandonedIt,
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
    /// What was agreed before it began.
    pub terms: Terms,
    /// The events in their order.
    pub events: Vec<Event>,
}

/// What a history is judged by, beside its events.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The timing of the leases.
    pub timing: LeaseTiming,
    /// How soon after healing everything must be done.
    pub heal_bound: Duration,
    /// Where the application begins.
    pub start: Start,
    /// Who checkpoints.
    pub checkpoint: Checkpoints,
    /// The most records that a call brings.
    pub page: u32,
    /// The memory budget of each worker, in bytes.
    pub budget: usize,
    /// Some workers may hold one lease only.
    pub limited: bool,
}

impl Write {
    /// What it was: a request changes nothing else.
    pub(crate) fn into_what(self) -> What {
        match (&self.before, &self.after) {
            (Some(before), Some(after))
                if before != after
                    && *after
                        == (Lease { handoff_to: after.handoff_to.clone(), ..before.clone() }) =>
            {
                What::Asked(self.by, after.handoff_to.clone())
            }
            _ => What::Wrote(Box::new(self)),
        }
    }
}

/// Who may promise that what is put from now on is read: not a worker that has left the stream.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    left: BTreeSet<Life>,
}

impl Readers {
    /// Whether this is such a promise.
    pub(crate) fn promise(&mut self, what: &What) -> bool {
        let What::Process(life, turn) = what else {
            return false;
        };
        match turn {
            Turn::LeavesTheStream => self.left.insert(*life),
            Turn::ReadsTheStream => self.left.remove(life),
            Turn::IsReady => return !self.left.contains(life),
            Turn::StreamIsReady => return true,
            _ => false,
        };
        false
    }
}

impl History {
    /// An empty history.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self { terms, events: Vec::new() }
    }

    /// From when on what is put must be processed: an application may begin later than its stream. `None` while it has not
    /// begun.
    #[must_use]
    pub fn begins(&self) -> Option<Duration> {
        match self.terms.start {
            Start::TrimHorizon => Some(Duration::ZERO),
            Start::After(span) => Some(span),
            Start::Latest => {
                let mut readers = Readers::default();
                let promise = self.events.iter().find(|event| readers.promise(&event.what));
                promise.map(|event| event.at)
            }
        }
    }

    /// Whether what was put at this time may be left out, because the application began later.
    pub fn may_skip(&self) -> impl Fn(Duration) -> bool + use<> {
        let begins = self.begins();
        move |at| begins.is_none_or(|begins| at < begins)
    }

    /// When the first event like this happened, if one did.
    #[must_use]
    pub fn first(&self, wanted: fn(&What) -> bool) -> Option<Duration> {
        self.events.iter().find(|event| wanted(&event.what)).map(|event| event.at)
    }

    /// Every shard with its parents and hash keys.
    #[must_use]
    pub fn shards(&self) -> BTreeMap<&ShardId, (&[ShardId], HashRange)> {
        let facts = self.events.iter().filter_map(|event| match (&event.shard, &event.what) {
            (Some(shard), What::Opened { parents, range }) => {
                Some((shard, (parents.as_slice(), *range)))
            }
            _ => None,
        });
        facts.collect()
    }

    /// The leases as the last writes left them.
    #[must_use]
    pub fn final_leases(&self) -> BTreeMap<&ShardId, &Lease> {
        leases(&self.events)
    }
}

/// The leases as these events leave them.
pub(crate) fn leases<'a>(
    events: impl IntoIterator<Item = &'a Event>,
) -> BTreeMap<&'a ShardId, &'a Lease> {
    let mut leases = BTreeMap::new();
    for event in events {
        if let (Some(shard), What::Wrote(write)) = (&event.shard, &event.what) {
            match &write.after {
                Some(lease) => leases.insert(shard, lease),
                None => leases.remove(shard),
            };
        }
    }
    leases
}

impl Life {
    /// Whether this is its worker's id.
    #[must_use]
    pub fn is(self, id: &WorkerId) -> bool {
        id.as_str().strip_prefix('w').is_some_and(|number| number.parse() == Ok(self.worker))
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}.{}", self.worker, self.life)
    }
}

/// `shardId-000000000012` as `12`.
pub(crate) fn short(shard: &ShardId) -> &str {
    let digits = shard.as_str().trim_start_matches("shardId-").trim_start_matches('0');
    if digits.is_empty() { "0" } else { digits }
}
