//! Faults by rule or by seeded chance, around both services.
//!
//! Deciding is pure and synchronous: a request and the present time in, a [`Verdict`] out. The emulator carries it out.

mod fault;
mod rule;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

pub use fault::Fault;
pub(crate) use fault::{failed, throttled};
pub(crate) use rule::Call;
pub use rule::Rule;

use crate::emulator::lock;
use rule::ActiveRule;

/// The rules by which requests go wrong. Same seed, same rules, same requests: same faults.
///
/// Delays of all rules that act add up; of the other faults the rule added first wins.
#[derive(Debug)]
pub struct Faults {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    rules: Vec<ActiveRule>,
    counts: BTreeMap<&'static str, u64>,
}

/// What is to happen to one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// To wait before the request takes effect.
    pub(crate) latency: Duration,
    /// To wait before the reply is handed over.
    pub(crate) late_reply: Duration,
    /// How much later the events of a stream arrive.
    pub(crate) late_events: Duration,
    /// Never a delay.
    pub(crate) fault: Option<Fault>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { state: Mutex::new(State { rng, rules: Vec::new(), counts: BTreeMap::new() }) }
    }

    /// Puts a rule in force, after those that are.
    pub fn add(&self, rule: Rule) {
        let mut state = lock(&self.state);
        let rng = state.rng.fork();
        state.rules.push(ActiveRule::new(rule, rng));
    }

    /// Ends every rule. Counts stay.
    pub fn clear(&self) {
        lock(&self.state).rules.clear();
    }

    /// How many faults were injected, by [`Fault::kind`].
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.state).counts.clone()
    }

    /// Whether [`Call::source`] matters.
    pub(crate) fn read_bodies(&self) -> bool {
        lock(&self.state).rules.iter().any(ActiveRule::reads_bodies)
    }

    pub(crate) fn judge(&self, now: SystemTime, call: &Call<'_>) -> Verdict {
        let State { rng: _, rules, counts } = &mut *lock(&self.state);
        let mut verdict = Verdict::default();
        for active in rules {
            if !active.acts(now, call) {
                continue;
            }
            let fault = &active.rule.fault;
            match fault {
                Fault::Latency(delay) => verdict.latency += *delay,
                Fault::LateReply(delay) => verdict.late_reply += *delay,
                Fault::LateEvents(delay) => verdict.late_events += *delay,
                Fault::Throttle
                | Fault::ErrorBefore(_)
                | Fault::ErrorAfter
                | Fault::LostBefore
                | Fault::LostAfter
                | Fault::Custom { .. }
                | Fault::CutBody { .. }
                | Fault::CutStream { .. }
                | Fault::Silence { .. }
                | Fault::StreamError { .. } => {
                    if verdict.fault.is_some() {
                        continue;
                    }
                    verdict.fault = Some(fault.clone());
                }
            }
            *counts.entry(fault.kind()).or_default() += 1;
        }
        verdict
    }
}

#[cfg(test)]
mod tests;
