//! L2, nobody is special: where all workers but one die at once, the last one has every shard within the time of a single
//! crash. (There is no leader whose death would cost more.)

use std::time::Duration;

use super::{Violation, trials};
use crate::sim::history::{History, Turn};
use crate::sim::schedule::Trial;

/// A scan, writes of all leases, and the way there and back.
const CALLS: Duration = Duration::from_millis(750);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let timing = &history.terms.timing;
    let bound = timing.lease_duration + timing.scan_interval + CALLS;
    let tries = trials::of(history);
    let tries = tries.iter().filter(|tried| tried.trial == Trial::CrashAllButOne);
    let crashes = tries.flat_map(|tried| {
        let crashes = trials::turns(tried.events, Turn::Crashes);
        crashes.into_iter().map(move |crash| (tried, crash))
    });
    crashes
        .flat_map(|(tried, crash)| trials::regranted(history, tried, crash, bound, "L2"))
        .collect()
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, BOB, made};
    use super::*;
    use crate::sim::history::What;

    #[test]
    fn a_shard_that_nobody_inherits_is_seen() {
        let crash = |waits: u64| {
            let died = made().taken(ANA).then(What::Tries(Trial::CrashAllButOne));
            let died = died.then(What::Process(ANA, Turn::Crashes)).waits(waits);
            died.on(0, What::Granted(BOB, Position::TrimHorizon)).waits(20).then(What::Tried)
        };
        assert_eq!(check(&crash(8).history), []);
        assert_eq!(check(&crash(14).history).len(), 1);
    }
}
