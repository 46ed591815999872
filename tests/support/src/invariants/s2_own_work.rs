//! S2, a checkpoint says what was done: never past what its writer resumed after or has returned `Ok` for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::{Position, ShardId};

use super::Violation;
use crate::sim::history::{History, Life, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut reached: BTreeMap<(&ShardId, Life), Vec<(Duration, &Position)>> = BTreeMap::new();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Granted(life, position) | What::Done(life, _, position) => {
                reached.entry((shard, *life)).or_default().push((event.at, position));
            }
            What::Wrote(write) => {
                let (Some(life), Some(before), Some(after)) =
                    (write.by, &write.before, &write.after)
                else {
                    continue;
                };
                if before.position == after.position || after.position == Position::ShardEnd {
                    continue; // the end is S11's
                }
                let reached = reached.get(&(shard, life)).map(Vec::as_slice).unwrap_or_default();
                let earned = reached
                    .iter()
                    .any(|(at, position)| *at <= write.issued && **position >= after.position);
                if !earned {
                    let what = format!("{life} wrote {}, which it has not done", after.position);
                    violations.push(Violation::new("S2", Some(event), what));
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
    fn a_checkpoint_past_the_own_work_is_seen() {
        let begun = || made().put(&[1, 2]).taken(ANA).done(BOB, &[1, 2]);
        let from = (1, Position::TrimHorizon);
        let good = begun().done(ANA, &[1]).checkpointed(ANA, from.clone(), at(1));
        assert_eq!(check(&good.history), []);
        let bad = begun().done(ANA, &[1]).checkpointed(ANA, from, at(2));
        assert_eq!(check(&bad.history).len(), 1);
    }
}
