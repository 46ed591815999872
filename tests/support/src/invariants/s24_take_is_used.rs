//! S24, what is taken is read: a worker that has taken a lease hands it to a consumer within a call's time, also when the
//! answer to its write was an error.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::ShardId;

use super::Violation;
use crate::sim::history::{Event, History, Life, Turn, What};

/// A read, a second write, and the way there and back.
const CALLS: Duration = Duration::from_millis(400);

/// A take that waits for its grant.
struct Taken<'a> {
    event: &'a Event,
    life: Life,
}

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut waiting: BTreeMap<&ShardId, Taken<'_>> = BTreeMap::new();
    // Who reads: its old consumer may have to end before.
    let mut readers: BTreeSet<(&ShardId, Life)> = BTreeSet::new();
    // The last call that went wrong in another way than by an error after its effect.
    let mut faults: BTreeMap<Life, Duration> = BTreeMap::new();
    let mut stopping: BTreeSet<Life> = BTreeSet::new();
    let mut away: BTreeSet<Life> = BTreeSet::new();
    for event in &history.events {
        let overdue = |taken: &Taken<'_>| taken.event.at + CALLS < event.at;
        for (_, Taken { event, life }) in waiting.extract_if(.., |_, taken| overdue(taken)) {
            let what = format!("{life} has taken it, and does not read it");
            violations.push(Violation::new("S24", Some(event), what));
        }
        match (&event.shard, &event.what) {
            (_, What::Stopping) => return violations,
            // Whatever goes wrong with its calls costs time.
            (_, What::Fault(life, word)) => {
                let is_lost_answer = *word == "store fails after the effect";
                // That of the take itself is no excuse; of the read that follows it is.
                waiting.retain(|_, taken| {
                    taken.life != *life || (is_lost_answer && taken.event.at >= event.at)
                });
                if !is_lost_answer {
                    faults.insert(*life, event.at);
                }
            }
            (None, What::Process(life, turn)) => {
                waiting.retain(|_, taken| taken.life != *life);
                match turn {
                    Turn::IsAskedToStop => stopping.insert(*life),
                    Turn::Stalls | Turn::Crashes => away.insert(*life),
                    Turn::Resumes => away.remove(life),
                    _ => false,
                };
            }
            (Some(shard), What::Granted(life, _)) => {
                waiting.remove(shard);
                readers.insert((shard, *life));
            }
            (Some(shard), What::Process(life, _)) => {
                readers.remove(&(shard, *life));
            }
            (Some(shard), What::Wrote(write)) => {
                waiting.remove(shard);
                let (Some(life), Some(before), Some(after)) =
                    (write.by, &write.before, &write.after)
                else {
                    continue;
                };
                let takes = after.owner.as_ref().is_some_and(|owner| life.is(owner))
                    && before.owner != after.owner
                    && faults.get(&life).is_none_or(|at| *at + CALLS < write.issued);
                let able = !stopping.contains(&life) && !away.contains(&life);
                let can = able && !readers.contains(&(shard, life));
                if takes && can {
                    waiting.insert(shard, Taken { event, life });
                }
            }
            _ => {}
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn a_lease_that_is_taken_and_not_read_is_seen() {
        let granted = || What::Granted(ANA, Position::TrimHorizon);
        let mut read = made().taken(ANA).on(0, granted()).history;
        assert_eq!(check(&read).len(), 1); // a second later
        read.events[2].at = read.events[1].at;
        assert_eq!(check(&read), []);
        let mut slow = made().taken(ANA).then(What::Fault(ANA, "store request lost")).history;
        slow.events[2].at = slow.events[1].at;
        assert_eq!(check(&slow), []);
    }
}
