//! Repeated rounds of a whole fleet: every worker plans on the same view, and conditional writes arbitrate.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::testing::{key, lease, start};

const TEN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Ours,
    Java,
}

struct Fleet {
    workers: Vec<(WorkerId, Kind)>,
    /// The table: who owns each lease.
    leases: BTreeMap<LeaseKey, Option<WorkerId>>,
    rng: fastrand::Rng,
    moves: usize,
}

impl Fleet {
    fn new(kinds: &[Kind], owners: &[Option<usize>], seed: u64) -> Self {
        let id = |n: usize| -> WorkerId { format!("w{n}").parse().unwrap() };
        let owned = |(n, owner): (usize, &Option<usize>)| {
            let owner = owner.filter(|owner| *owner < kinds.len());
            (key(&format!("s{n:03}")), owner.map(id))
        };
        Self {
            workers: kinds.iter().enumerate().map(|(n, kind)| (id(n), *kind)).collect(),
            leases: owners.iter().enumerate().map(owned).collect(),
            rng: fastrand::Rng::with_seed(seed),
            moves: 0,
        }
    }

    /// One round; says how many moves were made.
    fn round(&mut self) -> usize {
        let (now, mut view) = (start(), View::new(TEN));
        for (key, owner) in &self.leases {
            let owner = owner.as_ref().map_or("", WorkerId::as_str);
            view.observe(lease(key.shard().as_str(), owner, 1), now);
        }
        let mut wanted = Vec::new();
        for (worker, kind) in &self.workers {
            let planned = match kind {
                Kind::Ours => self.ours(&view, worker, now),
                Kind::Java => java(&self.leases, worker, &mut self.rng.clone()),
            };
            wanted.extend(planned.into_iter().map(|key| (worker.clone(), key)));
            self.rng.u64(..);
        }
        // All write at once: of those that want the same lease the first one gets it.
        self.rng.shuffle(&mut wanted);
        let mut taken = BTreeSet::new();
        for (worker, key) in wanted {
            if taken.insert(key.clone()) {
                self.leases.insert(key, Some(worker));
            }
        }
        self.moves += taken.len();
        taken.len()
    }

    fn ours(&self, view: &View, worker: &WorkerId, now: Instant) -> Vec<LeaseKey> {
        let holds = |(_, owner): &(_, &Option<WorkerId>)| owner.as_ref() == Some(worker);
        let held = self.leases.iter().filter(holds).map(|(key, _)| key.clone());
        let (held, none) = (held.collect(), BTreeSet::new());
        let me = Me {
            worker,
            held: &held,
            shunned: &none,
            waiting: &none,
            heirs: &none,
            asked: &BTreeMap::new(),
            patience: TEN,
            max_leases: None,
        };
        let moves = plan(view, &me, now, &mut self.rng.clone()).moves;
        let key = |planned| {
            let (Move::Take(claim) | Move::Ask(claim) | Move::Steal(claim)) = planned;
            claim.lease.key
        };
        moves.into_iter().map(key).collect()
    }

    fn counts(&self) -> Vec<usize> {
        let owned = |worker| self.leases.values().filter(|o| o.as_ref() == Some(worker)).count();
        self.workers.iter().map(|(worker, _)| owned(worker)).collect()
    }

    fn is_balanced(&self) -> bool {
        let counts = self.counts();
        let (least, most) = (counts.iter().min(), counts.iter().max());
        self.leases.values().all(Option::is_some) && most.unwrap() - least.unwrap() <= 1
    }

    /// How many leases must move at least.
    fn distance(&self) -> usize {
        let floor = self.leases.len() / self.workers.len();
        let free = self.leases.values().filter(|owner| owner.is_none()).count();
        let missing = self.counts().iter().map(|n| floor.saturating_sub(*n)).sum();
        free.max(missing)
    }
}

/// The taker of the Java KCL 2.x (kcl-java.md §3.2) with its default of one steal at a time.
fn java(
    leases: &BTreeMap<LeaseKey, Option<WorkerId>>,
    me: &WorkerId,
    rng: &mut fastrand::Rng,
) -> Vec<LeaseKey> {
    let mut counts = BTreeMap::from([(me, 0)]);
    for owner in leases.values().flatten() {
        *counts.entry(owner).or_default() += 1;
    }
    let target = leases.len().div_ceil(counts.len());
    let need = target.saturating_sub(counts[me]);
    let mut free: Vec<_> =
        leases.iter().filter(|(_, o)| o.is_none()).map(|(k, _)| k.clone()).collect();
    if !free.is_empty() {
        rng.shuffle(&mut free);
        free.truncate(need);
        return free;
    }
    let (most, count) = counts.iter().max_by_key(|(_, n)| **n).unwrap();
    let spare = count.saturating_sub(target);
    if need == 0 || *count < target || (spare == 0 && need == 1) {
        return Vec::new();
    }
    let of_most: Vec<_> = leases.iter().filter(|(_, o)| o.as_ref() == Some(most)).collect();
    vec![rng.choice(of_most).unwrap().0.clone()]
}

fn settle(fleet: &mut Fleet, rounds: usize) -> usize {
    (0..rounds).take_while(|_| fleet.round() > 0).count()
}

proptest! {
    #[test]
    fn our_fleet_balances_with_few_moves_and_then_stands_still(
        workers in 1_usize..9,
        owners in prop::collection::vec(prop::option::weighted(0.9, 0_usize..9), 1..80),
        seed: u64,
    ) {
        let mut fleet = Fleet::new(&vec![Kind::Ours; workers], &owners, seed);
        let least = fleet.distance();
        let free = fleet.leases.values().filter(|owner| owner.is_none()).count();
        let rounds = settle(&mut fleet, 30);
        prop_assert!(rounds < 30, "still moving: {:?}", fleet.counts());
        prop_assert!(fleet.is_balanced(), "{:?}", fleet.counts());
        // Free leases fall to whoever is first, in a round in which the workers do not know of each other's haste.
        prop_assert!(fleet.moves <= least + free + workers, "{} moves, {least} needed", fleet.moves);
    }

    #[test]
    fn a_joining_worker_gets_its_share_by_the_least_moves(workers in 1_usize..12, leases in 1_usize..200, seed: u64) {
        let owners: Vec<_> = (0..leases).map(|n| Some(n % workers)).collect();
        let mut fleet = Fleet::new(&vec![Kind::Ours; workers + 1], &owners, seed);
        let rounds = settle(&mut fleet, 10);
        prop_assert!(rounds <= 2, "{rounds} rounds");
        prop_assert_eq!(fleet.moves, leases / (workers + 1));
        prop_assert!(fleet.is_balanced());
    }

    #[test]
    fn a_fleet_with_java_workers_comes_to_rest(
        kinds in prop::collection::vec(prop::sample::select(vec![Kind::Ours, Kind::Java]), 1..8),
        owners in prop::collection::vec(prop::option::weighted(0.9, 0_usize..8), 1..60),
        seed: u64,
    ) {
        let mut fleet = Fleet::new(&kinds, &owners, seed);
        let rounds = settle(&mut fleet, 120);
        prop_assert!(rounds < 120, "still moving: {:?}", fleet.counts());
        prop_assert!(fleet.leases.values().all(Option::is_some));
    }
}
