//! S17, quotas are kept: no process calls more often within a second than Kinesis allows it, nor in a storm, whatever fails.

use super::Violation;
use crate::sim::history::{History, What};

/// GetRecords and GetShardIterator: five a second for each shard (Kinesis quotas).
const FOR_A_SHARD: usize = 5;

/// ListShards and DescribeStreamSummary of one process: the account has 20 a second of the latter for everybody.
const FOR_A_PROCESS: usize = 10;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for event in &history.events {
        if let What::Rate(life, operation, calls) = event.what {
            let most = if event.shard.is_some() { FOR_A_SHARD } else { FOR_A_PROCESS };
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
        let lists = |calls| made().then(What::Rate(ANA, "ListShards", calls)).history;
        assert_eq!(check(&lists(10)), []);
        assert_eq!(check(&lists(11)).len(), 1);
    }
}
