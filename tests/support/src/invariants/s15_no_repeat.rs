//! S15, a planned move repeats nothing: what a worker did before it freed or handed over a shard in order is not handed out again, unless an
//! operator sets the lease back or deletes it, or one of the same lineage when its own was cleaned up. (Where processors checkpoint by themselves it is theirs to do so when asked to stop.)

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::{Position, ShardId};

use super::Violation;
use crate::sim::history::{History, Life, Turn, What};
use crate::sim::schedule::Checkpoints;

pub(super) fn check(history: &History) -> Vec<Violation> {
    if history.terms.checkpoint == Checkpoints::Manual {
        return Vec::new();
    }
    let mut violations = Vec::new();
    let mut leased: BTreeSet<&ShardId> = BTreeSet::new();
    let mut wrote: BTreeMap<&ShardId, Life> = BTreeMap::new();
    // Consumers of a lease that was set back or deleted since: what they say later is of no meaning for the next one.
    let mut void: BTreeSet<(&ShardId, Life)> = BTreeSet::new();
    let mut reached: BTreeMap<(&ShardId, Life), &Position> = BTreeMap::new();
    let mut drained: BTreeMap<&ShardId, &Position> = BTreeMap::new();
    // Consumers that were at work before the drain, and may end a batch late.
    let mut since: BTreeSet<(&ShardId, Life)> = BTreeSet::new();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Granted(life, position) => {
                reached.insert((shard, *life), position);
                void.remove(&(shard, *life));
                // One that stood still is granted what others may have taken since.
                if wrote.get(shard).is_none_or(|by| by == life) {
                    since.insert((shard, *life));
                }
            }
            What::Done(life, _, last) if !void.contains(&(shard, *life)) => {
                reached.insert((shard, *life), last);
            }
            What::Process(life, Turn::DrainedIt | Turn::HandedItOver) => {
                let position = reached.remove(&(shard, *life));
                drained.extend(position.map(|position| (shard, position)));
                since.retain(|(at, _)| *at != shard);
            }
            What::Wrote(write) => {
                wrote.extend(write.by.map(|life| (shard, life)));
                match write.after {
                    Some(_) => leased.insert(shard),
                    // Cleaned up: who reads what was before it again may come to it again.
                    None => {
                        drained.remove(shard);
                        leased.remove(shard)
                    }
                };
                if write.by.is_none() {
                    let voided = reached.extract_if(.., |(at, _), _| *at == shard);
                    void.extend(voided.map(|(consumer, _)| consumer));
                    drained.remove(shard);
                    // What led to it, or followed, and was cleaned up may be read again with it.
                    drained.retain(|shard, _| leased.contains(shard));
                }
            }
            What::Delivered(life, batch) if since.contains(&(shard, *life)) => {
                let (Some(first), Some(drained)) = (batch.first(), drained.get(shard)) else {
                    continue;
                };
                if first.position <= **drained {
                    let what = format!("{life} gets {} again", first.position);
                    violations.push(Violation::new("S15", Some(event), what));
                }
            }
            _ => {}
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, BOB, at, lease, made};
    use super::*;

    #[test]
    fn a_drained_record_that_comes_again_is_seen() {
        let drained = || {
            let begun = made().put(&[1, 2]).on(0, What::Granted(ANA, Position::TrimHorizon));
            begun.done(ANA, &[1]).on(0, What::Process(ANA, Turn::DrainedIt))
        };
        let next = drained().on(0, What::Granted(BOB, at(1))).delivered(BOB, &[2]);
        assert_eq!(check(&next.history), []);
        let again = drained().on(0, What::Granted(BOB, Position::TrimHorizon));
        assert_eq!(check(&again.delivered(BOB, &[1, 2]).history).len(), 1);
    }

    #[test]
    fn a_word_about_a_lease_that_was_deleted_since_has_no_meaning() {
        let of = |owner| Some(lease(Some(owner), 1, Position::TrimHorizon));
        let deleted = made().put(&[1]).on(0, What::Granted(ANA, Position::TrimHorizon));
        let deleted = deleted.done(ANA, &[1]).wrote(None, of(ANA), None);
        let anew = deleted.wrote(BOB, None, of(BOB));
        let anew = anew.on(0, What::Granted(BOB, Position::TrimHorizon)).delivered(BOB, &[1]);
        let late = anew.on(0, What::Process(ANA, Turn::DrainedIt));
        assert_eq!(check(&late.delivered(BOB, &[1]).history), []);
    }
}
