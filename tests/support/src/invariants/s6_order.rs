//! S6, in order: from a grant on, records come as they were put, none left out, a batch again only until it is done; and the
//! records of a key are first delivered in the order in which they were put, across reshards.

use std::collections::BTreeMap;

use kcl_core::{Position, ShardId};

use super::Violation;
use crate::sim::history::{Event, History, Life, Seen, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut put: BTreeMap<&ShardId, Vec<&Seen>> = BTreeMap::new();
    let mut after: BTreeMap<(&ShardId, Life), &Position> = BTreeMap::new();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    let mut wrong = |event: &Event, what: String| {
        violations.push(Violation::new("S6", Some(event), what));
    };
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Put(seen) => put.entry(shard).or_default().push(seen),
            What::Granted(life, position) | What::Done(life, _, position) => {
                after.insert((shard, *life), position);
            }
            What::Delivered(life, batch) => {
                let put = put.get(shard).map(Vec::as_slice).unwrap_or_default();
                let begin = after
                    .get(&(shard, *life))
                    .map_or(0, |after| put.partition_point(|seen| seen.position <= **after));
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
                    if nth > next {
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
