//! L1, a crash is noticed: every shard of a worker that dies is granted to another within the lease duration and one scan, or
//! to its successor of the same id at once.

use std::time::Duration;

use super::{Violation, trials};
use crate::sim::history::{History, Turn};
use crate::sim::schedule::Trial;

/// A scan, a write, and the way there and back.
const CALLS: Duration = Duration::from_millis(500);

/// From a start under the same id to its grants: joining, and a take.
const RESTART: Duration = Duration::from_millis(1_000);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let timing = &history.terms.timing;
    trials::regranted(history, Turn::Crashes, "L1", |tried| match tried.trial {
        Trial::Crash => Some(timing.lease_duration + timing.scan_interval + CALLS),
        Trial::Restart => {
            let first = |turn| {
                let (at, _) = *trials::turns(tried.events, turn).first()?;
                Some(tried.events[at].at)
            };
            Some(first(Turn::Starts)? - first(Turn::Crashes)? + RESTART)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, made};
    use super::*;
    use crate::sim::history::What;

    #[test]
    fn a_dead_workers_shard_that_stays_alone_is_seen() {
        let crash = |waits| made().passes_on(Trial::Crash, Turn::Crashes, waits);
        assert_eq!(check(&crash(8).history), []);
        assert_eq!(check(&crash(14).history).len(), 1);
    }

    #[test]
    fn a_restart_that_waits_is_seen() {
        let again = crate::sim::history::Life { life: 2, ..ANA };
        let restart = |waits: u64| {
            let died = made().taken(ANA).then(What::Tries(Trial::Restart));
            let died = died.then(What::Process(ANA, Turn::Crashes));
            let started = died.then(What::Process(again, Turn::Starts)).waits(waits);
            started.on(0, What::Granted(again, Position::TrimHorizon)).waits(9).then(What::Tried)
        };
        assert_eq!(check(&restart(0).history), []);
        assert_eq!(check(&restart(2).history).len(), 1);
    }
}
