//! Which leases this worker takes next. Pure: the same view, settings and random numbers give the same moves.
//!
//! Every worker plans alone, and conditional writes arbitrate. The rules, first to last:
//!
//! 1. Leases under this worker's own id that it does not hold are those of its previous life: it takes them back at once,
//!    expired or not. The counter fences the previous life.
//! 2. Free and expired leases up to the target `ceil(startable leases / live workers)`, the longest free first, then by
//!    chance so that workers do not collide. A worker that is about to expire ([`View::suspects`]) counts for none: its leases
//!    come free one after the other, and each would wait for the last. What was free for a while ([`Me::patience`]) is taken regardless of the target:
//!    most of ours that are below it have looked since, and others would leave it for longer than balance is worth (Java
//!    2.x looks every two lease durations, and counts ended leases as its load). So are the children of a shard that this
//!    worker has just read to its end: others would notice them with their next scan, and its keys would stand still
//!    until then.
//! 3. Only when nothing is free: single leases from the most loaded worker while it has at least two more than this one.
//!    Which ones is *not* left to chance: when several workers want from the same one they want the same leases, so that
//!    the conditional write leaves it no poorer than one of them would have.
//!
//!    A worker that is about to expire is left alone. One that hands over on request is asked for them ([`Move::Ask`]): what was asked for counts as this worker's, and
//!    is taken when it has not come in time. What another worker has asked for is left alone, and counts for nobody.
//!
//! A lease is startable once every parent's lease has ended or is gone for good (where the Java KCL takes it and lets it block). A
//! difference of one never moves a lease, so a balanced fleet stands still, also beside Java 2.x workers, who do not steal
//! for a difference of one either (their target is the same, but for ended leases).

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use kcl_core::WorkerId;

use crate::view::{Life, View};
use crate::{Lease, LeaseKey};
pub(crate) use explain::Situation;

/// The worker that plans.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Me<'a> {
    /// Its id.
    pub(crate) worker: &'a WorkerId,
    /// What it holds, whatever the view says of the owner.
    pub(crate) held: &'a BTreeSet<LeaseKey>,
    /// What it gave up for good: it never takes these.
    pub(crate) shunned: &'a BTreeSet<LeaseKey>,
    /// The children of shards that it has read to their end.
    pub(crate) heirs: &'a BTreeSet<LeaseKey>,
    /// What waits for a parent whose lease is to be made anew: nobody can start these.
    pub(crate) waiting: &'a BTreeSet<LeaseKey>,
    /// What it has asked for, and until when it waits for that.
    pub(crate) asked: &'a BTreeMap<LeaseKey, Instant>,
    /// How long free leases are left to workers below the target.
    pub(crate) patience: Duration,
    /// The most that it may hold; `None` means no limit.
    pub(crate) max_leases: Option<NonZeroU32>,
}

/// What to do next. Later evidence of life may add a move that fences a worker before its leases are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Move {
    /// Take a lease that nobody alive holds.
    Take(Claim),
    /// Ask a live worker for a lease, for balance.
    Ask(Claim),
    /// Take a lease from a live worker, for balance.
    Steal(Claim),
}

/// A lease to become the owner of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// As it was seen; its fence is what the write expects.
    pub(crate) lease: Lease,
    /// Leases of parents that the view does not show. They must be ended or absent by a consistent read as well, because
    /// a torn scan can miss a lease. Empty once the lease has progressed: its parents were done then.
    pub(crate) verify: Vec<LeaseKey>,
    /// For the log.
    pub(crate) why: &'static str,
}

/// What to do now, and why.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Independent of each other, and in the order of their urgency.
    pub(crate) moves: Vec<Move>,
    /// When to plan again even if nothing changes: a lease that is left to others is not left for ever.
    pub(crate) again: Option<Instant>,
    /// What it was decided from.
    pub(crate) situation: Situation,
}

