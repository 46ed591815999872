//! S23, progress becomes durable: where the library checkpoints, a renewal carries what was done; and a processor that was told
//! that its checkpoint is durable can rely on it.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::{Position, ShardId};

use super::Violation;
use crate::sim::history::{History, Life, What};
use crate::sim::schedule::Checkpoints;

pub(super) fn check(history: &History) -> Vec<Violation> {
    // A write that goes wrong is sent again as it is, while the lease is valid; a later one is a take.
    let timing = &history.terms.timing;
    let sent_again = timing.lease_duration;
    let valid_for = timing.lease_duration - timing.fence_margin;
    let mut sent: BTreeMap<(&ShardId, Life), Duration> = BTreeMap::new();
    // Renewals in a row that leave something out: takes look like them, and are followed by a grant.
    let mut poor: BTreeMap<(&ShardId, Life), u32> = BTreeMap::new();
    let is_manual = history.terms.checkpoint == Checkpoints::Manual;
    let mut violations = Vec::new();
    let mut done: BTreeMap<(&ShardId, Life), Vec<(Duration, &Position)>> = BTreeMap::new();
    // The highest position that a write left since the grant: two processes under one id cannot tell theirs apart.
    let mut durable: BTreeMap<(&ShardId, Life), &Position> = BTreeMap::new();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Granted(life, position) => {
                done.insert((shard, *life), Vec::new());
                poor.remove(&(shard, *life));
                durable.insert((shard, *life), position);
            }
            What::Done(life, _, last) if !is_manual => {
                done.entry((shard, *life)).or_default().push((event.at, last));
            }
            What::Wrote(write) => {
                let (Some(life), Some(before), Some(after)) =
                    (write.by, &write.before, &write.after)
                else {
                    continue;
                };
                for (_, highest) in durable.range_mut((shard, FIRST)..=(shard, LAST)) {
                    *highest = (*highest).max(&after.position);
                }
                let last = sent.insert((shard, life), write.issued);
                let takes = before.owner != after.owner;
                if takes || last.is_none_or(|last| last + valid_for <= write.issued) {
                    done.remove(&(shard, life));
                }
                if after.owner.is_none() {
                    continue;
                }
                let Some(done) = done.get_mut(&(shard, life)) else { continue };
                let carried = done.partition_point(|(at, _)| *at + sent_again < write.issued);
                if let Some((at, position)) = done[..carried].last()
                    && **position > after.position
                {
                    let poor = poor.entry((shard, life)).or_default();
                    *poor += 1;
                    if *poor < TRIES {
                        continue;
                    }
                    let what = format!(
                        "{life} renews it without what it has done since {:.3} s",
                        at.as_secs_f64()
                    );
                    violations.push(Violation::new("S23", Some(event), what));
                }
            }
            What::Process(life, _) => {
                done.remove(&(shard, *life));
            }
            What::Checkpointed(life, position)
                if durable.get(&(shard, *life)).is_none_or(|durable| *durable < position) =>
            {
                let what = format!("{life} is told that {position} is durable, and it is not");
                violations.push(Violation::new("S23", Some(event), what));
            }
            _ => {}
        }
    }
    violations
}

/// A take writes so often at the most.
const TRIES: u32 = 4;

const FIRST: Life = Life { worker: 0, life: 0 };
const LAST: Life = Life { worker: u32::MAX, life: u32::MAX };

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, at, made};
    use super::*;

    #[test]
    fn a_renewal_that_leaves_out_what_was_done_is_seen() {
        let horizon = || Position::TrimHorizon;
        let renewed = |position: fn() -> Position| {
            let begun = made().put(&[1]).taken(ANA).on(0, What::Granted(ANA, horizon()));
            let renews = |made: super::super::testing::Made, counter| {
                made.waits(4).checkpointed(ANA, (counter, horizon()), horizon())
            };
            let done = renews(renews(begun.done(ANA, &[1]), 1), 2);
            (3..7).fold(done, |made, counter| {
                made.waits(4).checkpointed(ANA, (counter, horizon()), position())
            })
        };
        assert_eq!(check(&renewed(|| at(1)).history), []);
        assert_eq!(check(&renewed(|| Position::TrimHorizon).history).len(), 1);
    }

    #[test]
    fn a_checkpoint_that_is_answered_before_it_is_written_is_seen() {
        let begun = || made().put(&[1]).taken(ANA).on(0, What::Granted(ANA, Position::TrimHorizon));
        let told = || What::Checkpointed(ANA, at(1));
        let from = (1, Position::TrimHorizon);
        assert_eq!(check(&begun().checkpointed(ANA, from, at(1)).on(0, told()).history), []);
        assert_eq!(check(&begun().on(0, told()).history).len(), 1);
    }
}
