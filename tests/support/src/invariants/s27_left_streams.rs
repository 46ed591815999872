//! S27, what is no longer to be read is no longer read: a worker whose stream was removed is granted nothing of it, and after a while for
//! what is under way nothing is handed out and no lease of it is renewed, until the stream is added again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Violation;
use crate::sim::history::{Event, History, Life, Turn, What};

/// A take and a grant that were decided before.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// The drain limit, a call that is dropped then, and tries to free the lease, each of which may hang.
const DRAINED: Duration = Duration::from_secs(36);

pub(super) fn check(history: &History) -> Vec<Violation> {
    // Since when each has left the stream; a host that stands still stops its clock.
    let mut left: BTreeMap<Life, Duration> = BTreeMap::new();
    let mut violations = Vec::new();
    for event in &history.events {
        match &event.what {
            What::Process(life, Turn::LeavesTheStream) => {
                left.insert(*life, event.at);
            }
            What::Process(life, Turn::ReadsTheStream | Turn::Crashes) => {
                left.remove(life);
            }
            What::Process(life, Turn::Stalls | Turn::Resumes) => {
                left.entry(*life).and_modify(|since| *since = event.at);
            }
            _ => {}
        }
        let overdue = |life: &Life, allowed: Duration| {
            left.get(life).is_some_and(|since| event.at > *since + allowed)
        };
        let what = match &event.what {
            What::Granted(life, _) if overdue(life, UNDER_WAY) => "is granted",
            What::Delivered(life, _) if overdue(life, DRAINED) => "gets records of",
            What::Wrote(write)
                if write.by.is_some_and(|life| overdue(&life, DRAINED)) && is_held(event) =>
            {
                "still holds"
            }
            _ => continue,
        };
        violations.push(Violation::new(
            "S27",
            Some(event),
            format!("a worker {what} a shard of a stream that it left"),
        ));
    }
    violations
}

/// Whether the writer owns the lease afterwards.
fn is_held(event: &Event) -> bool {
    let What::Wrote(write) = &event.what else { return false };
    let (Some(by), Some(after)) = (write.by, &write.after) else { return false };
    after.owner.as_ref().is_some_and(|owner| by.is(owner)) && !after.has_ended()
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, lease, made};
    use super::*;

    #[test]
    fn a_worker_that_goes_on_with_a_stream_that_it_left_is_seen() {
        let held = |counter| Some(lease(Some(ANA), counter, Position::TrimHorizon));
        let left = || {
            let begun = made().put(&[1]).on(0, What::Granted(ANA, Position::TrimHorizon));
            begun.then(What::Process(ANA, Turn::LeavesTheStream))
        };
        let at_once = left().delivered(ANA, &[1]).wrote(ANA, held(1), held(2));
        assert_eq!(check(&at_once.history), []);
        let granted = left().waits(5).on(0, What::Granted(ANA, Position::TrimHorizon));
        let delivered = left().waits(60).delivered(ANA, &[1]);
        let renewed = left().waits(60).wrote(ANA, held(1), held(2));
        for bad in [granted, delivered, renewed] {
            assert_eq!(check(&bad.history).len(), 1);
        }
        let again = left().waits(60).then(What::Process(ANA, Turn::ReadsTheStream));
        assert_eq!(check(&again.delivered(ANA, &[1]).history), []);
    }
}
