//! Decides what the consumer of one shard does next. No I/O, no time: events in, one command out.

use std::time::Duration;

use crate::FailurePolicy;
use crate::leasing::Release;

/// What the consumer is waiting for.
///
/// ```text
///             Done           Fetched            Failed
/// Initializing ───> Waiting ─────────> Working ───────> Pausing ──Elapsed──> (the failed step again)
///                   ^  │  │  ^           │                 │
///                   │  │  │  └───Done────┘                 │ attempts used up
///                   │  │  ReachedEnd                       v
///                   │  │  └──> Ending ──Done──> Completing ──Done──> Finished(Ended)
///                   │  Stop        (fails like Working)    (fails by Pausing, for ever)
///                   │  v
///                   │  Notifying ──Done or Failed──> Releasing ──Done──> Finished(Drained | Halted)
///                   │                                    ^
///                   └ a stop that comes during Working   └── halted
///                     takes effect after Done or Failed
///
/// every state ──Lost──> Losing ──Done──> Finished(Lost)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Initializing,
    Waiting,
    Working,
    Ending,
    Completing,
    Pausing(Step),
    Notifying,
    Releasing(Outcome),
    Losing,
    Finished,
}

/// A step that is tried again when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Initialize,
    Process,
    End,
    Complete,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The last command succeeded.
    Done,
    /// The last command failed.
    Failed,
    /// A batch is there.
    Fetched,
    /// The shard is closed and everything was delivered.
    ReachedEnd,
    /// The shard cannot be read any more, though it has not ended.
    Unreadable,
    /// The pause is over.
    Elapsed,
    /// The worker stops, or hands the shard over.
    Stop,
    /// The lease is gone.
    Lost,
}

/// What to do now. Each command is answered by exactly one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Call `initialize`.
    Initialize,
    /// Wait for the next batch.
    Fetch,
    /// Call `process_records` with the batch at hand.
    Process,
    /// Call `shard_ended`.
    End,
    /// Create the leases of the children and write the end of the shard.
    Complete,
    /// Wait.
    Pause(Duration),
    /// Call `shutdown_requested`.
    NotifyShutdown,
    /// Call `lease_lost`.
    NotifyLost,
    /// Free the lease.
    Release(Release),
    /// Stop consuming; not answered.
    Finish(Outcome),
}

/// How the consumption of a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The shard was read to its end.
    Ended,
    /// The worker stopped, or another one asked for the shard; the lease is free, or that worker's.
    Drained,
    /// The lease went to another worker, or expired.
    Lost,
    /// The processor failed for good.
    Halted,
    /// The shard is gone, or cannot be read.
    Unreadable,
}

/// The machine; begin with [`start`](Self::start), then answer every command through [`handle`](Self::handle).
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    policy: FailurePolicy,
    failures: u32,
    stopping: bool,
}

impl Machine {
    pub(super) fn new(policy: FailurePolicy) -> Self {
        Self { state: State::Initializing, policy, failures: 0, stopping: false }
    }

    pub(super) fn start(&self) -> Command {
        Command::Initialize
    }

