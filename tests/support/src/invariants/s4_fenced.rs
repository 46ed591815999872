//! S4, every write is fenced: it finds the counter and owner that it expected, counts up by one, and a process that was
//! superseded changes nothing. (Processes that live under one id at once count as one.)

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::ShardId;
use kcl_lease::Lease;

use super::Violation;
use crate::sim::history::{History, Life, Turn, What, Write};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut holders: BTreeMap<&ShardId, Life> = BTreeMap::new();
    let twins = twins(history);
    for event in &history.events {
        let (Some(shard), What::Wrote(write)) = (&event.shard, &event.what) else {
            continue;
        };
        let Some(by) = write.by else {
            holders.remove(shard);
            continue;
        };
        let holder = match holders.get(shard) {
            Some(life) if life.worker == by.worker && twins.contains(&by.worker) => Some(by),
            holder => holder.copied(),
        };
        if let Some(wrong) = judge(write, by, holder) {
            violations.push(Violation::new("S4", Some(event), format!("{by} {wrong}")));
        }
        if write.after.as_ref().is_some_and(|after| owns(after, by)) {
            holders.insert(shard, by);
        } else {
            // Free, or another's, of whichever process that is.
            holders.remove(shard);
        }
    }
    violations
}

/// The ids under which a process was started while an earlier one had not ended.
pub(super) fn twins(history: &History) -> BTreeSet<u32> {
    let (mut lives, mut twins) = (BTreeSet::new(), BTreeSet::new());
    for event in &history.events {
        match event.what {
            What::Process(life, Turn::Starts) => {
                if lives.iter().any(|other: &Life| other.worker == life.worker) {
                    twins.insert(life.worker);
                }
                lives.insert(life);
            }
            What::Process(life, Turn::Crashes) | What::Finished(life, _) => {
                lives.remove(&life);
            }
            _ => {}
        }
    }
    twins
}

/// A process counts by a number of its own.
const MOST: u64 = 1 << 16;

fn judge(write: &Write, by: Life, holder: Option<Life>) -> Option<&'static str> {
    if write.expected != write.before.as_ref().map(Lease::fence) {
        return Some("wrote over a lease that it did not expect");
    }
    let (before, after) = (write.before.as_ref()?, write.after.as_ref());
    let Some(after) = after else {
        let free = before.owner.is_none() || before.has_ended() || holder == Some(by);
        return (!free).then_some("deleted a lease that another holds");
    };
    if !(1..=MOST).contains(&after.counter.saturating_sub(before.counter)) {
        return Some("did not count up");
    }
    let takes = owns(after, by);
    // What an earlier process of its id has left.
    let is_left = holder.is_none_or(|holder| holder.worker == by.worker && holder.life < by.life);
    if is_left && owns(before, by) && after.owner.is_none() && after.position == before.position {
        return None;
    }
    match holder {
        Some(holder) if holder.worker == by.worker && holder.life > by.life => {
            Some("wrote after a later process of the same id had taken the lease")
        }
        Some(holder) if holder != by && !takes => Some("changed a lease that another holds"),
        None if !takes && before.owner.is_some() => Some("changed a lease that it never took"),
        _ => None,
    }
}

fn owns(lease: &Lease, life: Life) -> bool {
    lease.owner.as_ref().is_some_and(|owner| life.is(owner))
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, BOB, at, lease, made};
    use super::*;

    #[test]
    fn a_write_by_a_superseded_process_is_seen() {
        let horizon = || Position::TrimHorizon;
        let stolen = || {
            let (before, after) = (lease(Some(ANA), 1, horizon()), lease(Some(BOB), 2, horizon()));
            made().taken(ANA).wrote(BOB, Some(before), Some(after))
        };
        assert_eq!(check(&stolen().history), []);
        let held = || Some(lease(Some(BOB), 2, horizon()));
        let zombie = stolen().wrote(ANA, held(), Some(lease(Some(BOB), 3, at(1))));
        assert_eq!(check(&zombie.history).len(), 1);
        let later = Life { life: 2, ..BOB };
        let again = stolen().wrote(later, held(), Some(lease(Some(BOB), 3, horizon())));
        assert_eq!(check(&again.history), []);
        let (three, four) = (lease(Some(BOB), 3, horizon()), lease(Some(BOB), 4, horizon()));
        let ghost = again.wrote(BOB, Some(three), Some(four));
        assert_eq!(check(&ghost.history).len(), 1);
    }

    #[test]
    fn a_write_without_its_fence_is_seen() {
        let mut unfenced = made().taken(ANA);
        if let What::Wrote(write) = &mut unfenced.history.events[1].what {
            write.expected = Some(lease(Some(BOB), 7, Position::TrimHorizon).fence());
        }
        assert_eq!(check(&unfenced.history).len(), 1);
    }
}
