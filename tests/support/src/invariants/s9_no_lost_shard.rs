//! S9, no shard is forgotten: in the end every shard has had a lease, and every closed one has ended, unless an operator
//! deleted its lease (that its records were done is the liveness bound's), or it was closed before the application began.

use std::collections::BTreeSet;

use kcl_core::ShardId;
use kcl_lease::Lease;

use super::Violation;
use crate::sim::history::{History, What};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let may_skip = history.may_skip();
    let (mut opened, mut closed) = (BTreeSet::new(), BTreeSet::new());
    let (mut leased, mut ended): (BTreeSet<&ShardId>, BTreeSet<&ShardId>) = Default::default();
    for event in &history.events {
        let Some(shard) = &event.shard else { continue };
        match &event.what {
            What::Opened { .. } => {
                opened.insert(shard);
            }
            What::Closed if may_skip(event.at) && !leased.contains(shard) => {
                opened.remove(shard);
            }
            What::Closed => {
                closed.insert(shard);
            }
            What::Wrote(write) => {
                leased.insert(shard);
                let ends = write.after.as_ref().is_some_and(Lease::has_ended);
                if ends || write.by.is_none() {
                    ended.insert(shard);
                }
            }
            _ => {}
        }
    }
    let missing = |shards: &BTreeSet<&ShardId>, what: &str| -> Vec<Violation> {
        shards.iter().map(|shard| Violation::new("S9", None, format!("{shard} {what}"))).collect()
    };
    let mut violations = missing(&(&opened - &leased), "never had a lease");
    violations.extend(missing(&(&closed - &ended), "was closed and never read to its end"));
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn a_forgotten_shard_is_seen() {
        let begun = || made().opened(0, &[]).taken(ANA);
        assert_eq!(check(&begun().history), []);
        assert_eq!(check(&begun().opened(1, &[0]).history).len(), 1);
        assert_eq!(check(&begun().on(0, What::Closed).history).len(), 1);
    }
}
