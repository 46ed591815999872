//! Random histories of a stream and its readers: workers that die between any two writes, reshards, clean-up, late plans,
//! leases that an operator deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::waiting::Waiting;
use super::*;

/// One second of a stream's life is one tick of its history. Records are put in every tick into every open shard.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    shards: Vec<Life>,
    leases: BTreeMap<ShardId, Lease>,
    /// From when on each shard was read, until its end or now.
    read: BTreeMap<ShardId, u64>,
    /// What was read to its end.
    done: BTreeSet<ShardId>,
    /// From when on nothing may be skipped: once a worker is ready.
    needed_since: Option<u64>,
    /// A table seen earlier, for late plans.
    seen: BTreeMap<ShardId, Lease>,
    /// When that was: a founder lists the shards just before it looks.
    looked: u64,
}

#[derive(Debug)]
struct Life {
    shard: Shard,
    born: u64,
    closed: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A worker plans on what it saw last, and dies after so many writes.
    Plan(usize),
    /// A worker looks at the table.
    Look,
    Read(usize),
    /// A worker reads a closed shard to its end, and dies after so many writes.
    End(usize, usize),
    Split(usize),
    Merge(usize),
    /// An ended lease whose children have all progressed is deleted.
    CleanUp(usize),
    /// An operator deletes a lease, whatever its state.
    Delete(usize),
}

impl Model {
    fn new(shards: u128) -> Self {
        let mut model = Self { now: 100, looked: 100, ..Self::default() };
        let part = u128::MAX / shards;
        for n in 0..shards {
            let end = if n + 1 == shards { u128::MAX } else { part * (n + 1) - 1 };
            model.open(&[], HashRange::new(part * n, end).unwrap());
        }
        model
    }

    fn open(&mut self, parents: &[usize], hash_range: HashRange) {
        let shard = Shard {
            id: format!("s{:04}", self.shards.len()).parse().unwrap(),
            parents: parents.iter().map(|p| self.shards[*p].shard.id.clone()).collect(),
            hash_range,
            starting_sequence_number: "1".parse().unwrap(),
            ending_sequence_number: None,
        };
        let (born, closed) = (self.now, None);
        self.shards.push(Life { shard, born, closed });
    }

    fn close(&mut self, n: usize) -> HashRange {
        let life = &mut self.shards[n];
        life.closed = Some(self.now);
        life.shard.ending_sequence_number = Some("9".parse().unwrap());
        life.shard.hash_range
    }

    fn listed(&self) -> Vec<Shard> {
        self.shards.iter().map(|life| life.shard.clone()).collect()
    }

    fn life(&self, id: &ShardId) -> &Life {
        self.shards.iter().find(|life| life.shard.id == *id).unwrap()
    }

    fn create(&mut self, lease: Lease) {
        self.leases.entry(lease.key.shard().clone()).or_insert(lease);
    }

    /// A worker compares what it saw with what is listed, and makes at most `writes` leases.
    fn plan(&mut self, start: StartFrom, seen: &BTreeMap<ShardId, Lease>, writes: usize) {
        let key = |shard: &ShardId| LeaseKey::single(shard.clone());
        let creations: Vec<Creation> = if seen.is_empty() {
            let then = match start {
                StartFrom::TrimHorizon => 0,
                StartFrom::Latest => self.looked,
                StartFrom::Timestamp(time) => seconds(time),
            };
            let first = self.shards.iter().map(|life| life.born).min().unwrap();
            let was_open = |life: &&Life| {
                life.born <= then.max(first)
                    && life.closed.is_none_or(|closed| closed > then.max(first))
            };
            let shards: Vec<_> =
                self.shards.iter().filter(was_open).map(|life| life.shard.clone()).collect();
            let leases = first_leases(&shards, &key, start, wall(self.looked)).unwrap();
            let alone = |lease| Creation { lease, unless_begun: Vec::new() };
            leases.into_iter().map(alone).collect()
        } else {
            missing_leases(&self.listed(), seen.values(), &key, start)
        };
        let complete = writes >= creations.len();
        for Creation { lease, unless_begun } in creations.into_iter().take(writes) {
            let begun = |key: &LeaseKey| self.leases.get(key.shard()).is_some_and(is_begun);
            if !unless_begun.iter().any(begun) {
                self.create(lease);
            }
        }
        if complete && self.needed_since.is_none() {
            self.needed_since = Some(match start {
                StartFrom::TrimHorizon => 0,
                StartFrom::Latest => self.now,
                StartFrom::Timestamp(time) => seconds(time),
            });
        }
    }

