//! A state of the small case, and its steps.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use kcl_core::leasing::LeaseTiming;
use kcl_core::{Position, WorkerId};

use crate::assign::{self, Me, Move};
use crate::keeper::machine::Machine;
use crate::keeper::machine::test_state::{code, counted, tenths};
use crate::keeper::words::{Gone, Request, Step as Do};
use crate::store::{Change, LeaseStore, MemoryStore, Outcome, Scan, StoreError, StoreErrorKind};
use crate::testing::{lease, start};
use crate::view::View;
use crate::{Fence, Lease};

/// How the two leases relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Apart,
    ParentAndChild,
}

/// Rules to break on purpose; by default none is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// Holders count as dead after two of ten seconds, while a write is good for nine.
    pub(super) expires_early: bool,
    pub(super) never_expires: bool,
    pub(super) ignores_fence: bool,
    pub(super) ignores_parents: bool,
    pub(super) takes_unclear_for_applied: bool,
}

/// One thing that happens. Workers and leases are 0 and 1.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A worker sees all leases as they are.
    Scan(usize),
    /// It plans on what it saw.
    Plan(usize),
    /// It executes the first move that it planned, whenever that was.
    Execute(usize, Fate),
    /// The keeper of a lease does what is next.
    Keep(usize, usize, Fate),
    /// Its consumer asks for a checkpoint, and the keeper writes.
    Checkpoint(usize, usize, Fate),
    /// The shard of lease 0 is read to its end, and the keeper writes.
    End(usize, Fate),
    /// A worker dies, and starts again under its id.
    Crash(usize),
    Pass(Duration),
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Clear,
    /// It has its effect, and the answer is lost.
    AnswerLost,
    RequestLost,
}

#[derive(Clone)]
pub(super) struct World {
    kind: Kind,
    rules: Rules,
    now: Instant,
    leases: [Lease; 2],
    /// Shared by the states between which a worker has not changed.
    workers: [Rc<Worker>; 2],
}

#[derive(Clone)]
struct Worker {
    id: WorkerId,
    view: View,
    held: [Option<Held>; 2],
    planned: Vec<Move>,
}

#[derive(Clone)]
struct Held {
    machine: Machine<()>,
    /// The other worker took it for balance, from a holder that is alive: both may deliver until this one notices.
    robbed: bool,
}

impl World {
    /// Where the search begins: nobody holds anything, and worker 0 holds what it can, which worker 1 has seen.
    pub(super) fn beginnings(kind: Kind, rules: Rules) -> [Self; 2] {
        let fresh = Self::new(kind, rules);
        let mut held = fresh.clone();
        held.scan(0);
        held.plan(0);
        while !held.workers[0].planned.is_empty() {
            held.execute(0, Fate::Clear).unwrap();
        }
        held.scan(1);
        [fresh, held]
    }

    fn new(kind: Kind, rules: Rules) -> Self {
        let mut leases = [lease("0", "", 0), lease("1", "", 0)];
        if kind == Kind::ParentAndChild {
            leases[1].parents.insert(leases[0].key.shard().clone());
        }
        let worker = |id: &str| Rc::new(Worker::new(id.parse().unwrap(), rules));
        Self { kind, rules, now: start(), leases, workers: [worker("a"), worker("b")] }
    }

