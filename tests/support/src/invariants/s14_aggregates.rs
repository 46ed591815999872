//! S14, aggregates are whole: each user record of an aggregate that was delivered at all is done in the end, and what only
//! looks like an aggregate is delivered as one record.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::{Position, SequenceNumber, ShardId};

use super::Violation;
use crate::sim::history::{History, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let (mut put, mut seen) = (Users::new(), Users::new());
    let mut violations = Vec::new();
    let mut drained = false;
    for event in &history.events {
        let Some(shard) = &event.shard else {
            drained = matches!(event.what, What::Drained);
            if drained {
                break;
            }
            continue;
        };
        match &event.what {
            What::Put(record) => note(&mut put, shard, &record.position),
            What::Delivered(_, batch) => {
                batch.iter().for_each(|record| note(&mut seen, shard, &record.position));
            }
            _ => {}
        }
    }
    for (place, subs) in &seen {
        let whole = put.get(place).unwrap_or(subs);
        if !subs.is_subset(whole) || (drained && subs != whole) {
            let what = format!("of record {} {subs:?} were delivered, not {whole:?}", place.1);
            violations.push(Violation::new("S14", None, what));
        }
    }
    violations
}

/// The sub-sequence numbers of each Kinesis record.
type Users<'a> = BTreeMap<(&'a ShardId, &'a SequenceNumber), BTreeSet<u64>>;

fn note<'a>(into: &mut Users<'a>, shard: &'a ShardId, position: &'a Position) {
    if let Position::Sequence { number, sub } = position {
        into.entry((shard, number)).or_default().insert(*sub);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, made};
    use super::*;
    use crate::sim::history::Seen;

    #[test]
    fn a_user_record_that_is_left_out_or_made_up_is_seen() {
        let part =
            |sub| Seen { position: Position::at("1".parse().unwrap(), sub), key: 0, nth: sub };
        let delivered = |subs: &[u64]| {
            let put = made().on(0, What::Put(part(0))).on(0, What::Put(part(1)));
            let parts = subs.iter().copied().map(part).collect();
            put.on(0, What::Delivered(ANA, parts)).then(What::Drained)
        };
        assert_eq!(check(&delivered(&[0, 1]).history), []);
        assert_eq!(check(&delivered(&[0]).history).len(), 1);
        assert_eq!(check(&delivered(&[0, 1, 2]).history).len(), 1);
    }
}