/// The next moves.
pub(crate) fn plan(view: &View, me: &Me<'_>, now: Instant, rng: &mut fastrand::Rng) -> Plan {
    let board = Board::new(view, me, now);
    let limit = me.max_leases.map_or(usize::MAX, |max| max.get() as usize);
    let share = |workers: usize| board.startable.div_ceil(workers).min(limit);
    let active = board.workers.difference(&board.suspects).count();
    let (target, even) = (share(active), share(board.workers.len()));
    let mut situation = Situation::new(&board, me, target);
    let mut mine = me.held.len();
    let mut moves = Vec::new();
    let mut again = None;

    for lease in board.own.iter().take(limit.saturating_sub(mine)) {
        moves.push(Move::Take(claim(view, lease, "own from an earlier life")));
    }
    mine += moves.len() + board.coming;
    let room = limit.saturating_sub(mine);

    if !board.available.is_empty() {
        let mut available = board.available;
        rng.shuffle(&mut available);
        let is_heir = |lease: &Lease| me.heirs.contains(&lease.key);
        available.sort_by_key(|(lease, since)| (!is_heir(lease), *since));
        let is_urgent =
            |(lease, since): &(&Lease, Instant)| is_heir(lease) || *since + me.patience <= now;
        let urgent = available.partition_point(is_urgent);
        let need = target.saturating_sub(mine);
        let (taken, left) = available.split_at(need.max(urgent).min(room).min(available.len()));
        for (lease, _) in taken {
            let why = if lease.owner.is_some() { "expired" } else { "free" };
            moves.push(Move::Take(claim(view, lease, why)));
        }
        situation.left = left.len();
        if taken.len() < room {
            again = left.first().map(|(_, since)| *since + me.patience);
        }
    } else if board.own.is_empty() {
        let mut stolen = steal(board.loads, mine, even.saturating_sub(mine).min(room));
        rng.shuffle(&mut stolen);
        moves.extend(stolen.into_iter().map(|lease: &Lease| {
            if me.asked.contains_key(&lease.key) {
                Move::Steal(claim(view, lease, "not handed over in time"))
            } else if lease.cooperates() {
                Move::Ask(claim(view, lease, "balance"))
            } else {
                Move::Steal(claim(view, lease, "balance"))
            }
        }));
    }
    Plan { moves, again, situation }
}

fn steal<'a>(
    mut loads: BTreeMap<&'a WorkerId, Load<'a>>,
    mine: usize,
    need: usize,
) -> Vec<&'a Lease> {
    let mut stolen = Vec::new();
    while stolen.len() < need {
        // Of equals `max_by_key` prefers the last, and `pop` the highest key: the same for every worker that looks.
        let movable = loads.values_mut();
        let movable = movable.filter(|load| !(load.movable.is_empty() && load.late.is_empty()));
        let Some(most) = movable.max_by_key(|load| load.leases) else {
            break;
        };
        if most.leases < mine + stolen.len() + 2 {
            break;
        }
        most.leases -= 1;
        stolen.extend(most.late.pop().or_else(|| most.movable.pop()));
    }
    stolen
}

/// What another live worker holds.
#[derive(Default)]
struct Load<'a> {
    leases: usize,
    /// Those that this worker may take, in the order of their keys.
    movable: Vec<&'a Lease>,
    /// Those that this worker has asked for, and that did not come in time.
    late: Vec<&'a Lease>,
}

/// The leases sorted by what can be done with them.
struct Board<'a> {
    /// Those with a sign of life, and this one.
    workers: BTreeSet<&'a WorkerId>,
    /// Those among them that are about to expire, and others.
    suspects: BTreeSet<&'a WorkerId>,
    /// How many leases can be read now, by whomever.
    startable: usize,
    /// Startable ones under this worker's id that it does not hold.
    own: Vec<&'a Lease>,
    /// Startable ones without a live holder, and since when.
    available: Vec<(&'a Lease, Instant)>,
    /// How many this worker has asked for that may still come.
    coming: usize,
    /// Startable ones of the other live workers.
    loads: BTreeMap<&'a WorkerId, Load<'a>>,
    /// How many have not ended, but cannot be read yet.
    blocked: usize,
    /// How many without a live holder this worker gave up for good.
    shunned: usize,
}

