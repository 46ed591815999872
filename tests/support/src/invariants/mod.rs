//! What must hold in every run: one file each, each a pure function of the history, each shown to fail on a made-up one.
//!
//! The numbers are the project's: S for safety in every state, L for liveness once faults have ended. The sentence that each
//! one holds up is in `docs/SEMANTICS.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use kcl_core::{Position, ShardId};

use crate::sim::history::{Event, History, What, leases};

mod l10_read_on;
mod l1_crash;
mod l2_no_leader;
mod l3_children;
mod l4_rest;
mod l4_share;
mod l5_heals;
mod l6_poison;
mod l7_hole;
mod l8_clean_stop;
mod l9_cleaned;
mod s10_latest;
mod s11_end_is_earned;
mod s12_clean_up;
mod s13_identity;
mod s14_aggregates;
mod s15_no_repeat;
mod s16_memory;
mod s17_quota;
mod s19_no_needless_loss;
mod s1_no_gap;
mod s20_no_early_take;
mod s21_one_consumer;
mod s22_true_stop;
mod s23_durable_progress;
mod s24_take_is_used;
mod s25_passed;
mod s26_handover;
mod s27_left_streams;
mod s2_own_work;
mod s3_monotone;
mod s4_fenced;
mod s5_self_fence;
mod s6_order;
mod s7_parents_first;
mod s8_coverage;
mod s9_no_lost_shard;
#[cfg(test)]
mod testing;
mod trials;
mod wire_sound;

/// Something that must not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant: `S1`.
    pub invariant: &'static str,
    /// When and where.
    pub place: Option<(Duration, Option<ShardId>)>,
    /// What happened.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(
        invariant: &'static str,
        event: Option<&Event>,
        what: impl Into<String>,
    ) -> Self {
        let place = event.map(|event| (event.at, event.shard.clone()));
        Self { invariant, place, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.invariant)?;
        if let Some((at, shard)) = &self.place {
            write!(f, " at {:.3} s", at.as_secs_f64())?;
            if let Some(shard) = shard {
                write!(f, " on shard {}", crate::sim::history::short(shard))?;
            }
        }
        write!(f, ": {}", self.what)
    }
}

type Check = fn(&History) -> Vec<Violation>;

const ALL: [Check; 38] = [
    s1_no_gap::check,
    s2_own_work::check,
    s3_monotone::check,
    s4_fenced::check,
    s5_self_fence::check,
    s6_order::check,
    s7_parents_first::check,
    s8_coverage::check,
    s9_no_lost_shard::check,
    s10_latest::check,
    s11_end_is_earned::check,
    s12_clean_up::check,
    s13_identity::check,
    s14_aggregates::check,
    s15_no_repeat::check,
    s16_memory::check,
    s17_quota::check,
    s19_no_needless_loss::check,
    s20_no_early_take::check,
    s21_one_consumer::check,
    s22_true_stop::check,
    s23_durable_progress::check,
    s24_take_is_used::check,
    s25_passed::check,
    s26_handover::check,
    s27_left_streams::check,
    l1_crash::check,
    l2_no_leader::check,
    l3_children::check,
    l4_rest::check,
    l4_share::check,
    l5_heals::check,
    l6_poison::check,
    l7_hole::check,
    l8_clean_stop::check,
    l9_cleaned::check,
    l10_read_on::check,
    wire_sound::check,
];

/// Judges a run: the first violation of each invariant.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    ALL.iter().filter_map(|check| check(history).into_iter().next()).collect()
}

/// The records that count, were put, and never returned `Ok`.
fn undone(history: &History) -> BTreeSet<(&ShardId, &Position)> {
    let may_skip = history.may_skip();
    let mut undone = BTreeSet::new();
    for Event { shard, what, at } in &history.events {
        let Some(shard) = shard else { continue };
        match what {
            What::Put(seen) if !may_skip(*at) => {
                undone.insert((shard, &seen.position));
            }
            What::Done(_, first, last) => settle(&mut undone, shard, first, last),
            _ => {}
        }
    }
    undone
}

/// Takes out what is done: the records of a shard from the first position to the last.
fn settle<'a>(
    undone: &mut BTreeSet<(&'a ShardId, &'a Position)>,
    shard: &'a ShardId,
    first: &'a Position,
    last: &'a Position,
) {
    let done: Vec<_> = undone.range((shard, first)..=(shard, last)).copied().collect();
    for record in done {
        undone.remove(&record);
    }
}

/// How long it takes, by Kinesis's five calls a second, to read what waits in one shard after these events.
fn reading<'a>(events: impl Iterator<Item = &'a Event>, page: u32) -> Duration {
    time_to_read(waiting(events), page)
}

/// The same if everything is read from its durable checkpoint on, as when every worker starts anew.
fn rereading<'a>(events: impl Iterator<Item = &'a Event> + Clone, page: u32) -> Duration {
    let leases = leases(events.clone());
    let put = events.filter_map(|event| match (&event.shard, &event.what) {
        (Some(shard), What::Put(seen)) => Some((shard, &seen.position)),
        _ => None,
    });
    let not_durable = put.filter(|(shard, position)| {
        leases.get(shard).is_none_or(|lease| lease.position < **position)
    });
    time_to_read(not_durable, page)
}

/// The records of these events that were put and not done in them.
fn waiting<'a>(events: impl Iterator<Item = &'a Event>) -> BTreeSet<(&'a ShardId, &'a Position)> {
    let mut waiting = BTreeSet::new();
    for event in events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Put(put) => {
                waiting.insert((shard, &put.position));
            }
            What::Done(_, first, last) => settle(&mut waiting, shard, first, last),
            _ => {}
        }
    }
    waiting
}

fn time_to_read<'a>(
    waiting: impl IntoIterator<Item = (&'a ShardId, &'a Position)>,
    page: u32,
) -> Duration {
    let mut backlogs: BTreeMap<_, u32> = BTreeMap::new();
    for (shard, _) in waiting {
        *backlogs.entry(shard).or_default() += 1;
    }
    let most = backlogs.into_values().max().unwrap_or_default();
    Duration::from_millis(200) * most.div_ceil(page)
}

/// A record of these events that is not done at this time though it was put `grace` before: its shard, and when it was put.
fn left_after(
    events: &[Event],
    at: Duration,
    grace: Duration,
    of: impl Fn(&ShardId) -> bool,
) -> Option<(&ShardId, Duration)> {
    let mut left = BTreeMap::new();
    for event in events.iter().take_while(|event| event.at <= at) {
        let Some(shard) = event.shard.as_ref().filter(|shard| of(shard)) else { continue };
        match &event.what {
            What::Put(seen) if event.at + grace <= at => {
                left.insert((shard, &seen.position), event.at);
            }
            What::Done(_, first, last) => {
                left.retain(|(of, position), _| {
                    *of != shard || *position < first || *position > last
                });
            }
            _ => {}
        }
    }
    left.into_iter().next().map(|((shard, _), put)| (shard, put))
}
