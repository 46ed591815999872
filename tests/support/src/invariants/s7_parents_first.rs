//! S7, parents first: no record of a child is handed out before the end of every parent was durable.

use std::collections::BTreeSet;

use kcl_core::ShardId;

use super::Violation;
use crate::sim::history::{History, What, short};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let shards = history.shards();
    let mut ended: BTreeSet<&ShardId> = BTreeSet::new();
    let mut violations = Vec::new();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Wrote(write) if write.after.as_ref().is_some_and(|after| after.has_ended()) => {
                ended.insert(shard);
            }
            What::Delivered(life, _) => {
                let parents = shards.get(shard).map(|(parents, _)| *parents).unwrap_or_default();
                if let Some(parent) = parents.iter().find(|parent| !ended.contains(parent)) {
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
    use kcl_core::Position;

    use super::super::testing::{ANA, made, seen};
    use super::*;

    #[test]
    fn a_child_that_overtakes_its_parent_is_seen() {
        let reads = || What::Delivered(ANA, vec![seen(1)]);
        let split = || made().opened(0, &[]).opened(1, &[0]).taken(ANA);
        let ended = split().checkpointed(ANA, (1, Position::TrimHorizon), Position::ShardEnd);
        assert_eq!(check(&ended.on(1, reads()).history), []);
        assert_eq!(check(&split().on(1, reads()).history).len(), 1);
    }
}
