//! A lease: who reads a shard, and how far it was read.

use std::collections::BTreeSet;
use std::fmt;
use std::time::SystemTime;

use kcl_core::leasing::PendingCheckpoint;
use kcl_core::{HashRange, Position, ShardId, StreamId, WorkerId};

/// The key of a lease, as the Java KCL forms it: `shard` in a single-stream application, `account:stream:epoch:shard` in a
/// multi-stream one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey {
    stream: Option<StreamId>,
    shard: ShardId,
}

impl LeaseKey {
    /// The key in an application that reads one stream.
    #[must_use]
    pub fn single(shard: ShardId) -> Self {
        Self { stream: None, shard }
    }

    /// The key in an application that reads several streams.
    #[must_use]
    pub fn multi(stream: StreamId, shard: ShardId) -> Self {
        Self { stream: Some(stream), shard }
    }

    /// The key of another shard of the same stream.
    #[must_use]
    pub fn sibling(&self, shard: ShardId) -> Self {
        let stream = self.stream.clone();
        Self { stream, shard }
    }

    /// Reads a key back; `None` when it has neither form.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let Some((stream, shard)) = key.rsplit_once(':') else {
            return ShardId::new(key).ok().map(Self::single);
        };
        Some(Self::multi(stream.parse().ok()?, ShardId::new(shard).ok()?))
    }

    /// The stream; `None` in a single-stream application.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamId> {
        self.stream.as_ref()
    }

    /// The shard.
    #[must_use]
    pub fn shard(&self) -> &ShardId {
        &self.shard
    }
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.stream {
            Some(stream) => write!(f, "{stream}:{}", self.shard),
            None => self.shard.fmt(f),
        }
    }
}

/// A lease as one read of the table shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its key.
    pub key: LeaseKey,
    /// Who holds it; `None` when it is free.
    pub owner: Option<WorkerId>,
    /// Grows with every write of a holder or taker: heartbeat and version in one. Begins at a number of its own. The Java KCL
    /// counts by one; our processes each by a number of their own.
    pub counter: u64,
    /// How often the owner changed since the last checkpoint.
    pub owner_switches: u64,
    /// Everything up to here is done.
    pub position: Position,
    /// A prepared checkpoint that was not committed.
    pub pending: Option<PendingCheckpoint>,
    /// The shards that must have ended before this one starts.
    pub parents: BTreeSet<ShardId>,
    /// The shards that follow; known once this one has ended.
    pub children: BTreeSet<ShardId>,
    /// The hash keys of the shard; `None` in leases of old programs.
    pub hash_range: Option<HashRange>,
    /// What time a [`Position::Latest`] or [`Position::AtTimestamp`] stands for. Our own attribute, which Java keeps but does
    /// not read: without it a `LATEST` lease whose first owner died early would skip records.
    pub started_at: Option<SystemTime>,
    /// Something of the shard was done once, so that its parents were passed: what an operator who sets the checkpoint back does
    /// not undo. Our own attribute as well, written with the checkpoint.
    pub has_progressed: bool,
    /// Which stream the shard is of, where the key does not name it. Our own attribute as well; `None` in the leases of others.
    pub stream: Option<StreamId>,
    /// When the application began, where it began at a time. Says nothing of this lease: every lease of ours carries it, so that
    /// it is known as long as one of them is left. Our own attribute as well.
    pub application_start: Option<SystemTime>,
    /// The last taker that understands requests to hand a lease over. Means something only while it is the owner: Java leaves it
    /// standing when it takes. Our own attribute as well.
    pub cooperator: Option<WorkerId>,
    /// The worker that has asked the owner to hand the lease over. Our own attribute as well.
    pub handoff_to: Option<WorkerId>,
}

impl Lease {
    /// A lease that nobody has held yet.
    #[must_use]
    pub fn new(key: LeaseKey, position: Position) -> Self {
        Self {
            key,
            owner: None,
            counter: 0,
            owner_switches: 0,
            position,
            pending: None,
            parents: BTreeSet::new(),
            children: BTreeSet::new(),
            hash_range: None,
            started_at: None,
            has_progressed: false,
            stream: None,
            application_start: None,
            cooperator: None,
            handoff_to: None,
        }
    }

    /// The lease as it is created: its counter begins at a number by chance, from 1 to 2^31 - 1 (the Java KCL begins at 0).
    ///
    /// A lease that was deleted and is created anew must not have a fence of its earlier life: a write of that life which is
    /// still under way would find it, and apply.
    #[must_use]
    pub(crate) fn numbered(self, rng: &mut fastrand::Rng) -> Self {
        let counter = rng.u64(1..1 << 31);
        Self { counter, ..self }
    }

    /// When the application began, as far as this lease tells; those of older versions carry it only where they begin there.
    pub(crate) fn began(&self) -> Option<SystemTime> {
        self.application_start.or(self.started_at)
    }

    /// True once the shard was read to its end.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.position == Position::ShardEnd
    }

    /// Whether the owner hands the lease over when it is asked.
    pub(crate) fn cooperates(&self) -> bool {
        self.owner.is_some() && self.owner == self.cooperator
    }

    /// Who has asked the owner for it, where the owner understands that.
    pub(crate) fn asker(&self) -> Option<&WorkerId> {
        let asker = self.handoff_to.as_ref().filter(|_| self.cooperates());
        asker.filter(|asker| Some(*asker) != self.owner.as_ref())
    }

    /// What a write must find in order to apply to the lease as it was seen here.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { counter: self.counter, owner: self.owner.clone() }
    }
}

/// The state that a conditional write expects: nobody has written since. Opaque to everyone but the stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    pub(crate) counter: u64,
    pub(crate) owner: Option<WorkerId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_two_java_forms() {
        for text in ["shardId-000000000000", "123456789012:orders:1700000000:shardId-000000000000"]
        {
            assert_eq!(LeaseKey::parse(text).unwrap().to_string(), text);
        }
        for foreign in ["", "Leader:x", "orders:1700000000:shardId-000000000000", "a/b"] {
            assert_eq!(LeaseKey::parse(foreign), None, "{foreign}");
        }
    }
}
