//! S22, a stop says the truth, in any weather: what is called drained is durable and free; a worker that stopped clean has lost
//! nothing since it was asked to, and no lease carries its name; and whoever is asked to stop takes nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::{Position, ShardId};
use kcl_lease::Lease;

use super::Violation;
use crate::sim::history::{Event, History, Life, Turn, What, Write, short};
use crate::sim::schedule::Checkpoints;

/// A take that was decided before.
const UNDER_WAY: Duration = Duration::from_millis(200);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut stops = Stops {
        is_manual: history.terms.checkpoint == Checkpoints::Manual,
        retries: 2 * history.terms.timing.lease_duration,
        ..Stops::default()
    };
    for event in &history.events {
        stops.follow(event);
    }
    stops.violations
}

#[derive(Debug, Default)]
struct Stops<'a> {
    is_manual: bool,
    /// So long a call that goes wrong is tried again.
    retries: Duration,
    living: BTreeSet<Life>,
    /// When a process was asked to stop.
    asked: BTreeMap<Life, Duration>,
    /// When a call of it to the lease table went wrong, or its host stopped it, for the last time.
    troubled: BTreeMap<Life, Duration>,
    /// What it has done since it was granted the shard, and where its lease stood when it freed it.
    done: BTreeMap<(&'a ShardId, Life), Position>,
    freed: BTreeMap<(&'a ShardId, Life), Position>,
    /// What was lost after the process was asked to stop.
    lost: BTreeMap<Life, &'a ShardId>,
    /// Who was granted the shard since it took it.
    granted: BTreeSet<(&'a ShardId, Life)>,
    /// What a process has asked its owner for.
    wanted: BTreeSet<(&'a ShardId, Life)>,
    /// The leases that have not ended, with their last writer.
    leases: BTreeMap<&'a ShardId, (&'a Lease, Option<Life>)>,
    violations: Vec<Violation>,
}

impl<'a> Stops<'a> {
    fn follow(&mut self, event: &'a Event) {
        match (&event.shard, &event.what) {
            (_, What::Stopping) => {
                let living = self.living.iter().map(|life| (*life, event.at));
                self.asked.extend(living.collect::<Vec<_>>());
            }
            (None, What::Process(life, turn)) => self.turn(*life, *turn, event.at),
            (_, What::Fault(life, word)) if word.starts_with("store") => {
                self.troubled.insert(*life, event.at);
            }
            (Some(shard), What::Granted(life, position)) => {
                self.done.insert((shard, *life), position.clone());
                self.freed.remove(&(shard, *life));
                self.granted.insert((shard, *life));
            }
            (Some(shard), What::Asked(Some(life), Some(_))) => {
                self.wanted.insert((shard, *life));
            }
            (Some(shard), What::Done(life, _, last)) => {
                self.done.insert((shard, *life), last.clone());
            }
            (Some(shard), What::Process(life, Turn::LostIt))
                if self.asked.get(life).is_some_and(|asked| *asked < event.at) =>
            {
                self.lost.insert(*life, shard);
            }
            (Some(shard), What::Process(life, Turn::DrainedIt)) => {
                self.drained(event, shard, *life);
            }
            (Some(shard), What::Wrote(write)) => self.wrote(event, shard, write),
            (_, What::Finished(life, how)) => {
                self.living.remove(life);
                if how == "clean" {
                    self.clean(event, *life);
                }
            }
            _ => {}
        }
    }

    fn turn(&mut self, life: Life, turn: Turn, at: Duration) {
        match turn {
            Turn::Starts => {
                self.living.insert(life);
            }
            Turn::Crashes => {
                self.living.remove(&life);
            }
            Turn::IsAskedToStop => {
                self.asked.insert(life, at);
            }
            Turn::Stalls | Turn::Resumes => {
                self.troubled.insert(life, at);
            }
            _ => {}
        }
    }

    fn drained(&mut self, event: &Event, shard: &ShardId, life: Life) {
        let done = self.done.get(&(shard, life));
        let wrong = match self.freed.get(&(shard, life)) {
            None => "is not free",
            Some(durable) if done.is_some_and(|done| done > durable) && !self.is_manual => {
                "is not durable to where it was done"
            }
            Some(_) => return,
        };
        let what = format!("{life} says that it is drained, but it {wrong}");
        self.violations.push(Violation::new("S22", Some(event), what));
    }

    fn wrote(&mut self, event: &Event, shard: &'a ShardId, write: &'a Write) {
        match &write.after {
            Some(lease) if !lease.has_ended() => self.leases.insert(shard, (lease, write.by)),
            _ => self.leases.remove(shard),
        };
        let (Some(life), Some(after)) = (write.by, &write.after) else { return };
        let owner = |lease: Option<&Lease>| lease.and_then(|lease| lease.owner.clone());
        let (before, owned) = (owner(write.before.as_ref()), owner(Some(after)));
        let gives = before.as_ref().is_some_and(|before| life.is(before))
            && owned.as_ref().is_some_and(|owned| !life.is(owned));
        if owned.is_none() || gives {
            self.freed.insert((shard, life), after.position.clone());
        }
        let takes = owned.is_some_and(|owner| life.is(&owner) && before.as_ref() != Some(&owner));
        if takes {
            self.granted.remove(&(shard, life));
        }
        let Some(asked) = self.asked.get(&life).filter(|_| takes) else { return };
        let calm = self.troubled.get(&life).is_none_or(|at| *at + self.retries < *asked);
        if write.issued > *asked + UNDER_WAY && calm {
            let what = format!("{life} takes it though it was asked to stop before");
            self.violations.push(Violation::new("S22", Some(event), what));
        }
    }

    fn clean(&mut self, event: &Event, life: Life) {
        let mut wrong = |what: String| {
            self.violations.push(Violation::new("S22", Some(event), format!("{life} {what}")));
        };
        if let Some(shard) = self.lost.get(&life) {
            wrong(format!("stopped clean, but lost shard {}", short(shard)));
        }
        for (shard, (lease, by)) in &self.leases {
            let is_its = lease.owner.as_ref().is_some_and(|owner| life.is(owner));
            // Not to an earlier process of its id.
            let given = by.is_some_and(|by| by.worker != life.worker);
            if is_its && given && self.wanted.contains(&(*shard, life)) {
                wrong(format!("stopped clean, but shard {} was handed to it", short(shard)));
            }
            // A take whose answer never came is nothing that it could know of.
            if is_its && *by == Some(life) && self.granted.contains(&(*shard, life)) {
                wrong(format!("stopped clean, but still owns shard {}", short(shard)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, BOB, Made, at, lease, made};
    use super::*;

    /// Ana reads, does a record, and is asked to stop.
    fn asked() -> Made {
        let begun = made().put(&[1]).then(What::Process(ANA, Turn::Starts)).taken(ANA);
        let begun = begun.on(0, What::Granted(ANA, Position::TrimHorizon)).done(ANA, &[1]);
        begun.then(What::Process(ANA, Turn::IsAskedToStop))
    }

    fn freed(made: Made, position: Position) -> Made {
        let held = lease(Some(ANA), 1, Position::TrimHorizon);
        made.wrote(ANA, Some(held), Some(lease(None, 2, position)))
    }

    fn drains(made: Made) -> Made {
        made.on(0, What::Process(ANA, Turn::DrainedIt)).then(What::Finished(ANA, "clean".into()))
    }

    #[test]
    fn a_lease_that_comes_to_who_has_stopped_is_seen() {
        let horizon = || Position::TrimHorizon;
        let asked = |wants: bool| {
            let begun = made().then(What::Process(BOB, Turn::Starts)).taken(ANA);
            let to = lease(Some(BOB), 0, horizon()).owner;
            let begun = if wants { begun.on(0, What::Asked(Some(BOB), to)) } else { begun };
            let begun = begun.then(What::Process(BOB, Turn::IsAskedToStop));
            let (before, after) = (lease(Some(ANA), 1, horizon()), lease(Some(BOB), 2, horizon()));
            begun.wrote(ANA, Some(before), Some(after)).then(What::Finished(BOB, "clean".into()))
        };
        assert_eq!(check(&asked(true).history).len(), 1);
        assert_eq!(check(&asked(false).history), []);
    }

    #[test]
    fn a_stop_that_is_called_clean_and_is_not_is_seen() {
        assert_eq!(check(&drains(freed(asked(), at(1))).history), []);
        assert_eq!(check(&drains(freed(asked(), Position::TrimHorizon)).history).len(), 1);
        assert_eq!(check(&drains(asked()).history).len(), 2); // not free, and still its own
        let lost = freed(asked(), at(1)).on(0, What::Process(ANA, Turn::LostIt));
        assert_eq!(check(&lost.then(What::Finished(ANA, "clean".into())).history).len(), 1);
    }

    #[test]
    fn a_take_after_the_request_to_stop_is_seen() {
        let again = freed(asked(), at(1)).wrote(
            ANA,
            Some(lease(None, 2, at(1))),
            Some(lease(Some(ANA), 3, at(1))),
        );
        assert_eq!(check(&again.history).len(), 1);
    }
}