    /// All that can happen next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps =
            vec![Step::Pass(timing().scan_interval), Step::Pass(timing().lease_duration)];
        for (w, worker) in self.workers.iter().enumerate() {
            steps.extend([Step::Scan(w), Step::Plan(w), Step::Crash(w)]);
            if !worker.planned.is_empty() {
                steps.extend([Fate::Clear, Fate::AnswerLost].map(|fate| Step::Execute(w, fate)));
            }
            for (l, held) in worker.held.iter().enumerate() {
                let Some(Held { machine, .. }) = held else { continue };
                match machine.clone().next(self.now, &Position::TrimHorizon) {
                    Do::Write { .. } => steps.extend(FATES.map(|fate| Step::Keep(w, l, fate))),
                    Do::ReadBack { .. } | Do::Exit(_) => steps.push(Step::Keep(w, l, Fate::Clear)),
                    Do::Wait { .. } | Do::Create { .. } => {}
                }
                if machine.is_idle() {
                    if machine.lease().position < at(2) {
                        steps.extend(FATES.map(|fate| Step::Checkpoint(w, l, fate)));
                    }
                    if l == 0 {
                        steps.extend(FATES.map(|fate| Step::End(w, fate)));
                    }
                }
            }
        }
        steps
    }

    /// Takes a step; an error says which invariant is broken.
    pub(super) fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Pass(time) => self.now += time,
            Step::Scan(w) => self.scan(w),
            Step::Plan(w) => self.plan(w),
            Step::Execute(w, fate) => self.execute(w, fate)?,
            Step::Keep(w, l, fate) => self.keep(w, l, fate)?,
            Step::Checkpoint(w, l, fate) => {
                if let Some(held) = &mut self.worker(w).held[l] {
                    let next = if held.machine.lease().position < at(1) { at(1) } else { at(2) };
                    held.machine.ask(Request::Checkpoint(next), ());
                }
                self.keep(w, l, fate)?;
            }
            Step::End(w, fate) => {
                if let Some(held) = &mut self.worker(w).held[0] {
                    held.machine.ask(Request::End(Vec::new()), ());
                }
                self.keep(w, 0, fate)?;
            }
            Step::Crash(w) => {
                self.workers[w] = Rc::new(Worker::new(self.workers[w].id.clone(), self.rules));
            }
        }
        self.judge()
    }

    /// Goes on without faults, with both workers and with each of them alone, until all is owned.
    pub(super) fn settles(&self, lively: &mut BTreeSet<Vec<u8>>) -> Result<(), String> {
        for alive in [vec![0, 1], vec![0], vec![1]] {
            let mut world = self.clone();
            for w in (0..2).filter(|w| !alive.contains(w)) {
                world.take(Step::Crash(w))?;
            }
            let mut passed = Vec::new();
            while !world.is_owned(&alive) {
                let mut key = match alive[..] {
                    [live] => world.key_of([live, 1 - live]),
                    _ => world.key(),
                };
                key.push(u8::try_from(alive.len()).unwrap());
                if lively.contains(&key) {
                    break;
                }
                passed.push(key);
                if passed.len() > ROUNDS {
                    return Err(format!("L: not all is owned after {ROUNDS} rounds of {alive:?}"));
                }
                for w in &alive {
                    let told = |wrong| format!("{wrong} (as workers {alive:?} go on from here)");
                    world.go_on(*w).map_err(told)?;
                }
                world.take(Step::Pass(timing().scan_interval))?;
            }
            lively.extend(passed);
        }
        Ok(())
    }

    /// Everything that decides what can happen from here on.
    pub(super) fn key(&self) -> Vec<u8> {
        self.key_of([0, 1]).min(self.key_of([1, 0]))
    }

    fn key_of(&self, order: [usize; 2]) -> Vec<u8> {
        let who = |owner: &Option<WorkerId>| match owner {
            None => 0,
            Some(owner) if *owner == self.workers[order[0]].id => 1,
            Some(_) => 2,
        };
        let mut bytes = Vec::with_capacity(80);
        for lease in &self.leases {
            bytes.extend([who(&lease.owner), code(&lease.position)]);
        }
        let base =
            |lease: &Lease| self.leases[usize::from(lease.key == self.leases[1].key)].counter;
        for worker in order.map(|w| &self.workers[w]) {
            for (lease, since, moved) in worker.view.stillness() {
                bytes.extend([
                    counted(lease.counter, base(lease)),
                    who(&lease.owner),
                    code(&lease.position),
                    tenths(self.now.saturating_duration_since(since)),
                    moved.into(),
                ]);
            }
            for (l, held) in worker.held.iter().enumerate() {
                bytes.push(held.as_ref().map_or(0, |held| 1 + u8::from(held.robbed)));
                if let Some(held) = held {
                    held.machine.digest(self.now, self.leases[l].counter, &mut bytes);
                }
            }
            for planned in &worker.planned {
                let (kind, claim) = match planned {
                    Move::Take(claim) => (1, claim),
                    Move::Steal(claim) => (2, claim),
                    Move::Ask(claim) => (3, claim),
                };
                let number = u8::from(claim.lease.key == self.leases[1].key);
                bytes.extend([kind, number, counted(claim.lease.counter, base(&claim.lease))]);
            }
            bytes.push(u8::MAX);
        }
        bytes
    }

    fn worker(&mut self, w: usize) -> &mut Worker {
        Rc::make_mut(&mut self.workers[w])
    }

    fn scan(&mut self, w: usize) {
        let mut leases = self.leases.to_vec();
        if self.rules.ignores_parents {
            leases.iter_mut().for_each(|lease| lease.parents.clear());
        }
        let worker = Rc::make_mut(&mut self.workers[w]);
        for (held, lease) in worker.held.iter_mut().zip(&leases) {
            if let Some(held) = held.as_mut().filter(|_| lease.owner.as_ref() != Some(&worker.id)) {
                held.machine.seen(lease);
            }
        }
        worker.view.fold_scan(Scan { leases, ..Scan::default() }, self.now, self.now);
        (0..2).for_each(|l| self.reap(w, l));
    }

    fn plan(&mut self, w: usize) {
        let worker = Rc::make_mut(&mut self.workers[w]);
        let held = worker.held.iter().zip(&self.leases).filter(|(held, _)| held.is_some());
        let held = held.map(|(_, lease)| lease.key.clone()).collect();
        let none = Default::default();
        let me = Me {
            worker: &worker.id,
            held: &held,
            shunned: &none,
            waiting: &none,
            heirs: &none,
            asked: &BTreeMap::new(),
            patience: 2 * worker.view.lease_duration(),
            max_leases: None,
        };
        worker.planned = assign::plan(&worker.view, &me, self.now, &mut rng()).moves;
    }

    /// As the coordinator's taker. One whose answer is lost, as well as the read after it, knows nothing of its lease.
    fn execute(&mut self, w: usize, fate: Fate) -> Result<(), String> {
        let planned = self.worker(w).planned.remove(0);
        let me = self.workers[w].id.clone();
        let (claim, victim) = match &planned {
            Move::Take(claim) => (claim, claim.lease.owner.as_ref().filter(|owner| **owner == me)),
            Move::Ask(claim) | Move::Steal(claim) => (claim, claim.lease.owner.as_ref()),
        };
        let unended = |lease: &&Lease| claim.verify.contains(&lease.key) && !lease.has_ended();
        if let Some(parent) = self.leases.iter().find(unended).cloned() {
            let now = self.now;
            self.worker(w).view.observe(parent, now);
            return Ok(());
        }
        let l = usize::from(claim.lease.key == self.leases[1].key);
        let change = Change { owner: Some(Some(me)), ..Change::default() };
        let mut lease = claim.lease.clone();
        for _ in 0..3 {
            let expected = change.apply_to(&lease);
            match self.write(w, l, &lease.fence(), &change)? {
                Outcome::Applied => {
                    if let (Move::Steal(_), Some(held)) =
                        (&planned, &mut self.worker(1 - w).held[l])
                    {
                        held.robbed = true;
                    }
                    if fate == Fate::Clear {
                        let machine =
                            Machine::new(expected.clone(), timing(), 0, self.now, &mut rng());
                        let worker = Rc::make_mut(&mut self.workers[w]);
                        worker.held[l] = Some(Held { machine, robbed: false });
                        worker.view.observe(expected, self.now);
                    }
                    return Ok(());
                }
                Outcome::Conflict(Some(current))
                    if victim.is_some()
                        && current.owner.as_ref() == victim
                        && !current.has_ended() =>
                {
                    lease = *current;
                }
                Outcome::Conflict(current) => {
                    let current = current.map_or(lease, |current| *current);
                    let now = self.now;
                    self.worker(w).view.observe(current, now);
                    return Ok(());
                }
                Outcome::Missing => return Err("a lease is missing".into()),
            }
        }
        Ok(())
    }

    fn keep(&mut self, w: usize, l: usize, fate: Fate) -> Result<(), String> {
        let (now, current) = (self.now, self.leases[l].clone());
        if self.workers[w].held[l].is_none() {
            return Ok(());
        }
        let Some(held) = &mut self.worker(w).held[l] else {
            return Ok(());
        };
        match held.machine.next(now, &Position::TrimHorizon) {
            Do::Write { fence, change, .. } => {
                let mut outcome = Err(StoreError::new("test", StoreErrorKind::Unavailable, "lost"));
                if fate != Fate::RequestLost {
                    let effect = self.write(w, l, &fence, &change)?;
                    if fate == Fate::Clear {
                        outcome = Ok(effect);
                    }
                }
                if self.rules.takes_unclear_for_applied && outcome.is_err() {
                    outcome = Ok(Outcome::Applied);
                }
                if let Some(held) = &mut self.worker(w).held[l] {
                    held.machine.wrote(outcome, now, &mut rng());
                }
            }
            Do::ReadBack { .. } => {
                held.machine.read(Ok(Some(current)), now, &mut rng());
            }
            Do::Create { .. } | Do::Wait { .. } | Do::Exit(_) => {}
        }
        self.reap(w, l);
        Ok(())
    }

    /// Takes note of a keeper that has gone, as the coordinator does.
    fn reap(&mut self, w: usize, l: usize) {
        let now = self.now;
        let worker = self.worker(w);
        let Some(held) = &worker.held[l] else { return };
        if let Do::Exit(gone) = held.machine.clone().next(now, &Position::TrimHorizon) {
            let last = match gone {
                Gone::Taken(current) => *current,
                _ => held.machine.lease().clone(),
            };
            worker.view.observe(last, now);
            worker.held[l] = None;
        }
    }

    /// Writes through the memory store, and judges what it did (S3, S4).
    fn write(
        &mut self,
        w: usize,
        l: usize,
        fence: &Fence,
        change: &Change,
    ) -> Result<Outcome, String> {
        let before = self.leases[l].clone();
        let store = MemoryStore::new();
        assert_eq!(store.create(&before).now_or_never().unwrap().ok(), Some(true));
        let used = if self.rules.ignores_fence { &before.fence() } else { fence };
        let outcome = store.update(&before.key, used, change).now_or_never().unwrap();
        let after = store.read(&before.key).now_or_never().unwrap().unwrap().unwrap();
        let (was, is) = (&before.position, &after.position);
        let takes = change.owner.is_some();
        let mine = before.owner.as_ref() == Some(&self.workers[w].id);
        let outcome = outcome.unwrap();
        if outcome == Outcome::Applied {
            if before.fence() != *fence || after.counter != before.counter + 1 || !(takes || mine) {
                return Err(format!("S4: worker {w} wrote over {before:?}"));
            }
            if is < was {
                return Err(format!("S3: from {was} back to {is}"));
            }
        }
        self.leases[l] = after;
        Ok(outcome)
    }

    /// What must hold in every state (S5, S7).
    fn judge(&self) -> Result<(), String> {
        for l in 0..2 {
            let holds = |worker: &&Rc<Worker>| {
                let held = worker.held[l].as_ref();
                held.is_some_and(|held| !held.robbed && self.now < held.machine.valid_until())
            };
            let holders = self.workers.iter().filter(holds).count();
            if holders > 1 {
                return Err(format!("S5: both workers hold lease {l}"));
            }
            let too_early =
                l == 1 && self.kind == Kind::ParentAndChild && !self.leases[0].has_ended();
            if holders == 1 && too_early {
                return Err("S7: the child is held before its parent has ended".into());
            }
        }
        Ok(())
    }

    /// What a worker without faults does in a scan interval. Parents are read to their end.
    fn go_on(&mut self, w: usize) -> Result<(), String> {
        for l in 0..2 {
            for _ in 0..3 {
                self.take(Step::Keep(w, l, Fate::Clear))?;
            }
        }
        let is_idle = |held: &Option<Held>| held.as_ref().is_some_and(|h| h.machine.is_idle());
        if self.kind == Kind::ParentAndChild && is_idle(&self.workers[w].held[0]) {
            self.take(Step::End(w, Fate::Clear))?;
        }
        self.take(Step::Scan(w))?;
        self.take(Step::Plan(w))?;
        while !self.workers[w].planned.is_empty() {
            self.take(Step::Execute(w, Fate::Clear))?;
        }
        Ok(())
    }

    fn is_owned(&self, alive: &[usize]) -> bool {
        self.leases.iter().enumerate().all(|(l, lease)| {
            let holds = |w: &usize| {
                let held = self.workers[*w].held[l].as_ref();
                held.is_some_and(|Held { machine, .. }| {
                    machine.lease().fence() == lease.fence() && self.now < machine.valid_until()
                })
            };
            lease.has_ended() || alive.iter().any(holds)
        })
    }
}

impl Worker {
    fn new(id: WorkerId, rules: Rules) -> Self {
        let duration = match rules {
            Rules { expires_early: true, .. } => timing().lease_duration / 5,
            Rules { never_expires: true, .. } => timing().lease_duration * 1_000,
            _ => timing().lease_duration,
        };
        Self { id, view: View::new(duration), held: [None, None], planned: Vec::new() }
    }
}

fn timing() -> LeaseTiming {
    LeaseTiming::for_duration(Duration::from_secs(10))
}

fn at(sequence: u64) -> Position {
    Position::at(sequence.to_string().parse().unwrap(), 0)
}

/// Chance is not explored: jitter and choices are always the same.
fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(1)
}

const FATES: [Fate; 3] = [Fate::Clear, Fate::AnswerLost, Fate::RequestLost];
/// Scan intervals until all is owned: a lease duration to see that a holder is dead, twice, and some more.
const ROUNDS: usize = 14;
