//! S13, a checkpoint is of its own shard: it names a record that was put to this shard of this stream, or a sentinel.

use std::collections::BTreeSet;

use kcl_core::{Position, ShardId};

use super::Violation;
use crate::sim::history::{History, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut put: BTreeSet<(&ShardId, &Position)> = BTreeSet::new();
    let mut violations = Vec::new();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Put(seen) => {
                put.insert((shard, &seen.position));
            }
            What::Wrote(write) => {
                let Some(after) = &write.after else { continue };
                let pending = after.pending.as_ref().map(|pending| &pending.position);
                for position in [Some(&after.position), pending].into_iter().flatten() {
                    let is_record = matches!(position, Position::Sequence { .. });
                    if is_record && !put.contains(&(shard, position)) {
                        let what = format!("{position} is no record of this shard");
                        violations.push(Violation::new("S13", Some(event), what));
                    }
                }
            }
            _ => {}
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, at, made};
    use super::*;

    #[test]
    fn a_checkpoint_of_another_shard_is_seen() {
        let from = || (1, Position::TrimHorizon);
        let begun = || made().taken(ANA).put(&[1]);
        assert_eq!(check(&begun().checkpointed(ANA, from(), at(1)).history), []);
        assert_eq!(check(&begun().checkpointed(ANA, from(), at(2)).history).len(), 1);
    }
}
