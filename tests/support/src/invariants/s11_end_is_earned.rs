//! S11, the end is earned: `SHARD_END` is written only to a shard that was closed before, and after the leases of its
//! children exist and `shard_ended` returned `Ok` (a merged shard may be left to a parent that has not ended, or whose lease an operator deleted). That all its records were done is S1.

use std::collections::BTreeSet;

use kcl_core::ShardId;

use super::Violation;
use crate::sim::history::{History, Life, What, short};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let shards = history.shards();
    let mut violations = Vec::new();
    let mut closed: BTreeSet<&ShardId> = BTreeSet::new();
    let mut leased: BTreeSet<&ShardId> = BTreeSet::new();
    let mut ended: BTreeSet<&ShardId> = BTreeSet::new();
    let mut seen: BTreeSet<(&ShardId, Life)> = BTreeSet::new();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Closed => {
                closed.insert(shard);
            }
            What::Granted(life, _) => {
                seen.remove(&(shard, *life));
            }
            What::SawTheEnd(life) => {
                seen.insert((shard, *life));
            }
            What::Wrote(write) => {
                leased.insert(shard);
                if write.by.is_none() {
                    ended.remove(shard);
                }
                let ends = |lease: &Option<kcl_lease::Lease>| {
                    lease.as_ref().is_some_and(kcl_lease::Lease::has_ended)
                };
                if !ends(&write.after) || ends(&write.before) {
                    continue;
                }
                ended.insert(shard);
                let mut wrong = |what| violations.push(Violation::new("S11", Some(event), what));
                if !closed.contains(shard) {
                    wrong("an open shard is ended".to_owned());
                }
                if write.by.is_some_and(|by| !seen.contains(&(shard, by))) {
                    wrong("ended before the processor has seen the end".to_owned());
                }
                for (child, (parents, _)) in &shards {
                    let waits = parents.iter().any(|parent| !ended.contains(parent));
                    if parents.contains(shard) && !leased.contains(child) && !waits {
                        wrong(format!("ended before its child {} had a lease", short(child)));
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
    use kcl_core::Position;

    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn an_end_that_is_not_earned_is_seen() {
        let from = || (1, Position::TrimHorizon);
        let begun = || made().opened(0, &[]).taken(ANA).on(0, What::SawTheEnd(ANA));
        let open = begun().checkpointed(ANA, from(), Position::ShardEnd);
        assert_eq!(check(&open.history).len(), 1);
        let childless = begun().opened(1, &[0]).on(0, What::Closed);
        let childless = childless.checkpointed(ANA, from(), Position::ShardEnd);
        assert_eq!(check(&childless.history).len(), 1);
        let merged = begun().opened(2, &[]).opened(1, &[0, 2]).on(0, What::Closed);
        let merged = merged.checkpointed(ANA, from(), Position::ShardEnd);
        assert_eq!(check(&merged.history), []);
        let unseen = made().opened(0, &[]).on(0, What::Closed).taken(ANA);
        let unseen = unseen.checkpointed(ANA, from(), Position::ShardEnd);
        assert_eq!(check(&unseen.history).len(), 1);
    }
}
