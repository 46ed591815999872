//! L4, and then nothing moves: soon after everything is done, no lease changes its owner any more.

use std::time::Duration;

use super::Violation;
use crate::sim::history::{History, What};

/// From everything done to rest: a worker that starts may wait for 30 s for a call that was sent before healing, and then
/// takes its share.
const UNREST: Duration = Duration::from_secs(45);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let when = |wanted: fn(&What) -> bool| {
        history.events.iter().find(|event| wanted(&event.what)).map(|event| event.at)
    };
    let drained = when(|what| matches!(what, What::Drained));
    let stopping = when(|what| matches!(what, What::Stopping));
    let (Some(drained), Some(stopping)) = (drained, stopping) else {
        return Vec::new();
    };
    let rest = drained + UNREST..stopping;
    let moves = |what: &What| match what {
        What::Wrote(write) => {
            let owner = |lease: &Option<kcl_lease::Lease>| {
                lease.as_ref().and_then(|lease| lease.owner.clone())
            };
            owner(&write.before) != owner(&write.after)
        }
        _ => false,
    };
    let moved =
        history.events.iter().filter(|event| rest.contains(&event.at) && moves(&event.what));
    moved.map(|event| Violation::new("L4", Some(event), "a lease still moves")).collect()
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, BOB, lease, made};
    use super::*;

    #[test]
    fn a_lease_that_moves_in_the_end_is_seen() {
        let lease = |owner| Some(lease(Some(owner), 1, Position::TrimHorizon));
        let wait = |seconds| {
            (0..seconds)
                .fold(made().then(What::Drained), |made, _| made.then(What::Weather("fine".into())))
        };
        for (seconds, bad) in [(30, 0), (60, 1)] {
            let moved = wait(seconds).wrote(BOB, lease(ANA), lease(BOB)).then(What::Stopping);
            assert_eq!(check(&moved.history).len(), bad);
            let renewed = wait(seconds).wrote(ANA, lease(ANA), lease(ANA)).then(What::Stopping);
            assert_eq!(check(&renewed.history), []);
        }
    }
}
