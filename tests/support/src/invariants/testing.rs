//! Histories that never happened.

use std::time::Duration;

use kcl_core::leasing::LeaseTiming;
use kcl_core::{HashRange, Position, ShardId, WorkerId};
use kcl_lease::{Lease, LeaseKey};

use crate::sim::HEAL_BOUND;
use crate::sim::history::{Event, History, Life, Seen, Terms, Turn, What, Write};
use crate::sim::schedule::{Checkpoints, Start, Trial};

pub(super) const ANA: Life = Life { worker: 1, life: 1 };
pub(super) const BOB: Life = Life { worker: 2, life: 1 };

/// A history of shard 0 (and others), one second from event to event. Leases last 10 s.
pub(super) struct Made {
    pub(super) history: History,
}

pub(super) fn made() -> Made {
    let terms = Terms {
        timing: LeaseTiming::for_duration(Duration::from_secs(10)),
        heal_bound: HEAL_BOUND,
        start: Start::TrimHorizon,
        checkpoint: Checkpoints::Automatic,
        page: 1_000,
        budget: 10 * 1024 * 1024,
        limited: false,
    };
    Made { history: History::new(terms) }
}

pub(super) fn shard(number: u32) -> ShardId {
    ShardId::new(format!("shardId-{number:012}")).unwrap()
}

pub(super) fn at(number: u64) -> Position {
    Position::at(number.to_string().parse().unwrap(), 0)
}

pub(super) fn seen(number: u64) -> Seen {
    Seen { position: at(number), key: 0, nth: number - 1 }
}

/// A lease of shard 0.
pub(super) fn lease(owner: Option<Life>, counter: u64, position: Position) -> Lease {
    let mut lease = Lease::new(LeaseKey::single(shard(0)), position);
    lease.owner = owner.map(|life| WorkerId::new(format!("w{}", life.worker)).unwrap());
    lease.counter = counter;
    lease.hash_range = Some(HashRange::WHOLE);
    lease
}

impl Made {
    pub(super) fn on(mut self, number: u32, what: What) -> Self {
        let at = Duration::from_secs(self.history.events.len() as u64);
        self.history.events.push(Event { at, shard: Some(shard(number)), what });
        self
    }

    pub(super) fn then(mut self, what: What) -> Self {
        let at = Duration::from_secs(self.history.events.len() as u64);
        self.history.events.push(Event { at, shard: None, what });
        self
    }

    pub(super) fn opened(self, number: u32, parents: &[u32]) -> Self {
        let parents = parents.iter().copied().map(shard).collect();
        self.on(number, What::Opened { parents, range: HashRange::WHOLE })
    }

    pub(super) fn put(self, numbers: &[u64]) -> Self {
        numbers.iter().fold(self, |made, number| made.on(0, What::Put(seen(*number))))
    }

    pub(super) fn delivered(self, life: Life, numbers: &[u64]) -> Self {
        self.on(0, What::Delivered(life, numbers.iter().copied().map(seen).collect()))
    }

    pub(super) fn done(self, life: Life, numbers: &[u64]) -> Self {
        let (first, last) = (at(numbers[0]), at(numbers[numbers.len() - 1]));
        self.delivered(life, numbers).on(0, What::Done(life, first, last))
    }

    /// A write that was sent when it took effect, under the right fence.
    pub(super) fn wrote(
        self,
        by: impl Into<Option<Life>>,
        before: Option<Lease>,
        after: Option<Lease>,
    ) -> Self {
        let issued = Duration::from_secs(self.history.events.len() as u64);
        let expected = before.as_ref().map(Lease::fence);
        let of = before.as_ref().or(after.as_ref()).map(|lease| lease.key.shard().clone());
        let write = Write { by: by.into(), issued, expected, before, after };
        let mut made = self.on(0, What::Wrote(Box::new(write)));
        made.history.events.last_mut().unwrap().shard = of;
        made
    }

    /// So many seconds pass.
    pub(super) fn waits(self, seconds: u64) -> Self {
        (0..seconds).fold(self, |made, _| made.then(What::Weather("fine".into())))
    }

    /// A trial in which ANA, who owns shard 0, takes a turn; BOB is granted the shard so many seconds and one later.
    pub(super) fn passes_on(self, trial: Trial, turn: Turn, waits: u64) -> Self {
        let turned = self.taken(ANA).then(What::Tries(trial)).then(What::Process(ANA, turn));
        let granted = turned.waits(waits).on(0, What::Granted(BOB, Position::TrimHorizon));
        granted.waits(20).then(What::Tried)
    }

    /// The lease of another shard is taken.
    pub(super) fn taken_of(self, number: u32, by: Life) -> Self {
        let of = |owner, counter| Lease {
            key: LeaseKey::single(shard(number)),
            ..lease(owner, counter, Position::TrimHorizon)
        };
        let (fresh, taken) = (of(None, 0), of(Some(by), 1));
        let issued = Duration::from_secs(self.history.events.len() as u64);
        let expected = Some(fresh.fence());
        let write =
            Write { by: Some(by), issued, expected, before: Some(fresh), after: Some(taken) };
        self.on(number, What::Wrote(Box::new(write)))
    }

    /// The lease is created and taken.
    pub(super) fn taken(self, by: Life) -> Self {
        let fresh = lease(None, 0, Position::TrimHorizon);
        let taken = lease(Some(by), 1, Position::TrimHorizon);
        self.wrote(by, None, Some(fresh.clone())).wrote(by, Some(fresh), Some(taken))
    }

    /// A checkpoint from one position to another, by the lease's owner.
    pub(super) fn checkpointed(self, by: Life, from: (u64, Position), to: Position) -> Self {
        let (counter, from) = from;
        let before = lease(Some(by), counter, from);
        self.wrote(by, Some(before), Some(lease(Some(by), counter + 1, to)))
    }
}
