//! S21, one consumer for each lease that is kept: never two of one process at once, and none is renewed for ever that nobody
//! reads (B11).

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::ShardId;

use super::Violation;
use crate::sim::history::{History, Life, Turn, What, Write};

/// What a process is doing with a lease.
#[derive(Debug, Clone, Copy)]
enum Use {
    Reads,
    /// Nobody reads it. When the first write came since then, and how many there were.
    Idle(Option<Duration>, u32),
}

/// A lease that is taken back may need three.
const WRITES: u32 = 6;

pub(super) fn check(history: &History) -> Vec<Violation> {
    // A write that was formed before is sent again for a lease duration; then it is free, or lost.
    let bound = history.terms.timing.lease_duration * 3 / 2;
    let mut violations = Vec::new();
    let mut uses: BTreeMap<(&ShardId, Life), Use> = BTreeMap::new();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Overlaps(life) => {
                let what = format!("{life} has two consumers at once");
                violations.push(Violation::new("S21", Some(event), what));
            }
            What::Granted(life, _) => {
                uses.insert((shard, *life), Use::Reads);
            }
            What::Process(
                life,
                Turn::EndedIt
                | Turn::DrainedIt
                | Turn::HandedItOver
                | Turn::LostIt
                | Turn::HaltedIt
                | Turn::AbandonedIt,
            ) => {
                uses.insert((shard, *life), Use::Idle(None, 0));
            }
            What::Wrote(write) => {
                let Some(life) = keeps(write) else { continue };
                let used = uses.entry((shard, life)).or_insert(Use::Idle(None, 0));
                let Use::Idle(since, writes) = used else { continue };
                let since = *since.get_or_insert(event.at);
                *writes += 1;
                if since + bound < write.issued && *writes >= WRITES {
                    let what = format!(
                        "{life} renews it though nobody reads it since {:.3} s",
                        since.as_secs_f64()
                    );
                    violations.push(Violation::new("S21", Some(event), what));
                }
            }
            _ => {}
        }
    }
    violations
}

/// Who goes on owning the lease by its own write.
fn keeps(write: &Write) -> Option<Life> {
    let life = write.by?;
    let owns = |lease: &Option<kcl_lease::Lease>| {
        let owner = lease.as_ref().and_then(|lease| lease.owner.as_ref());
        owner.is_some_and(|owner| life.is(owner))
    };
    (owns(&write.before) && owns(&write.after)).then_some(life)
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn a_lease_that_is_kept_and_not_read_is_seen() {
        let horizon = || Position::TrimHorizon;
        let granted = || made().taken(ANA).on(0, What::Granted(ANA, horizon()));
        let renewed = |made: super::super::testing::Made, waits| {
            (1..=6).fold(made, |made, counter| {
                made.waits(waits).checkpointed(ANA, (counter, horizon()), horizon())
            })
        };
        assert_eq!(check(&renewed(granted(), 10).history), []);
        let lost = || granted().on(0, What::Process(ANA, Turn::LostIt)).waits(40);
        assert_eq!(check(&renewed(lost(), 2).history), []);
        assert_eq!(check(&renewed(lost(), 10).history).len(), 1);
    }

    #[test]
    fn two_consumers_at_once_are_seen() {
        assert_eq!(check(&made().on(0, What::Overlaps(ANA)).history).len(), 1);
    }
}
