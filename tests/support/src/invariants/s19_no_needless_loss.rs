//! S19, a lease is not lost without need (C1): only to another's write, to a deletion, or when no write has succeeded until its
//! validity ended; and a single call that goes wrong does not make it end. A lease that could not be freed counts as lost, too.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kcl_core::ShardId;

use super::Violation;
use crate::sim::history::{Event, History, Life, Turn, What};

/// What a process may count on.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// When its last write that was surely answered was sent.
    since: Duration,
    until: Duration,
    /// Another process or an operator wrote the lease, it was freed, or its validity has ended.
    is_gone: bool,
    /// By a take that came after other tries, which may count from the first of them.
    is_unsure: bool,
}

/// What the consumer of a process reads by, and what the process has taken since then: more than once while the consumer ends,
/// where another process has its id.
#[derive(Debug, Default)]
struct Holds {
    read: Option<Held>,
    next: VecDeque<Held>,
}

pub(super) fn check(history: &History) -> Vec<Violation> {
    let timing = &history.terms.timing;
    let valid_for = timing.lease_duration - timing.fence_margin;
    let mut violations = Vec::new();
    let mut all: BTreeMap<(&ShardId, Life), Holds> = BTreeMap::new();
    let mut troubles = Troubles::default();
    let mut deleted: BTreeMap<&ShardId, Duration> = BTreeMap::new();
    for event in &history.events {
        troubles.follow(event);
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Granted(life, _) => {
                let holds = all.entry((shard, *life)).or_default();
                holds.read = holds.next.pop_front();
            }
            What::Wrote(write) => {
                if write.after.is_none() {
                    deleted.insert(shard, event.at);
                }
                let owner = write.by.filter(|life| {
                    let owner = write.after.as_ref().and_then(|lease| lease.owner.as_ref());
                    owner.is_some_and(|owner| life.is(owner))
                });
                for ((_, life), holds) in all.range_mut((shard, FIRST)..=(shard, LAST)) {
                    for held in holds.read.iter_mut().chain(&mut holds.next) {
                        held.is_gone |= owner != Some(*life) || held.until <= event.at;
                    }
                }
                let Some(life) = owner else { continue };
                let holds = all.entry((shard, life)).or_default();
                let takes = holds.read.is_none_or(|held| held.is_gone);
                let renewed = holds.next.pop_back_if(|held| takes && !held.is_gone);
                let held = if takes { renewed } else { holds.read };
                let is_late = held.is_some_and(|held| held.until <= event.at + ANSWER);
                if !takes && (is_late || troubles.at(life, write.issued)) {
                    continue; // it may never learn of this one
                }
                let before = held.map_or(Duration::ZERO, |held| held.since);
                // One that was sent before it may count from then.
                let from = troubles.first_since(life, before).filter(|_| !takes);
                let until = from.unwrap_or(write.issued).min(write.issued) + valid_for;
                let tries = write.issued.saturating_sub(2 * timing.lease_duration);
                let is_unsure = takes && !troubles.is_calm_since(life, tries);
                let held = Held { since: write.issued, until, is_gone: false, is_unsure };
                if takes {
                    holds.next.push_back(held);
                } else {
                    holds.read = Some(held);
                }
            }
            What::Process(life, Turn::LostIt) => {
                let Some(held) = all.get_mut(&(shard, *life)).and_then(|holds| holds.read.take())
                else {
                    continue;
                };
                // An old scan may show the lease as it was before it was deleted, with a higher number.
                let is_new = deleted.get(shard).is_some_and(|at| *at + OLDEST_SCAN > event.at);
                let what = if held.is_gone || held.is_unsure || is_new {
                    continue;
                } else if troubles.is_refused_at(*life, event.at) {
                    continue; // it could not free the lease, and says so
                } else if event.at < held.until {
                    "gives up what nobody took from it"
                } else if troubles.is_one_since(*life, held.since) {
                    "loses it by one call that went wrong"
                } else {
                    continue;
                };
                violations.push(Violation::new("S19", Some(event), format!("{life} {what}")));
            }
            _ => {}
        }
    }
    violations
}