    fn startable(&self, start: StartFrom) -> Vec<ShardId> {
        let ended = |parent: &ShardId| self.leases.get(parent).is_none_or(Lease::has_ended);
        let waiting = self.waiting(start).leases;
        let can = |lease: &&Lease| {
            !lease.has_ended() && lease.parents.iter().all(ended) && !waiting.contains(&lease.key)
        };
        self.leases.values().filter(can).map(|lease| lease.key.shard().clone()).collect()
    }

    fn waiting(&self, start: StartFrom) -> Waiting {
        let begun = crate::testing::start();
        let listing = Listing { begun, shards: self.listed() };
        let has_lease = |key: &LeaseKey| self.leases.contains_key(key.shard());
        let orphans = self.leases.values().filter(|lease| lacks_a_parent(lease, has_lease));
        let orphans: Vec<_> = orphans.map(|lease| (lease, begun)).collect();
        waiting(Some(&listing), self.leases.values(), &orphans, start)
    }

    /// A worker reads the shard up to now.
    fn read(&mut self, id: &ShardId, start: StartFrom) {
        let lease = &self.leases[id];
        let has_parent = lease.parents.iter().any(|parent| self.leases.contains_key(parent));
        let (position, time) = where_to_read(lease, has_parent, start);
        let since = time.map_or(0, seconds);
        let since = since.max(self.life(id).born);
        for parent in &self.life(id).shard.parents {
            assert!(
                self.needed(parent).is_none() || self.done.contains(parent),
                "{id} before its parent {parent}: {self:#?}"
            );
        }
        if !position.has_progressed() {
            let read = self.read.entry(id.clone()).or_insert(since);
            *read = since.min(*read);
        }
        let lease = self.leases.get_mut(id).unwrap();
        lease.position = Position::at("5".parse().unwrap(), 0);
    }

    fn end(&mut self, id: &ShardId, start: StartFrom, writes: usize) {
        self.read(id, start);
        self.done.insert(id.clone());
        let children: Vec<_> =
            self.listed().into_iter().filter(|s| s.parents.contains(id)).collect();
        let key = |shard: &ShardId| LeaseKey::single(shard.clone());
        let application_start = self.leases[id].began();
        for child in children.iter().take(writes) {
            if child.parents.iter().all(|parent| self.leases.contains_key(parent)) {
                let lease = lease_of(child, &key, Position::TrimHorizon);
                self.create(Lease { application_start, ..lease });
            }
        }
        if writes > children.len() {
            self.leases.get_mut(id).unwrap().position = Position::ShardEnd;
        }
    }

    fn clean_up(&mut self, id: &ShardId) {
        let of = |life: &&Life| life.shard.parents.contains(id);
        let progressed = |life: &Life| {
            self.leases.get(&life.shard.id).is_some_and(|lease| lease.position.has_progressed())
        };
        if self.leases.get(id).is_some_and(Lease::has_ended)
            && self.shards.iter().filter(of).all(progressed)
        {
            self.leases.remove(id);
        }
    }

    /// From when on the shard must be read; `None` when it closed before.
    fn needed(&self, id: &ShardId) -> Option<u64> {
        let (life, since) = (self.life(id), self.needed_since?);
        life.closed.is_none_or(|closed| closed > since).then_some(life.born.max(since))
    }