impl<'a> Board<'a> {
    fn new(view: &'a View, me: &Me<'a>, now: Instant) -> Self {
        let mut board = Self {
            workers: BTreeSet::from([me.worker]),
            suspects: view.suspects(now),
            startable: 0,
            own: Vec::new(),
            available: Vec::new(),
            coming: 0,
            loads: BTreeMap::new(),
            blocked: 0,
            shunned: 0,
        };
        board.suspects.remove(me.worker);
        for (lease, life) in view.judged(now) {
            if life == Life::Live {
                board.workers.extend(&lease.owner);
            }
            let held = me.held.contains(&lease.key);
            if !held && !is_startable(view, me.waiting, lease) {
                // What comes was read by its owner: its parents had ended, whatever this view knows of them by now.
                let asked = me.asked.get(&lease.key).is_some_and(|deadline| now < *deadline);
                let comes = usize::from(asked && !lease.has_ended());
                board.startable += comes;
                board.coming += comes;
                board.blocked += usize::from(!lease.has_ended()) - comes;
                continue;
            }
            board.startable += 1;
            let shunned = me.shunned.contains(&lease.key);
            match (&lease.owner, life) {
                _ if held => {}
                (Some(owner), Life::Live) if owner != me.worker => {
                    let asker = view.asker(&lease.key, now).filter(|asker| *asker != me.worker);
                    board.live(lease, owner, (me.asked.get(&lease.key), asker), now, shunned);
                }
                _ if shunned => board.shunned += 1,
                (_, Life::Free(since) | Life::Expired(since)) if !owned_by(lease, me.worker) => {
                    board.available.push((lease, since));
                }
                (_, Life::Live | Life::Free(_) | Life::Expired(_)) => board.own.push(lease),
            }
        }
        board
    }

    /// A lease of another live worker; until when this one waits for it, and which other one does.
    fn live(
        &mut self,
        lease: &'a Lease,
        owner: &'a WorkerId,
        (deadline, asker): (Option<&Instant>, Option<&'a WorkerId>),
        now: Instant,
        shunned: bool,
    ) {
        match (deadline, asker) {
            (Some(deadline), _) if now < *deadline => self.coming += 1,
            (None, Some(asker)) => {
                // Not its owner's any more, and not yet the other's: only what a worker has can be spared.
                self.workers.insert(asker);
            }
            (deadline, _) => {
                let load = self.loads.entry(owner).or_default();
                load.leases += 1;
                match deadline {
                    Some(_) => load.late.push(lease),
                    None if !shunned && !self.suspects.contains(owner) => load.movable.push(lease),
                    None => {}
                }
            }
        }
    }
}

fn owned_by(lease: &Lease, worker: &WorkerId) -> bool {
    lease.owner.as_ref() == Some(worker)
}

/// True when the lease can be read now: it has not ended, no parent is known that has not, and it is none of those that wait
/// for a parent without a lease.
pub(crate) fn is_startable(view: &View, waiting: &BTreeSet<LeaseKey>, lease: &Lease) -> bool {
    let blocks = |parent: LeaseKey| view.get(&parent).is_some_and(|parent| !parent.has_ended());
    !lease.has_ended() && !waiting.contains(&lease.key) && !parents(lease).any(blocks)
}

fn parents(lease: &Lease) -> impl Iterator<Item = LeaseKey> {
    lease.parents.iter().map(|parent| lease.key.sibling(parent.clone()))
}

fn claim(view: &View, lease: &Lease, why: &'static str) -> Claim {
    let unseen = parents(lease).filter(|parent| view.get(parent).is_none());
    let verify = if lease.position.has_progressed() { Vec::new() } else { unseen.collect() };
    let lease = lease.clone();
    Claim { lease, verify, why }
}

mod explain;
#[cfg(test)]
mod fleet_tests;
#[cfg(test)]
mod java_tests;
#[cfg(test)]
mod tests;
