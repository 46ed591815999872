//! S1, no record is skipped: when a checkpoint is sent, every record up to it was returned `Ok` by a processor, unless it was
//! put before the application began.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::{Position, ShardId};

use super::Violation;
use crate::sim::history::{History, Life, Seen, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let may_skip = history.may_skip();
    let mut violations = Vec::new();
    // When each record was done, and what each process was given last.
    let mut records: BTreeMap<&ShardId, BTreeMap<&Position, Option<Duration>>> = BTreeMap::new();
    let mut hands: BTreeMap<(&ShardId, Life), &[Seen]> = BTreeMap::new();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        let records = records.entry(shard).or_default();
        match &event.what {
            What::Put(seen) if may_skip(event.at) => {
                records.insert(&seen.position, Some(event.at));
            }
            What::Put(seen) => {
                records.insert(&seen.position, None);
            }
            What::Delivered(life, batch) => {
                hands.insert((shard, *life), batch);
            }
            What::Done(life, first, last) => {
                let hand = hands.get(&(shard, *life)).copied().unwrap_or_default();
                let done = hand.iter().filter(|seen| (first..=last).contains(&&seen.position));
                for seen in done {
                    records.entry(&seen.position).or_default().get_or_insert(event.at);
                }
            }
            What::Wrote(write) => {
                let before = write.before.as_ref().map(|lease| &lease.position);
                let Some(after) = write.after.as_ref().map(|lease| &lease.position) else {
                    continue;
                };
                if before == Some(after) {
                    continue;
                }
                let skipped = records
                    .iter()
                    .take_while(|(position, _)| *position <= &after)
                    .find(|(_, done)| done.is_none_or(|done| done > write.issued));
                if let Some((position, _)) = skipped {
                    let what = format!("checkpoint {after} covers {position}, which was not done");
                    violations.push(Violation::new("S1", Some(event), what));
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
    fn a_checkpoint_over_an_undone_record_is_seen() {
        let begun = || made().put(&[1, 2, 3]).taken(ANA).done(ANA, &[1, 2]);
        let from = (1, Position::TrimHorizon);
        let good = begun().checkpointed(ANA, from.clone(), at(2));
        assert_eq!(check(&good.history), []);
        let bad = begun().delivered(ANA, &[3]).checkpointed(ANA, from.clone(), at(3));
        assert_eq!(check(&bad.history).len(), 1);
        let end = begun().delivered(BOB, &[3]).checkpointed(ANA, from, Position::ShardEnd);
        assert_eq!(check(&end.history).len(), 1);
    }
}