    fn happen(&mut self, event: Event, start: StartFrom) {
        self.now += 10;
        let open: Vec<_> =
            (0..self.shards.len()).filter(|n| self.shards[*n].shard.is_open()).collect();
        match event {
            // Nobody begins in the future.
            Event::Plan(_) if matches!(start, StartFrom::Timestamp(time) if time > wall(self.now)) =>
                {}
            Event::Plan(writes) => {
                let seen = std::mem::take(&mut self.seen);
                self.plan(start, &seen, writes);
                self.seen = seen;
            }
            Event::Look => {
                self.seen = self.leases.clone();
                self.looked = self.now;
            }
            Event::Read(n) => {
                let startable = self.startable(start);
                if let Some(id) = startable.get(n % startable.len().max(1)) {
                    self.read(id, start);
                }
            }
            Event::End(n, writes) => {
                let mut closed = self.startable(start);
                closed.retain(|id| self.life(id).closed.is_some());
                if let Some(id) = closed.get(n % closed.len().max(1)) {
                    self.end(id, start, writes);
                }
            }
            Event::Split(n) => {
                let n = open[n % open.len()];
                let range = self.shards[n].shard.hash_range;
                let middle = range.start() + (range.end() - range.start()) / 2;
                if middle < range.end() {
                    self.close(n);
                    self.open(&[n], HashRange::new(range.start(), middle).unwrap());
                    self.open(&[n], HashRange::new(middle + 1, range.end()).unwrap());
                }
            }
            Event::Merge(n) => {
                let mut open = open;
                open.sort_by_key(|n| self.shards[*n].shard.hash_range);
                if let Some([low, high]) = open.windows(2).nth(n % open.len()) {
                    let (low_range, high_range) = (self.close(*low), self.close(*high));
                    self.open(
                        &[*low, *high],
                        HashRange::new(low_range.start(), high_range.end()).unwrap(),
                    );
                }
            }
            Event::CleanUp(n) => {
                let id = self.shards[n % self.shards.len()].shard.id.clone();
                self.clean_up(&id);
            }
            // Without any lease it would be a new application.
            Event::Delete(_) if self.leases.len() < 2 => {}
            Event::Delete(n) => {
                let id = self.leases.keys().nth(n % self.leases.len()).cloned();
                self.leases.remove(&id.unwrap());
            }
        }
    }

    /// Whatever happened: workers that plan on the present table and read on reach everything.
    fn finish(&mut self, start: StartFrom) {
        self.now += 100;
        for _ in 0..4 * self.shards.len() + 4 {
            self.now += 10;
            self.looked = self.now;
            let seen = self.leases.clone();
            self.plan(start, &seen, usize::MAX);
            for id in self.startable(start) {
                if self.life(&id).closed.is_some() {
                    self.end(&id, start, usize::MAX);
                } else {
                    self.read(&id, start);
                }
            }
        }
        let unended = self.leases.values().filter(|lease| !lease.has_ended()).collect::<Vec<_>>();
        assert!(!has_hole(unended.into_iter()), "hash keys are uncovered: {self:#?}");
        for life in &self.shards {
            let id = &life.shard.id;
            if let Some(needed) = self.needed(id) {
                let read = self.read.get(id).copied();
                assert!(
                    read.is_some_and(|read| read <= needed),
                    "{id} read from {read:?}, needed from {needed}: {self:#?}"
                );
                let done = life.closed.is_none() || self.done.contains(id);
                assert!(done, "{id} was not read to its end: {self:#?}");
            }
        }
        assert_eq!(self.waiting(start), Waiting::default());
        let seen = self.leases.clone();
        let key = |shard: &ShardId| LeaseKey::single(shard.clone());
        assert_eq!(missing_leases(&self.listed(), seen.values(), &key, start), []);
    }
}

fn wall(now: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(now)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0_usize..6).prop_map(Event::Plan),
        2 => Just(Event::Look),
        3 => (0_usize..20).prop_map(Event::Read),
        3 => (0_usize..20, 0_usize..4).prop_map(|(n, writes)| Event::End(n, writes)),
        2 => (0_usize..20).prop_map(Event::Split),
        1 => (0_usize..20).prop_map(Event::Merge),
        2 => (0_usize..20).prop_map(Event::CleanUp),
        4 => (0_usize..20).prop_map(Event::Delete),
    ];
    prop::collection::vec(event, 0..40)
}

proptest! {
    #[test]
    fn nothing_put_after_the_start_is_skipped(
        shards in 1_u128..5,
        start in prop::sample::select(vec![
            StartFrom::TrimHorizon,
            StartFrom::Latest,
            StartFrom::Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(150)),
        ]),
        events in events(),
    ) {
        let mut model = Model::new(shards);
        for event in events {
            model.happen(event, start);
        }
        model.finish(start);
    }
}
