//! L7, a hole is found: the deleted lease of an open shard is back, and the shard is read again, within ten seconds; or one of
//! those before it, whose leases were cleaned up and are read again first.

use std::time::Duration;

use kcl_core::ShardId;

use super::{Violation, trials};
use crate::sim::history::{Event, History, What};
use crate::sim::schedule::Trial;

const BOUND: Duration = Duration::from_secs(10);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let (shards, mut violations) = (history.shards(), Vec::new());
    for tried in trials::of(history).iter().filter(|tried| tried.trial == Trial::DeleteLease) {
        let deletes = |event: &&Event| match &event.what {
            What::Wrote(write) => write.by.is_none() && write.after.is_none(),
            _ => false,
        };
        let Some(deleted) = tried.events.iter().find(deletes) else {
            continue;
        };
        let mut line: Vec<&ShardId> = deleted.shard.iter().collect();
        let mut known = 0;
        while let Some((parents, _)) = line.get(known).and_then(|shard| shards.get(*shard)) {
            line.extend(*parents);
            known += 1;
        }
        let granted = |event: &&Event| {
            event.shard.as_ref().is_some_and(|shard| line.contains(&shard))
                && event.at > deleted.at
                && matches!(event.what, What::Granted(..))
        };
        let took = tried.events.iter().find(granted).map(|event| event.at - deleted.at);
        if took.is_none_or(|took| took > BOUND) {
            let what = format!("read again after {took:?}, not within {BOUND:?}");
            violations.push(Violation::new("L7", Some(deleted), what));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, lease, made};
    use super::*;

    #[test]
    fn a_hole_that_stays_is_seen() {
        let deleted = |waits: u64| {
            let held = Some(lease(Some(ANA), 1, Position::TrimHorizon));
            let tried = made().taken(ANA).then(What::Tries(Trial::DeleteLease));
            let deleted = tried.wrote(None, held, None).waits(waits);
            let again = deleted.on(0, What::Granted(ANA, Position::TrimHorizon));
            again.waits(20).then(What::Tried)
        };
        assert_eq!(check(&deleted(8).history), []);
        assert_eq!(check(&deleted(12).history).len(), 1);
    }
}
