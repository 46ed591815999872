//! S17, quotas are kept: no process calls more often within a second than Kinesis allows it, nor in a storm, whatever fails.

use std::collections::BTreeMap;

use super::Violation;
use crate::sim::history::{FORGOTTEN, History, Life, What};

/// GetRecords and GetShardIterator: five a second for each shard (Kinesis quotas).
const FOR_A_SHARD: usize = 5;

/// SubscribeToShard: one a second for each consumer and shard (API reference).
const SUBSCRIPTIONS: usize = 1;

/// ListShards and DescribeStreamSummary of one process: the account has 20 a second of the latter for everybody.
const FOR_A_PROCESS: usize = 10;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    // Each shard whose position is refused is looked up once, all of them at once after a long absence.
    let mut refused: BTreeMap<Life, usize> = BTreeMap::new();
    for event in &history.events {
        if let What::Fault(life, FORGOTTEN) = event.what {
            *refused.entry(life).or_default() += 1;
        }
        if let What::Rate(life, operation, calls) = event.what {
            let looked_up = refused.get(&life).copied().unwrap_or_default();
            let most = match (operation, &event.shard) {
                ("SubscribeToShard", _) => SUBSCRIPTIONS,
                (_, Some(_)) => FOR_A_SHARD,
                (_, None) => FOR_A_PROCESS + looked_up,
            };
            if calls > most {
                let what = format!("{life} called {operation} {calls} times within a second");
                violations.push(Violation::new("S17", Some(event), what));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn a_storm_is_seen() {
        let reads = |calls| made().on(0, What::Rate(ANA, "GetRecords", calls)).history;
        assert_eq!(check(&reads(5)), []);
        assert_eq!(check(&reads(6)).len(), 1);
        let subscribes = |calls| made().on(0, What::Rate(ANA, "SubscribeToShard", calls)).history;
        assert_eq!((check(&subscribes(1)).len(), check(&subscribes(2)).len()), (0, 1));
        let lists = |calls| made().then(What::Rate(ANA, "ListShards", calls)).history;
        assert_eq!(check(&lists(10)), []);
        assert_eq!(check(&lists(11)).len(), 1);
        let looked_up = || made().then(What::Fault(ANA, FORGOTTEN));
        let looks_up = |calls| looked_up().then(What::Rate(ANA, "ListShards", calls)).history;
        assert_eq!((check(&looks_up(11)).len(), check(&looks_up(12)).len()), (0, 1));
    }
}
