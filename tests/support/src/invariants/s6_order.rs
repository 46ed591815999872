//! S6, in order: from a grant on, records come as they were put, none left out, a batch again only until it is done; and the
//! records of a key are first delivered in the order in which they were put, across reshards. What was put before the application
//! began may be left out.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::{Position, ShardId};

use super::Violation;
use crate::sim::history::{Event, History, Life, Seen, What};
use crate::sim::schedule::Checkpoints;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let may_skip = history.may_skip();
    let is_manual = history.terms.checkpoint == Checkpoints::Manual;
    let mut violations = Vec::new();
    let mut put: BTreeMap<&ShardId, Vec<&Seen>> = BTreeMap::new();
    let mut optional: BTreeSet<(u32, u64)> = BTreeSet::new();
    let mut hands: BTreeMap<(&ShardId, Life), &[Seen]> = BTreeMap::new();
    let mut after: BTreeMap<(&ShardId, Life), &Position> = BTreeMap::new();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    let mut wrong = |event: &Event, what: String| {
        violations.push(Violation::new("S6", Some(event), what));
    };
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Put(seen) => {
                put.entry(shard).or_default().push(seen);
                if may_skip(event.at) {
                    optional.insert((seen.key, seen.nth));
                }
            }
            What::Granted(life, position) => {
                hands.remove(&(shard, *life));
                after.insert((shard, *life), position);
            }
            // A part of a batch that is done comes again if the rest fails.
            What::Done(life, _, last)
                if hands
                    .get(&(shard, *life))
                    .and_then(|hand| hand.last())
                    .is_some_and(|end| end.position == *last) =>
            {
                after.insert((shard, *life), last);
            }
            // A processor that checkpoints by itself may have done all of it, and then failed.
            What::Delivered(life, batch)
                if is_manual && hands.get(&(shard, *life)) == Some(&batch.as_slice()) => {}
            What::Delivered(life, batch) => {
                let put = put.get(shard).map(Vec::as_slice).unwrap_or_default();
                let after = after.get(&(shard, *life)).copied();
                let mut begin =
                    after.map_or(0, |after| put.partition_point(|seen| seen.position <= *after));
                // A reader that begins by time may leave out what does not count, and what is done.
                let by_time = after.is_some_and(|after| !after.has_progressed());
                while put.get(begin).is_some_and(|seen| {
                    let passes = optional.contains(&(seen.key, seen.nth))
                        || by_time && seen.nth < next.get(&seen.key).copied().unwrap_or(0);
                    passes && batch.first() != Some(seen)
                }) {
                    begin += 1;
                }
                hands.insert((shard, *life), batch);
                let expected = put[begin..].iter().copied();
                if !batch.iter().eq(expected.take(batch.len())) {
                    let first = batch.first().map(|seen| seen.position.to_string());
                    wrong(
                        event,
                        format!("{life} gets other records than the next ones: {first:?}"),
                    );
                }
                for Seen { key, nth, .. } in batch {
                    let next = next.entry(*key).or_default();
                    let left_out = (*next..*nth).find(|nth| !optional.contains(&(*key, *nth)));
                    if let Some(next) = left_out {
                        wrong(event, format!("{life} gets k{key}:{nth} before k{key}:{next}"));
                    }
                    *next = (*next).max(nth + 1);
                }
            }
            _ => {}
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, BOB, at, made};
    use super::*;

    #[test]
    fn records_left_out_or_out_of_order_are_seen() {
        let begun = || {
            made().put(&[1, 2, 3]).on(0, What::Granted(ANA, Position::TrimHorizon)).done(ANA, &[1])
        };
        assert_eq!(check(&begun().delivered(ANA, &[2]).delivered(ANA, &[2, 3]).history), []);
        assert_eq!(check(&begun().delivered(ANA, &[1]).history).len(), 1); // again though done
        assert_eq!(check(&begun().delivered(ANA, &[3]).history).len(), 2); // 2 is left out
        let resumed = begun().on(0, What::Granted(BOB, at(1)));
        assert_eq!(check(&resumed.delivered(BOB, &[2]).history), []);
    }
}
