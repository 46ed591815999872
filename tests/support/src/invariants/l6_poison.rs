//! L6, no livelock: a processor that always fails holds up its own shard and nothing else. Records of other shards are done soon,
//! no lease moves, and once it is mended its shard goes on.

use std::time::Duration;

use kcl_core::ShardId;

use super::{Violation, left_after, reading, trials};
use crate::sim::history::{Event, History, What};
use crate::sim::schedule::Trial;

/// From put to done on the other shards: the longest poll interval, and a call.
const OTHERS: Duration = Duration::from_secs(3);

/// From mended to done: the processor's longest backoff of 2 s; the time to read what has gathered comes to it.
const MENDED: Duration = Duration::from_secs(5);

pub(super) fn check(history: &History) -> Vec<Violation> {
    trials::of(history)
        .iter()
        .filter(|tried| matches!(tried.trial, Trial::Poison(_)))
        .flat_map(|tried| judge(tried.events, history.terms.page))
        .collect()
}

fn judge(events: &[Event], page: u32) -> Vec<Violation> {
    let when = |wanted: fn(&What) -> bool| events.iter().find(|event| wanted(&event.what));
    let poisoned = when(|what| matches!(what, What::Poisoned));
    let cured = when(|what| matches!(what, What::Cured));
    let (Some(poisoned), Some(cured)) = (poisoned, cured) else {
        return Vec::new();
    };
    let before = events.iter().take_while(|event| event.at <= cured.at);
    let mended = MENDED + reading(before, page);
    let mut violations = Vec::new();
    let other = |shard: &ShardId| Some(shard) != poisoned.shard.as_ref();
    for (what, (shard, put)) in [
        ("another shard waits with it", left_after(events, cured.at, OTHERS, other)),
        (
            "a mended processor does not go on",
            left_after(events, cured.at + mended, mended, |_| true),
        ),
    ]
    .into_iter()
    .flat_map(|(what, left)| left.into_iter().map(move |left| (what, left)))
    {
        let what = format!("{what}: shard {shard}, put at {:.3} s", put.as_secs_f64());
        violations.push(Violation::new("L6", Some(cured), what));
    }
    let moves = |event: &&Event| match &event.what {
        What::Wrote(write) => match (&write.before, &write.after) {
            (Some(before), Some(after)) => before.owner != after.owner && !after.has_ended(),
            _ => false,
        },
        _ => false,
    };
    let moved = events.iter().filter(|event| event.at < cured.at).find(moves);
    violations.extend(moved.map(|event| Violation::new("L6", Some(event), "a lease moves")));
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, BOB, at, lease, made, seen};
    use super::*;

    #[test]
    fn a_failing_processor_that_harms_others_is_seen() {
        let begun = || {
            let begun = made().taken(ANA).then(What::Tries(Trial::Poison(Duration::ZERO)));
            begun.on(1, What::Poisoned).put(&[1])
        };
        let over = |made: super::super::testing::Made| {
            made.waits(9).on(1, What::Cured).waits(9).then(What::Tried)
        };
        assert_eq!(check(&over(begun().done(ANA, &[1])).history), []);
        assert_ne!(check(&over(begun()).history), []);
        let held = |owner| Some(lease(Some(owner), 1, at(1)));
        let moved = begun().done(ANA, &[1]).wrote(BOB, held(ANA), held(BOB));
        assert_eq!(check(&over(moved).history).len(), 1);
        let stuck = begun().done(ANA, &[1]).on(1, What::Put(seen(1)));
        assert_eq!(check(&over(stuck).history).len(), 1);
    }
}
