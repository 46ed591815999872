//! One stream: its state, its settings, its shards.

use std::collections::BTreeMap;

use super::consumer::Consumer;
use super::consumers::ConsumerRates;
use super::hash_range::{self, HashRange};
use super::shard::{Parents, Shard};
use super::time::Time;

/// Where a stream is in its life. Every arrow takes the configured transition delay.
///
/// ```text
///  CreateStream ─> Creating ──> Active ──SplitShard, MergeShards, UpdateShardCount, UpdateStreamMode──> Updating
///                     │         │    ^                                                                   │   │
///                     │         │    └───────────────────────────────────────────────────────────────────┘   │
///                     └─────────┴──DeleteStream──> Deleting ──> (gone) <──────────────DeleteStream───────────┘
/// ```
///
/// A change takes effect when `Updating` ends; until then the old shards serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Creating { until: Time, shards: u32 },
    Active,
    Updating { until: Time, change: Change },
    Deleting { until: Time },
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Creating { .. } => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating { .. } => "UPDATING",
            Self::Deleting { .. } => "DELETING",
        }
    }

    pub(super) fn until(self) -> Option<Time> {
        match self {
            Self::Active => None,
            Self::Creating { until, .. }
            | Self::Updating { until, .. }
            | Self::Deleting { until } => Some(until),
        }
    }
}

/// What `Updating` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Split { shard: u32, at: u128 },
    Merge { left: u32, right: u32 },
    Scale { shards: u32 },
    Mode(Mode),
}

/// How capacity is provided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Provisioned,
    OnDemand,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Provisioned => "PROVISIONED",
            Self::OnDemand => "ON_DEMAND",
        }
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) arn: String,
    /// Tells a stream from a later one of the same name.
    pub(super) generation: u64,
    pub(super) created: Time,
    pub(super) status: Status,
    pub(super) mode: Mode,
    pub(super) retention_hours: u32,
    /// Bytes of data and partition key.
    pub(super) max_record: usize,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) consumer_rates: ConsumerRates,
    consumers: BTreeMap<String, Consumer>,
    shards: BTreeMap<u32, Shard>,
    /// Open shards by the start of their range.
    open: BTreeMap<u128, u32>,
    next_shard: u32,
}

impl Stream {
    pub(super) fn new(name: String, arn: String, generation: u64, now: Time, mode: Mode) -> Self {
        Self {
            name,
            arn,
            generation,
            created: now,
            status: Status::Active,
            mode,
            retention_hours: 24,
            max_record: 1 << 20,
            tags: BTreeMap::new(),
            consumer_rates: ConsumerRates::default(),
            consumers: BTreeMap::new(),
            shards: BTreeMap::new(),
            open: BTreeMap::new(),
            next_shard: 0,
        }
    }

    /// Does what the present transition is about and becomes active.
    pub(super) fn settle(&mut self, at: Time) {
        match self.status {
            Status::Creating { shards, .. } => {
                for range in hash_range::uniform(shards) {
                    // No moment of the stream's life is without shards.
                    self.open_shard(self.created, Parents::None, range);
                }
            }
            Status::Updating { change, .. } => match change {
                Change::Split { shard, at: hash } => self.split(at, shard, hash),
                Change::Merge { left, right } => self.merge(at, left, right),
                Change::Scale { shards } => self.scale(at, shards),
                Change::Mode(mode) => self.mode = mode,
            },
            Status::Active | Status::Deleting { .. } => {}
        }
        self.status = Status::Active;
    }

    /// The oldest arrival time that is still kept, in milliseconds since the epoch.
    pub(super) fn horizon(&self, now: Time) -> u64 {
        now.millis().saturating_sub(u64::from(self.retention_hours) * 3_600_000)
    }

    /// Forgets what is past retention: records, and closed shards all of whose records must be.
    pub(super) fn prune(&mut self, now: Time) {
        let horizon = self.horizon(now);
        self.shards.retain(|_, shard| shard.closed.is_none_or(|closed| closed.at >= horizon));
        for shard in self.shards.values_mut() {
            shard.trim(horizon);
        }
    }

    /// A shard that is open or still within retention, with its expired records gone.
    pub(super) fn shard(&mut self, now: Time, number: u32) -> Option<&mut Shard> {
        let horizon = self.horizon(now);
        let shard = self.shards.get_mut(&number)?;
        if shard.closed.is_some_and(|closed| closed.at < horizon) {
            return None;
        }
        shard.trim(horizon);
        Some(shard)
    }

    /// The registered consumers by name, without those that are gone.
    pub(super) fn consumers(&mut self, now: Time) -> &mut BTreeMap<String, Consumer> {
        self.consumers.retain(|_, consumer| !consumer.is_gone(now));
        &mut self.consumers
    }

    /// Forgets a subscription of a consumer that may itself be gone.
    pub(super) fn leave(&mut self, consumer_arn: &str, shard: u32, subscription: u64) {
        if let Some(consumer) = self.consumers.values_mut().find(|c| c.arn == consumer_arn) {
            consumer.slot(shard).leave(subscription);
        }
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.subscribers.retain(|id| *id != subscription);
        }
    }

    /// All shards that [`Stream::prune`] has left, by number.
    pub(super) fn shards(&self) -> &BTreeMap<u32, Shard> {
        &self.shards
    }

    pub(super) fn open_shards(&self) -> &BTreeMap<u128, u32> {
        &self.open
    }

    /// This stream's name and the open shard that takes `hash`.
    pub(super) fn route(&mut self, hash: u128) -> Option<(&str, &mut Shard)> {
        let (_, number) = self.open.range(..=hash).next_back()?;
        Some((&self.name, self.shards.get_mut(number)?))
    }

    pub(super) fn open_shard(&mut self, now: Time, parents: Parents, range: HashRange) -> u32 {
        let number = self.next_shard;
        self.next_shard += 1;
        // A child's numbers must be above its parents', also when both are made within a second.
        let after_parents = parents
            .iter()
            .filter_map(|parent| self.shards.get(&parent))
            .map(|parent| parent.created_secs() + 1);
        let created_secs = after_parents.chain([now.secs()]).max().unwrap_or_default();
        self.shards.insert(number, Shard::open(number, parents, range, created_secs, now));
        self.open.insert(range.start, number);
        number
    }

    pub(super) fn close_shard(&mut self, now: Time, number: u32, children: Vec<u32>) {
        if let Some(shard) = self.shards.get_mut(&number) {
            shard.close(now, children);
            // The first child starts where its parent did and has taken its place already.
            if self.open.get(&shard.range.start) == Some(&number) {
                self.open.remove(&shard.range.start);
            }
        }
    }
}
