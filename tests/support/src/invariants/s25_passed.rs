//! S25, what was passed is not read again: a shard whose lease is gone is not read anew once a child has progressed, unless an
//! operator has deleted the child's lease too, or set the shard itself back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::{HashRange, ShardId};

use super::Violation;
use crate::sim::history::{History, What, short};

/// So long a look at the leases may take, calls that go wrong included.
const LOOK: Duration = Duration::from_secs(15);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let shards = history.shards();
    let mut violations = Vec::new();
    let mut progressed: BTreeMap<&ShardId, Duration> = BTreeMap::new();
    // Set back by an operator, or made anew: who reads it to its end again makes the leases of its children.
    let mut again: BTreeSet<&ShardId> = BTreeSet::new();
    let mut known: BTreeSet<&ShardId> = BTreeSet::new();
    for event in &history.events {
        let (Some(shard), What::Wrote(write)) = (&event.shard, &event.what) else { continue };
        if write.by.is_none() && write.after.is_some() {
            again.insert(shard);
        }
        let has_progressed =
            write.after.as_ref().is_some_and(|lease| lease.position.has_progressed());
        if write.after.is_none() {
            progressed.remove(shard);
        } else if has_progressed && write.by.is_some() {
            progressed.entry(shard).or_insert(event.at);
        }
        let creates = write.before.is_none() && write.by.is_some();
        let parents = shards.get(shard).map_or(&[][..], |(parents, _)| parents);
        if !creates {
            continue;
        }
        let is_led = again.contains(shard) || parents.iter().any(|p| again.contains(p));
        // Of a founder that stood still between its look and this write, nobody can keep it; others have begun with what came
        // after the shard.
        let is_late = write.issued + LOOK < event.at
            || known.iter().any(|known| descends(known, shard, &shards));
        if !known.insert(shard) || is_late {
            again.insert(shard);
        }
        if is_led {
            continue;
        }
        let passed = progressed.iter().find(|(child, since)| {
            let is_child = shards.get(**child).is_some_and(|(parents, _)| parents.contains(shard));
            is_child && **since + LOOK < write.issued
        });
        if let Some((child, since)) = passed {
            let what = format!(
                "its lease is made anew, though its child {} has progressed since {:.3} s",
                short(child),
                since.as_secs_f64()
            );
            violations.push(Violation::new("S25", Some(event), what));
        }
    }
    violations
}

/// Whether a shard was made of the other one, directly or not.
fn descends(
    shard: &ShardId,
    from: &ShardId,
    shards: &BTreeMap<&ShardId, (&[ShardId], HashRange)>,
) -> bool {
    let parents = shards.get(shard).map_or(&[][..], |(parents, _)| parents);
    parents.iter().any(|parent| parent == from || descends(parent, from, shards))
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;
    use kcl_lease::{Lease, LeaseKey};

    use super::super::testing::{ANA, at, lease, made, shard};
    use super::*;
    use crate::sim::history::{Life, Write};

    #[test]
    fn a_passed_shard_that_gets_a_lease_again_is_seen() {
        let of = |counter, position| Lease {
            key: LeaseKey::single(shard(1)),
            ..lease(Some(ANA), counter, position)
        };
        let (before, after) = (of(1, Position::TrimHorizon), of(2, at(9)));
        let progress = |by| Write {
            by,
            issued: Duration::ZERO,
            expected: Some(before.fence()),
            before: Some(before.clone()),
            after: Some(after.clone()),
        };
        let again = |by: Option<Life>, waits| {
            let begun = made().opened(0, &[]).opened(1, &[0]);
            begun.on(1, What::Wrote(Box::new(progress(by)))).waits(waits).taken(ANA)
        };
        assert_eq!(check(&again(None, 20).history), []);
        assert_eq!(check(&again(Some(ANA), 2).history), []);
        assert_eq!(check(&again(Some(ANA), 20).history).len(), 1);
    }

    #[test]
    fn descent_goes_over_generations() {
        let made = made().opened(0, &[]).opened(1, &[0]).opened(2, &[1]).opened(3, &[]);
        let shards = made.history.shards();
        let descends = |shard_of, from| descends(&shard(shard_of), &shard(from), &shards);
        assert!(descends(1, 0) && descends(2, 0));
        assert!(!descends(0, 2) && !descends(3, 0) && !descends(0, 0));
    }
}
