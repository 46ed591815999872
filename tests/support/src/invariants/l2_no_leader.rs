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
    trials::regranted(history, Turn::Crashes, "L2", |tried| {
        (tried.trial == Trial::CrashAllButOne).then_some(bound)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::*;

    #[test]
    fn a_shard_that_nobody_inherits_is_seen() {
        let crash = |waits| made().passes_on(Trial::CrashAllButOne, Turn::Crashes, waits);
        assert_eq!(check(&crash(8).history), []);
        assert_eq!(check(&crash(14).history).len(), 1);
    }
}
