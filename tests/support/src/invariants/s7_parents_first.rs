//! S7, parents first: no record of a child is handed out before the end of every parent was durable. Where an operator deleted
//! the parent's lease, its end may have been lost with it; then all its records must have been done. A parent that was closed
//! before the application began is nobody's to read.

use std::collections::BTreeSet;

use kcl_core::{Position, ShardId};
use kcl_lease::Lease;

use super::{Violation, settle};
use crate::sim::history::{History, What, short};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let shards = history.shards();
    let may_skip = history.may_skip();
    let mut ended: BTreeSet<&ShardId> = BTreeSet::new();
    let mut deleted: BTreeSet<&ShardId> = BTreeSet::new();
    let mut early: BTreeSet<&ShardId> = BTreeSet::new();
    let mut undone: BTreeSet<(&ShardId, &Position)> = BTreeSet::new();
    let mut violations = Vec::new();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Wrote(write) => {
                if write.after.as_ref().is_some_and(Lease::has_ended) {
                    ended.insert(shard);
                } else if write.by.is_none() {
                    deleted.insert(shard);
                }
            }
            What::Closed if may_skip(event.at) => {
                early.insert(shard);
            }
            What::Put(seen) if !may_skip(event.at) => {
                undone.insert((shard, &seen.position));
            }
            What::Done(_, first, last) => settle(&mut undone, shard, first, last),
            What::Delivered(life, _) => {
                let parents = shards.get(shard).map(|(parents, _)| *parents).unwrap_or_default();
                let is_read = |parent: &ShardId| {
                    ended.contains(parent)
                        || early.contains(parent)
                        || deleted.contains(parent)
                            && !undone.iter().any(|(shard, _)| *shard == parent)
                };
                if let Some(parent) = parents.iter().find(|parent| !is_read(parent)) {
                    let what = format!("{life} reads it before the end of {}", short(parent));
                    violations.push(Violation::new("S7", Some(event), what));
                }
            }
            _ => {}
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, lease, made, seen};
    use super::*;

    #[test]
    fn a_child_that_overtakes_its_parent_is_seen() {
        let reads = || What::Delivered(ANA, vec![seen(1)]);
        let split = || made().opened(0, &[]).opened(1, &[0]).taken(ANA);
        let ended = split().checkpointed(ANA, (1, Position::TrimHorizon), Position::ShardEnd);
        assert_eq!(check(&ended.on(1, reads()).history), []);
        assert_eq!(check(&split().on(1, reads()).history).len(), 1);
        let held = || Some(lease(Some(ANA), 1, Position::TrimHorizon));
        let deleted = || split().put(&[1]).wrote(None, held(), None);
        assert_eq!(check(&deleted().on(1, reads()).history).len(), 1);
        assert_eq!(check(&deleted().done(ANA, &[1]).on(1, reads()).history), []);
    }
}