    /// How often the present step has failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn handle(&mut self, event: Event, rng: &mut fastrand::Rng) -> Command {
        match event {
            Event::Lost => self.enter(State::Losing, Command::NotifyLost),
            Event::Stop => self.stop(),
            Event::Done => self.done(),
            Event::Failed => self.failed(rng),
            Event::Elapsed => self.elapsed(),
            Event::Fetched => self.enter(State::Working, Command::Process),
            Event::ReachedEnd => self.enter(State::Ending, Command::End),
            Event::Unreadable => self.release(Outcome::Unreadable),
        }
    }

    fn done(&mut self) -> Command {
        self.failures = 0;
        match self.state {
            State::Initializing | State::Working | State::Waiting | State::Pausing(_) => {
                self.go_on()
            }
            State::Ending => self.enter(State::Completing, Command::Complete),
            State::Completing => self.finish(Outcome::Ended),
            State::Notifying => self.release(Outcome::Drained),
            State::Releasing(outcome) => self.finish(outcome),
            State::Losing | State::Finished => self.finish(Outcome::Lost),
        }
    }

    fn failed(&mut self, rng: &mut fastrand::Rng) -> Command {
        let step = match self.state {
            State::Initializing => Step::Initialize,
            State::Working => Step::Process,
            State::Ending => Step::End,
            State::Completing => Step::Complete,
            State::Notifying => return self.release(Outcome::Drained),
            State::Releasing(outcome) if outcome != Outcome::Drained => {
                return self.finish(outcome);
            }
            // After a release that failed, what was done is not durable.
            State::Releasing(_) | State::Losing | State::Finished => {
                return self.finish(Outcome::Lost);
            }
            State::Waiting | State::Pausing(_) => return self.go_on(),
        };
        if self.stopping {
            return self.enter(State::Notifying, Command::NotifyShutdown);
        }
        self.failures += 1;
        let limited = step != Step::Complete; // the store may be away for as long as the lease holds
        if limited && self.policy.attempts.is_some_and(|attempts| self.failures >= attempts) {
            return self.release(Outcome::Halted);
        }
        let pause = self.policy.backoff.delay(self.failures - 1, rng);
        self.enter(State::Pausing(step), Command::Pause(pause))
    }

    fn elapsed(&mut self) -> Command {
        match self.state {
            State::Pausing(Step::Initialize) => {
                self.enter(State::Initializing, Command::Initialize)
            }
            State::Pausing(Step::Process) => self.enter(State::Working, Command::Process),
            State::Pausing(Step::End) => self.enter(State::Ending, Command::End),
            State::Pausing(Step::Complete) => self.enter(State::Completing, Command::Complete),
            State::Initializing
            | State::Waiting
            | State::Working
            | State::Ending
            | State::Completing
            | State::Notifying
            | State::Releasing(_)
            | State::Losing
            | State::Finished => self.go_on(),
        }
    }

    /// A stop interrupts only waiting and pausing; running steps end first.
    fn stop(&mut self) -> Command {
        self.stopping = true;
        self.enter(State::Notifying, Command::NotifyShutdown)
    }

    /// Told of a stop that came while a step was running.
    pub(super) fn note_stop(&mut self) {
        self.stopping = true;
    }

    fn go_on(&mut self) -> Command {
        if self.stopping { self.stop() } else { self.enter(State::Waiting, Command::Fetch) }
    }

    fn release(&mut self, outcome: Outcome) -> Command {
        let reason = match outcome {
            Outcome::Halted | Outcome::Unreadable => Release::Halted,
            Outcome::Ended | Outcome::Drained | Outcome::Lost => Release::Stopping,
        };
        self.enter(State::Releasing(outcome), Command::Release(reason))
    }

    fn finish(&mut self, outcome: Outcome) -> Command {
        self.enter(State::Finished, Command::Finish(outcome))
    }

    fn enter(&mut self, state: State, command: Command) -> Command {
        self.state = state;
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(policy: FailurePolicy, events: &[Event]) -> Vec<String> {
        let (mut machine, mut rng) = (Machine::new(policy), fastrand::Rng::with_seed(1));
        let name = |command: Command| match command {
            Command::Pause(_) => "Pause".to_owned(),
            other => format!("{other:?}"),
        };
        let mut commands = vec![name(machine.start())];
        for event in events {
            commands.push(name(machine.handle(*event, &mut rng)));
        }
        commands
    }

    #[test]
    fn walks_of_a_shard() {
        use Event::{Done, Elapsed, Failed, Fetched, Lost, ReachedEnd, Stop, Unreadable};
        let table: [(&str, &[Event], &str); 10] = [
            (
                "batches, then the end",
                &[Done, Fetched, Done, ReachedEnd, Done, Done],
                "Initialize Fetch Process Fetch End Complete Finish(Ended)",
            ),
            (
                "a failed batch comes again",
                &[Done, Fetched, Failed, Elapsed, Done],
                "Initialize Fetch Process Pause Process Fetch",
            ),
            (
                "the last attempt halts",
                &[Done, Fetched, Failed, Elapsed, Failed, Elapsed, Failed, Done],
                "Initialize Fetch Process Pause Process Pause Process Release(Halted) Finish(Halted)",
            ),
            (
                "a stop while waiting",
                &[Done, Stop, Done, Done],
                "Initialize Fetch NotifyShutdown Release(Stopping) Finish(Drained)",
            ),
            (
                "a stop while pausing leaves the batch undone",
                &[Done, Fetched, Failed, Stop, Failed, Done],
                "Initialize Fetch Process Pause NotifyShutdown Release(Stopping) Finish(Drained)",
            ),
            (
                "a release that is not durable drains nothing",
                &[Done, Stop, Done, Failed],
                "Initialize Fetch NotifyShutdown Release(Stopping) Finish(Lost)",
            ),
            (
                "a lost lease ends every walk",
                &[Done, Fetched, Failed, Lost, Done],
                "Initialize Fetch Process Pause NotifyLost Finish(Lost)",
            ),
            (
                "a store that is away delays the end, and never halts",
                &[Done, ReachedEnd, Done, Failed, Elapsed, Failed, Elapsed, Failed, Elapsed, Done],
                "Initialize Fetch End Complete Pause Complete Pause Complete Pause Complete Finish(Ended)",
            ),
            (
                "initialize is tried again",
                &[Failed, Elapsed, Done],
                "Initialize Pause Initialize Fetch",
            ),
            (
                "an unreadable shard is given up, not ended",
                &[Done, Unreadable, Done],
                "Initialize Fetch Release(Halted) Finish(Unreadable)",
            ),
        ];
        for (what, events, expected) in table {
            assert_eq!(run(FailurePolicy::attempts(3), events).join(" "), expected, "{what}");
        }
    }

    proptest! {
        /// S1 and S11: whatever happens, a batch is left behind only by success, and the end of the shard is written only
        /// after the reader saw it.
        #[test]
        fn never_skips_and_never_ends_early(seed: u64, choices in prop::collection::vec(0_u8..8, 1..200)) {
            let (mut machine, mut rng) = (Machine::new(FailurePolicy::attempts(4)), fastrand::Rng::with_seed(seed));
            let mut command = machine.start();
            let (mut at_hand, mut ended) = (false, false);
            for choice in choices {
                let event = match (command, choice) {
                    (Command::Finish(_), _) => break,
                    (Command::Release(_) | Command::NotifyLost, _) => Event::Done,
                    (_, 0) => Event::Lost,
                    (Command::Fetch | Command::Pause(_), 1) => Event::Stop,
                    (Command::Fetch, 2) => Event::ReachedEnd,
                    (Command::Fetch, 3) => Event::Unreadable,
                    (Command::Fetch, _) => Event::Fetched,
                    (Command::Pause(_), _) => Event::Elapsed,
                    (_, 1..=4) => Event::Done,
                    _ => Event::Failed,
                };
                match (command, event) {
                    (Command::Fetch, Event::Fetched) => at_hand = true,
                    (Command::Fetch, Event::ReachedEnd) => ended = true,
                    (Command::Process, Event::Done) => at_hand = false,
                    _ => {}
                }
                command = machine.handle(event, &mut rng);
                prop_assert!(!(command == Command::Fetch && at_hand), "a batch was skipped");
                let ending = matches!(command, Command::End | Command::Complete);
                prop_assert!(ended || !ending, "ended early");
            }
        }
    }
}
