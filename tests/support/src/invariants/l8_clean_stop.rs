//! L8, a graceful stop repeats nothing: workers that are asked to stop in good weather stop in time, every lease is free, and
//! what was done last is durable. Where others stay, they have the shards with their next scan.

use std::time::Duration;

use super::{Violation, trials};
use crate::sim::history::{Event, History, Life, Turn, What, short};
use crate::sim::schedule::Trial;

/// A drain in good weather, a scan's calls, and a take.
const CALLS: Duration = Duration::from_secs(1);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = stops_clean(history);
    let bound = history.terms.timing.scan_interval + CALLS;
    violations.extend(trials::regranted(history, Turn::IsAskedToStop, "L8", |tried| {
        (tried.trial == Trial::Stop).then_some(bound)
    }));
    violations.extend(trials::regranted(history, Turn::LeavesTheStream, "L8", |tried| {
        let others = trials::living(history, tried.from).len() > 1;
        (tried.trial == Trial::Leave && others).then_some(bound)
    }));
    violations
}

fn stops_clean(history: &History) -> Vec<Violation> {
    let events = &history.events;
    let asked = |event: &Event| matches!(event.what, What::Stopping);
    let Some(asked) = events.iter().position(asked) else {
        return Vec::new();
    };
    let mut violations = Vec::new();
    if !events.iter().any(|event| matches!(event.what, What::Stopped)) {
        violations.push(Violation::new("L8", None, "a worker does not stop"));
    }
    // Whose processor gave up since the healing says so.
    let halted = |life: &Life| {
        events
            .iter()
            .any(|event| matches!(&event.what, What::Process(by, Turn::HaltedIt) if by == life))
    };
    for event in &events[asked..] {
        if let What::Finished(life, how) = &event.what
            && how != "clean"
            && !halted(life)
        {
            violations.push(Violation::new("L8", Some(event), format!("{life} stopped: {how}")));
        }
    }
    for (shard, lease) in history.final_leases() {
        let mut wrong = |what: String| violations.push(Violation::new("L8", None, what));
        if let (Some(owner), false) = (&lease.owner, lease.has_ended()) {
            wrong(format!("{owner} still owns shard {}", short(shard)));
        }
        // Since the lease was made: one that was deleted and made anew may have to be read again.
        let of_shard = events.iter().rev().filter(|event| event.shard.as_ref() == Some(shard));
        let made = |what: &What| matches!(what, What::Wrote(write) if write.before.is_none());
        let since = of_shard.take_while(|event| !made(&event.what));
        let mut done = since.filter_map(|event| match &event.what {
            What::Done(_, _, last) => Some(last),
            _ => None,
        });
        let done = done.next();
        let durable = &lease.position;
        if let Some(done) = done.filter(|done| *done > durable) {
            wrong(format!("shard {} was done to {done}, not to {durable}", short(shard)));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use kcl_core::Position;

    use super::super::testing::{ANA, at, lease, made};
    use super::*;

    #[test]
    fn freed_shards_that_nobody_takes_are_seen() {
        let stop = |waits| made().passes_on(Trial::Stop, Turn::IsAskedToStop, waits);
        assert_eq!(check(&stop(1).history), []);
        assert_eq!(check(&stop(4).history).len(), 1);
    }

    #[test]
    fn a_stop_that_leaves_something_behind_is_seen() {
        let begun = || made().put(&[1]).taken(ANA).done(ANA, &[1]).then(What::Stopping);
        let held = || Some(lease(Some(ANA), 1, Position::TrimHorizon));
        let clean = begun().wrote(ANA, held(), Some(lease(None, 2, at(1)))).then(What::Stopped);
        assert_eq!(check(&clean.history), []);
        assert_eq!(check(&begun().then(What::Stopped).history).len(), 2);
        let early = begun().wrote(ANA, held(), Some(lease(None, 2, Position::TrimHorizon)));
        assert_eq!(check(&early.then(What::Stopped).history).len(), 1);
        let nothing_done = made().taken(ANA).then(What::Stopping);
        let from_a_time = Some(lease(None, 2, Position::AtTimestamp));
        let idle = nothing_done.wrote(ANA, held(), from_a_time).then(What::Stopped);
        assert_eq!(check(&idle.history), []);
        let hung = begun().wrote(ANA, held(), Some(lease(None, 2, at(1))));
        assert_eq!(check(&hung.history).len(), 1);
    }
}
