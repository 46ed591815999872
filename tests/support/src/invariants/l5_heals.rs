//! L5, faults heal by themselves: once nothing goes wrong any more, every record is done, every closed shard ended and every
//! open one owned within the bound (and the time that Kinesis needs to
//! hand out what has gathered), without a hand from outside; after a plain outage of one service, within seconds.

use std::time::Duration;

use super::{Violation, left_after, reading, rereading, trials, undone};
use crate::sim::history::{History, What};
use crate::sim::schedule::{Checkpoints, Trial};

/// After an outage: the longest backoff of 5 s, the calls that follow, and what has gathered.
const AFTER_OUTAGE: Duration = Duration::from_secs(8);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = heals(history);
    for tried in trials::of(history) {
        let (Trial::StoreOutage(span) | Trial::KinesisOutage(span)) = tried.trial else {
            continue;
        };
        let over = history.events[tried.from - 1].at + span;
        let before = tried.events.iter().take_while(|event| event.at <= over);
        let bound = AFTER_OUTAGE + reading(before, history.terms.page);
        let left = left_after(tried.events, over + bound, bound, |_| true);
        if let Some((shard, put)) = left {
            let what = format!(
                "put at {:.3} s on shard {shard}, not done {bound:?} after an outage of {span:?}",
                put.as_secs_f64()
            );
            violations.push(Violation::new("L5", Some(&history.events[tried.from - 1]), what));
        }
    }
    violations
}

fn heals(history: &History) -> Vec<Violation> {
    let Some(healed) = history.first(|what| matches!(what, What::Healed)) else {
        return Vec::new();
    };
    let before = history.events.iter().take_while(|event| !matches!(event.what, What::Healed));
    let reading = match history.terms.checkpoint {
        Checkpoints::Automatic => reading(before, history.terms.page),
        // They may be old.
        Checkpoints::Manual => rereading(before, history.terms.page),
    };
    let longest = history.terms.heal_bound + reading;
    let bound = longest.as_secs();
    match history.first(|what| matches!(what, What::Drained)) {
        Some(drained) if drained - healed <= longest => Vec::new(),
        Some(drained) => {
            let took = (drained - healed).as_secs();
            vec![Violation::new("L5", None, format!("healing took {took} s, more than {bound} s"))]
        }
        None => {
            let left = undone(history).len();
            let what = format!("not healed within twice {bound} s: {left} records are not done");
            vec![Violation::new("L5", None, what)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ANA, made};
    use super::*;

    #[test]
    fn an_outage_with_consequences_is_seen() {
        let outage =
            || made().then(What::Tries(Trial::StoreOutage(Duration::from_secs(5)))).put(&[1]);
        let over = |made: super::super::testing::Made| made.waits(20).then(What::Tried);
        assert_eq!(check(&over(outage().waits(3).done(ANA, &[1])).history), []);
        assert_eq!(check(&over(outage()).history).len(), 1);
    }

    #[test]
    fn a_fleet_that_does_not_heal_is_seen() {
        assert_eq!(check(&made().then(What::Healed).then(What::Drained).history), []);
        assert_eq!(check(&made().put(&[1]).then(What::Healed).history).len(), 1);
        let mut late = made().then(What::Healed).then(What::Drained).history;
        late.events[1].at = Duration::from_secs(10_000);
        assert_eq!(check(&late).len(), 1);
    }

    #[test]
    fn what_is_done_and_not_durable_may_be_read_again() {
        let done = made().taken(ANA).put(&[1, 2, 3]).done(ANA, &[1, 2, 3]).then(What::Healed);
        let mut history = done.then(What::Drained).history;
        history.terms.page = 1;
        let (healed, drained) = (history.events[7].at, history.events.len() - 1);
        history.events[drained].at = healed + history.terms.heal_bound + Duration::from_millis(600);
        assert_eq!(check(&history).len(), 1);
        history.terms.checkpoint = Checkpoints::Manual;
        assert_eq!(check(&history), []);
        history.events[drained].at += Duration::from_millis(1);
        assert_eq!(check(&history).len(), 1);
    }
}
