//! S10, the start is sticky: what is put after a worker of a new `LATEST` application was ready, or at and after the configured
//! time, is processed in the end, through restarts, reshards and leases that are made anew.

use std::collections::BTreeSet;

use super::{Violation, undone};
use crate::sim::history::{History, What, short};
use crate::sim::schedule::Start;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let drained = history.first(|what| matches!(what, What::Drained));
    let (Some(drained), false) = (drained, history.terms.start == Start::TrimHorizon) else {
        return Vec::new(); // what never heals is L5's
    };
    let skipped: BTreeSet<_> = undone(history).into_iter().collect();
    let put_before = |event: &&crate::sim::history::Event| match (&event.shard, &event.what) {
        (Some(shard), What::Put(seen)) => {
            event.at < drained && skipped.contains(&(shard, &seen.position))
        }
        _ => false,
    };
    let skipped = history.events.iter().filter(put_before);
    skipped
        .map(|event| {
            let shard = event.shard.as_ref().map_or("-", short);
            let what = format!("a record of shard {shard} that was put after the start is skipped");
            Violation::new("S10", Some(event), what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, made};
    use super::*;
    use crate::sim::history::Turn;

    #[test]
    fn a_record_after_the_start_that_is_skipped_is_seen() {
        let latest = || {
            let mut made = made();
            made.history.terms.start = Start::Latest;
            made.put(&[1]).then(What::Process(ANA, Turn::IsReady)).put(&[2])
        };
        assert_eq!(check(&latest().done(ANA, &[2]).then(What::Drained).history), []);
        assert_eq!(check(&latest().done(ANA, &[1]).then(What::Drained).history).len(), 1);
    }

    #[test]
    fn a_worker_that_has_left_the_stream_promises_nothing_until_it_reads_it_again() {
        let begins = |turns: &[Turn]| {
            let mut made = made();
            made.history.terms.start = Start::Latest;
            let turns = turns.iter().map(|turn| What::Process(ANA, *turn));
            turns.fold(made, |made, turn| made.waits(1).then(turn)).history.begins().is_some()
        };
        let (ready, left) = (Turn::IsReady, Turn::LeavesTheStream);
        assert!(begins(&[ready, left]));
        assert!(!begins(&[left, ready]));
        assert!(!begins(&[left, ready, Turn::ReadsTheStream]));
        assert!(begins(&[left, ready, Turn::ReadsTheStream, Turn::StreamIsReady]));
    }
}
