//! One registered consumer of a stream: its state, and what it is subscribed to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bucket::Bucket;
use super::time::Time;

/// How long a subscription has its shard for itself.
const EXCLUSIVE: Duration = Duration::from_secs(5);

/// A consumer of a stream.
///
/// ```text
///  RegisterStreamConsumer ─> Creating ──> Active ──DeregisterStreamConsumer──> Deleting ──> (gone)
///                               └───────────────DeregisterStreamConsumer──────────^
/// ```
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) created: Time,
    active_at: Time,
    gone_at: Option<Time>,
    slots: BTreeMap<u32, Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConsumerStatus {
    Creating,
    Active,
    Deleting,
}

impl ConsumerStatus {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
        }
    }
}

/// A consumer's claim to one shard.
#[derive(Debug)]
pub(super) struct Slot {
    calls: Bucket,
    subscribed: Option<Time>,
    /// The subscription that has the shard, unless it has ended.
    pub(super) live: Option<u64>,
}

/// Why a shard is not given to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// Another one was given it less than five seconds ago.
    Taken,
    /// More than one call in a second.
    TooFast,
}

impl Consumer {
    pub(super) fn new(name: String, arn: String, now: Time, transition: Duration) -> Self {
        let active_at = now.plus(transition);
        Self { name, arn, created: now, active_at, gone_at: None, slots: BTreeMap::new() }
    }

    pub(super) fn status(&self, now: Time) -> ConsumerStatus {
        if self.gone_at.is_some() {
            ConsumerStatus::Deleting
        } else if now < self.active_at {
            ConsumerStatus::Creating
        } else {
            ConsumerStatus::Active
        }
    }

    pub(super) fn is_gone(&self, now: Time) -> bool {
        self.gone_at.is_some_and(|at| at <= now)
    }

    /// Begins its end; returns the subscriptions that end with it.
    pub(super) fn deregister(&mut self, now: Time, transition: Duration) -> Vec<u64> {
        self.gone_at.get_or_insert(now.plus(transition));
        self.slots.values().filter_map(|slot| slot.live).collect()
    }

    pub(super) fn slot(&mut self, shard: u32) -> &mut Slot {
        self.slots.entry(shard).or_insert_with(|| Slot {
            calls: Bucket::full(1),
            subscribed: None,
            live: None,
        })
    }
}

impl Slot {
    /// Gives the shard to `id`; returns the subscription that loses it.
    pub(super) fn claim(&mut self, now: Time, id: u64, limited: bool) -> Result<Option<u64>, Busy> {
        if self.subscribed.is_some_and(|at| now < at.plus(EXCLUSIVE)) {
            self.calls.take(now, 1);
            return Err(Busy::Taken);
        }
        if limited && !self.calls.has(now, 1) {
            return Err(Busy::TooFast);
        }
        self.calls.take(now, 1);
        self.subscribed = Some(now);
        Ok(self.live.replace(id))
    }

    /// Forgets a subscription that has ended.
    pub(super) fn leave(&mut self, id: u64) {
        self.live.take_if(|live| *live == id);
    }
}
