//! Bugs of other Kinesis clients, each as a scenario of the simulation. `docs/bug-catalogue.md` is their table.
//!
//! A scenario is a schedule that leads to where the bug was, the demand that no invariant is violated, and the proof that the
//! run really came there: without it, a change of the library's timing would leave an empty test behind.
#![expect(clippy::print_stdout, reason = "a trace is asked for")]

mod facts;
mod losses;
mod storms;
mod stuck;
mod zombies;

use std::time::Duration;

use facts::Facts;
use kcl_testkit::sim::schedule::{Act, Schedule, Settings};
use kcl_testkit::sim::weather::{Fate, Mood, Service};
use kcl_testkit::sim::{self, Tier};

/// The tiers, for scenarios that are worth the wire's price.
const BOTH: [Tier; 2] = [Tier::Port, Tier::Wire];

/// Plays a schedule; nothing may be violated.
#[track_caller]
fn holds(tier: Tier, schedule: &Schedule) -> Facts {
    let run = sim::play(tier, schedule);
    if std::env::var_os("KCL_SIM_TRACE").is_some() {
        println!("{}", run.history.render(None));
    }
    assert!(
        run.violations.is_empty(),
        "{:#?}\n{}\n{}",
        run.violations.iter().map(ToString::to_string).collect::<Vec<_>>(),
        run.history.around(&run.violations, 80),
        schedule.render(),
    );
    Facts(run.history)
}

/// So many workers and shards, otherwise calm.
fn fleet(seed: u64, workers: u32, shards: u32) -> Schedule {
    Schedule::calm(seed).with(|settings: &mut Settings| {
        settings.workers = workers;
        settings.shards = shards;
    })
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The next calls of this operation end like this.
fn next(operation: &'static str, fate: Fate, times: u32) -> Act {
    Act::Next { operation, fate, times }
}

/// The next calls of processors end like this.
fn feel(mood: Mood, times: u32) -> Act {
    Act::Feel { mood, times }
}

/// A process dies; another one, of a new id, starts after so many seconds.
fn crash(pick: u32, pause: u64) -> Act {
    Act::Crash { pick, pause: seconds(pause), same_id: false }
}

fn split(pick: u32) -> Act {
    Act::Reshard { pick, merge: false }
}

fn merge(pick: u32) -> Act {
    Act::Reshard { pick, merge: true }
}

/// Nobody, or one worker not, reaches a service.
fn outage(pick: Option<u32>, service: Service, span: u64) -> Act {
    Act::Outage { pick, service, span: seconds(span) }
}