/// What went wrong with a process and its calls to the lease table.
#[derive(Debug, Default)]
struct Troubles {
    faults: BTreeMap<Life, Vec<Duration>>,
    /// When the table called a write invalid.
    refused: BTreeMap<Life, Duration>,
    stalled: BTreeMap<Life, Duration>,
}

impl Troubles {
    fn follow(&mut self, event: &Event) {
        match &event.what {
            What::Fault(life, word) if word.starts_with("store") => {
                if *word == INVALID {
                    self.refused.insert(*life, event.at);
                }
                self.faults.entry(*life).or_default().push(event.at);
            }
            What::Process(life, Turn::Stalls | Turn::Resumes) => {
                self.stalled.insert(*life, event.at);
            }
            _ => {}
        }
    }

    /// Whether a write that was sent at this time may have been answered to nobody.
    fn at(&self, life: Life, at: Duration) -> bool {
        self.was_stalled_since(life, at) || self.since(life, at).any(|fault| fault == at)
    }

    fn was_stalled_since(&self, life: Life, since: Duration) -> bool {
        self.stalled.get(&life).is_some_and(|at| *at >= since)
    }

    /// Whether a write was just called invalid.
    fn is_refused_at(&self, life: Life, at: Duration) -> bool {
        self.refused.get(&life).is_some_and(|refused| *refused + ANSWER >= at)
    }

    fn first_since(&self, life: Life, since: Duration) -> Option<Duration> {
        self.since(life, since).min()
    }

    fn is_calm_since(&self, life: Life, since: Duration) -> bool {
        !self.was_stalled_since(life, since) && self.since(life, since).next().is_none()
    }

    /// Nothing but one call, at the most.
    fn is_one_since(&self, life: Life, since: Duration) -> bool {
        !self.was_stalled_since(life, since) && self.since(life, since).count() <= 1
    }

    fn since(&self, life: Life, since: Duration) -> impl Iterator<Item = Duration> {
        let faults = self.faults.get(&life).map(Vec::as_slice).unwrap_or_default();
        faults.iter().rev().copied().take_while(move |at| *at >= since)
    }
}

/// What a write that the table calls invalid is in a history.
const INVALID: &str = "store calls it invalid";

/// Until the answer to a write has come back.
const ANSWER: Duration = Duration::from_millis(50);

/// What a scan shows is no older.
const OLDEST_SCAN: Duration = Duration::from_secs(2);

const FIRST: Life = Life { worker: 0, life: 0 };
const LAST: Life = Life { worker: u32::MAX, life: u32::MAX };

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, BOB, lease, made};
    use super::*;

    /// Taken at 1 s for 9 s.
    fn granted() -> super::super::testing::Made {
        made().taken(ANA).on(0, What::Granted(ANA, Position::TrimHorizon))
    }

    #[test]
    fn a_loss_without_a_reason_is_seen() {
        let lost = || What::Process(ANA, Turn::LostIt);
        assert_eq!(check(&granted().on(0, lost()).history).len(), 1);
        let held = |owner, counter| Some(lease(Some(owner), counter, Position::TrimHorizon));
        let taken = granted().wrote(BOB, held(ANA, 1), held(BOB, 2)).on(0, lost());
        assert_eq!(check(&taken.history), []);
        let deleted = granted().wrote(None, held(ANA, 1), None).on(0, lost());
        assert_eq!(check(&deleted.history), []);
    }

    #[test]
    fn a_lease_that_could_not_be_freed_is_no_needless_loss() {
        let lost = |word| {
            let mut made = granted().then(What::Fault(ANA, word));
            made = made.on(0, What::Process(ANA, Turn::LostIt));
            let refused = made.history.events.len() - 2;
            made.history.events[refused].at = made.history.events[refused + 1].at;
            check(&made.history).len()
        };
        assert_eq!((lost(INVALID), lost("store throttles")), (0, 1));
    }

    #[test]
    fn a_loss_by_a_single_fault_is_seen() {
        let lost = |faults: usize| {
            let fault = || What::Fault(ANA, "store request lost");
            let granted = (0..faults).fold(granted(), |made, _| made.then(fault()));
            granted.waits(8).on(0, What::Process(ANA, Turn::LostIt))
        };
        assert_eq!(check(&lost(1).history).len(), 1);
        assert_eq!(check(&lost(4).history), []);
    }
}
