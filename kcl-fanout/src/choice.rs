//! By which of two ways a shard is read. Pure: what was seen and time come in, changes go out.

use std::fmt;
use std::time::{Duration, Instant};

use kcl_core::retrieval::Health;

/// A way of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// GetRecords.
    Polling,
    /// SubscribeToShard.
    FanOut,
}

/// When to change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How a reader begins. One that begins by fan-out polls only for what does not come otherwise.
    pub(crate) first: Way,
    /// Polling is left when it was further behind than this for the patience.
    pub(crate) lag: Duration,
    /// … or when it was crowded for so long.
    pub(crate) patience: Duration,
    /// A way is left that has brought nothing for so long, because its calls fail.
    pub(crate) failing: Duration,
    /// Fan-out is not tried again sooner after it was left, or was not to be had.
    pub(crate) retry: Duration,
}

impl Rules {
    pub(crate) const BY_LOAD: Self = Self {
        first: Way::Polling,
        lag: Duration::from_secs(10),
        patience: Duration::from_secs(30),
        failing: Duration::from_secs(60),
        retry: Duration::from_secs(300),
    };

    pub(crate) const BY_FAN_OUT: Self = Self { first: Way::FanOut, ..Self::BY_LOAD };
}

/// Why a reader changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Polling does not keep up.
    Behind(Duration),
    /// Others read the shard too.
    Crowded,
    /// The way fails.
    Failing,
    /// The shard is closed, and subscriptions do not bring the rest of it.
    CutShort,
}

/// What a reader does about its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Finds a consumer, and polls on meanwhile.
    Prepare(Why),
    /// Goes on in the other way.
    Change(Way, Why),
}

/// Chooses for one shard.
#[derive(Debug)]
pub(crate) struct Choice {
    rules: Rules,
    state: State,
    /// How far behind the newest records were.
    behind: Duration,
    /// Since when polling is worth leaving, and how much of the time since then the records were waited on by nobody.
    worth: Option<(Instant, Duration)>,
    /// Fan-out is not tried before.
    not_before: Option<Instant>,
}

/// ```text
///            behind or crowded for long, or failing           there is a consumer
///   Polling ──────────────────────────────────────> Preparing ──────────────────> FanOut
///    ^   ^                                             │ there is none              │
///    │   └─────────────────────────────────────────────┘                            │
///    └──────────────────────────────────────────────────────────────────────────────┘
///              failing for long, or the shard's end does not come
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Polling,
    Preparing(Why),
    FanOut,
}

impl Choice {
    pub(crate) fn new(rules: Rules) -> Self {
        let state = match rules.first {
            Way::Polling => State::Polling,
            Way::FanOut => State::FanOut,
        };
        Self { rules, state, behind: Duration::ZERO, worth: None, not_before: None }
    }

    /// How the shard is read.
    pub(crate) fn way(&self) -> Way {
        match self.state {
            State::Polling | State::Preparing(_) => Way::Polling,
            State::FanOut => Way::FanOut,
        }
    }

    /// Records came, so far behind the newest.
    pub(crate) fn brought(&mut self, behind: Duration) {
        self.behind = behind;
    }

    /// Nobody asked for records for so long: then it is not the way of reading that is slow.
    pub(crate) fn was_idle(&mut self, span: Duration) {
        if let Some((_, idle)) = &mut self.worth {
            *idle += span;
        }
    }

    /// What to do, as the reader fares.
    pub(crate) fn step(&mut self, health: Health, now: Instant) -> Option<Step> {
        let Rules { failing, retry, .. } = self.rules;
        let fails = health.failing_since.is_some_and(|since| since + failing <= now);
        match self.state {
            State::Polling => {
                let why = if fails { Some(Why::Failing) } else { self.worth_leaving(health, now) };
                let why = why.filter(|_| self.not_before.is_none_or(|earliest| earliest <= now))?;
                self.state = State::Preparing(why);
                Some(Step::Prepare(why))
            }
            State::Preparing(_) => None,
            State::FanOut => {
                let why = match health.cut_short {
                    true => Why::CutShort,
                    false if fails && self.rules.first == Way::Polling => Why::Failing,
                    false => return None,
                };
                self.not_before = Some(now + retry);
                Some(self.change(State::Polling, why))
            }
        }
    }

    /// Whether there is a consumer, after [`Step::Prepare`].
    pub(crate) fn prepared(&mut self, is_there: bool, now: Instant) -> Option<Step> {
        let State::Preparing(why) = self.state else {
            return None;
        };
        if is_there {
            return Some(self.change(State::FanOut, why));
        }
        self.not_before = Some(now + self.rules.retry);
        self.state = State::Polling;
        None
    }

    fn change(&mut self, state: State, why: Why) -> Step {
        self.state = state;
        self.worth = None;
        self.behind = Duration::ZERO;
        Step::Change(self.way(), why)
    }

    fn worth_leaving(&mut self, health: Health, now: Instant) -> Option<Why> {
        let Rules { first, lag, patience, .. } = self.rules;
        let why = match self.behind > lag {
            _ if first == Way::FanOut => return None,
            true => Why::Behind(self.behind),
            false if health.crowded => Why::Crowded,
            false => {
                self.worth = None;
                return None;
            }
        };
        let (since, idle) = *self.worth.get_or_insert((now, Duration::ZERO));
        let span = now - since;
        (span >= patience && idle < span / 2).then_some(why)
    }
}

impl Why {
    /// Whether somebody should look after it.
    pub(crate) fn is_trouble(self) -> bool {
        match self {
            Self::Behind(_) | Self::Crowded => false,
            Self::Failing | Self::CutShort => true,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Polling => "polling",
            Self::FanOut => "fan-out",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind(lag) => write!(f, "polling is {} s behind", lag.as_secs()),
            Self::Crowded => f.write_str("other consumers poll the shard too"),
            Self::Failing => f.write_str("nothing has come for long, every call fails"),
            Self::CutShort => {
                f.write_str("the shard is closed, and subscriptions do not bring the rest of it")
            }
        }
    }
}

#[cfg(test)]
mod tests;
