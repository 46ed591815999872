//! S20, nothing is taken from the living but for balance: a lease leaves a worker no earlier than a lease duration after that
//! worker's last write, unless the taker has at least two fewer, or is the same worker in a later life.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::{ShardId, WorkerId};

use super::Violation;
use crate::sim::history::{Event, History, Life, Turn, What, Write};

/// What a taker knows is so old at the most, beside the time between two scans and that of the calls.
const OLDEST: Duration = Duration::from_secs(2);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let timing = &history.terms.timing;
    let mut violations = Vec::new();
    let mut written: BTreeMap<&ShardId, Duration> = BTreeMap::new();
    let mut owners = Owners::default();
    let mut stalls: BTreeMap<Life, Stall> = BTreeMap::new();
    for event in &history.events {
        if let What::Process(life, turn @ (Turn::Stalls | Turn::Resumes)) = event.what {
            stalls.entry(life).or_default().follow(turn, event.at);
        }
        if let (Some(shard), What::Asked(_, Some(worker))) = (&event.shard, &event.what) {
            owners.asked.push((event.at, shard, worker));
        }
        let (Some(shard), What::Wrote(write)) = (&event.shard, &event.what) else { continue };
        let last = written.insert(shard, event.at);
        if let (Some((taker, victim)), Some(last)) = (moves(write), last)
            && write.issued < last + timing.lease_duration
        {
            let old = OLDEST + timing.scan_interval + 2 * timing.renew_interval;
            // What was planned before a stall is done after it.
            let stall = stalls.get(&taker).filter(|stall| write.issued <= stall.ended + old);
            let from = stall.map_or(write.issued, |stall| stall.began).saturating_sub(old);
            let (most, least) = owners.extremes(from, victim, taker, timing.lease_duration);
            if most < least + 2 {
                let what = format!(
                    "{taker} takes it from {victim}, who wrote {:.3} s before and had {most} leases at the most, the taker {least}",
                    (write.issued.saturating_sub(last)).as_secs_f64()
                );
                violations.push(Violation::new("S20", Some(event), what));
            }
        }
        owners.note(event, shard, write);
    }
    violations
}

/// The last time that its host stopped a process.
#[derive(Debug, Default)]
struct Stall {
    began: Duration,
    ended: Duration,
}

impl Stall {
    fn follow(&mut self, turn: Turn, at: Duration) {
        match turn {
            Turn::Stalls if self.began <= self.ended => self.began = at,
            Turn::Resumes => self.ended = at,
            _ => {}
        }
    }
}

/// From one worker to another.
fn moves(write: &Write) -> Option<(Life, &WorkerId)> {
    let by = write.by?;
    let before = write.before.as_ref().filter(|lease| !lease.has_ended())?.owner.as_ref()?;
    let after = write.after.as_ref()?.owner.as_ref()?;
    (by.is(after) && !by.is(before)).then_some((by, before))
}

/// An owner, and which process of that id wrote last.
type Holder<'a> = (&'a WorkerId, Option<Life>);

/// Who owned which lease, and who wrote it last, over time.
#[derive(Debug, Default)]
struct Owners<'a> {
    changes: Vec<(Duration, &'a ShardId, Option<Holder<'a>>)>,
    /// What a worker has asked for counts as its own.
    asked: Vec<(Duration, &'a ShardId, &'a WorkerId)>,
}

impl<'a> Owners<'a> {
    fn note(&mut self, event: &Event, shard: &'a ShardId, write: &'a Write) {
        let lease = write.after.as_ref().filter(|lease| !lease.has_ended());
        let owner = lease.and_then(|lease| lease.owner.as_ref());
        self.changes.push((event.at, shard, owner.map(|owner| (owner, write.by))));
    }

    /// Since `from`: how many leases `victim` had, at once or one after the other, as an old view may show them; and the least
    /// that `taker` had. What it has not written for a lease duration is no longer its own.
    fn extremes(
        &self,
        from: Duration,
        victim: &WorkerId,
        taker: Life,
        duration: Duration,
    ) -> (usize, usize) {
        let mut theirs: BTreeSet<&ShardId> = BTreeSet::new();
        let mut now: BTreeMap<&ShardId, (Duration, &WorkerId, Option<Life>)> = BTreeMap::new();
        let mut least = usize::MAX;
        let mut look = |now: &BTreeMap<&'a ShardId, (Duration, &WorkerId, Option<Life>)>, at| {
            let of_victim = now.iter().filter(|(_, (_, owner, _))| *owner == victim);
            theirs.extend(of_victim.map(|(shard, _)| *shard));
            let own = now.values().filter(|(since, owner, by)| {
                taker.is(owner) && *by == Some(taker) && *since + duration > at
            });
            least = least.min(own.count());
        };
        for (at, shard, owner) in &self.changes {
            if *at >= from {
                look(&now, *at);
            }
            match owner {
                Some((owner, by)) => now.insert(shard, (*at, owner, *by)),
                None => now.remove(shard),
            };
        }
        look(&now, self.changes.last().map_or(from, |(at, ..)| *at));
        let asked = self.asked.iter().filter(|(at, _, by)| *by == victim && *at + duration >= from);
        theirs.extend(asked.map(|(_, shard, _)| *shard));
        (theirs.len(), least)
    }
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, BOB, lease, made};
    use super::*;

    #[test]
    fn a_take_from_the_living_is_seen() {
        let held = |owner, counter| Some(lease(Some(owner), counter, Position::TrimHorizon));
        let taken = |others: u32, waits| {
            let begun = (1..=others).fold(made(), |made, number| made.taken_of(number, ANA));
            begun.taken(ANA).waits(waits).wrote(BOB, held(ANA, 1), held(BOB, 2))
        };
        assert_eq!(check(&taken(0, 5).history).len(), 1);
        assert_eq!(check(&taken(0, 10).history), []);
        assert_eq!(check(&taken(1, 1).history), []); // for balance
    }

    #[test]
    fn a_taker_that_was_stopped_in_between_may_know_what_was() {
        let held = |owner, counter| Some(lease(Some(owner), counter, Position::TrimHorizon));
        // The second lease of Ana's goes away while Bob does not run.
        let gone = |issued| {
            let write = Write { by: None, issued, expected: None, before: None, after: None };
            What::Wrote(Box::new(write))
        };
        let taken = |is_stalled: bool| {
            let begun = made().taken_of(1, ANA).taken(ANA).waits(1);
            let begun =
                if is_stalled { begun.then(What::Process(BOB, Turn::Stalls)) } else { begun };
            let begun = begun.on(1, gone(Duration::ZERO)).waits(60);
            let begun = begun.wrote(ANA, held(ANA, 1), held(ANA, 2));
            let begun =
                if is_stalled { begun.then(What::Process(BOB, Turn::Resumes)) } else { begun };
            check(&begun.wrote(BOB, held(ANA, 2), held(BOB, 3)).history).len()
        };
        assert_eq!((taken(true), taken(false)), (0, 1));
    }
}
