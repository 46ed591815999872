//! What the keeper of one held lease does next. Pure: no clock, no store; the task asks for the [`Step`], takes it, and
//! tells the outcome.

use std::time::{Duration, Instant};

use kcl_core::leasing::{CheckpointError, LeaseTiming, PendingCheckpoint};
use kcl_core::{Position, WorkerId};

use super::asked::{Asked, End, Pause};
use super::words::{Answer, Freed, Gone, Request, Step};
use crate::Lease;
use crate::store::{Change, Outcome, StoreError, StoreErrorKind};

/// The keeper of one lease: the only writer of its item, so that renewals and checkpoints cannot race.
///
/// Each write is fenced by the one before, carries the newest watermark, and moves [`valid_until`](Self::valid_until) to
/// its own *start* plus the lease duration less the margin: whoever may take the lease saw the counter move later than
/// that. When no write succeeded until then the lease counts as lost, whatever the store does.
///
/// `R` is where an answer goes.
#[derive(Debug)]
pub(super) struct Machine<R> {
    /// As the last write that is known to have applied left it.
    lease: Lease,
    timing: LeaseTiming,
    /// Of this process's writes.
    stride: u16,
    valid_until: Instant,
    renew_at: Instant,
    phase: Phase<R>,
    asked: Asked<R>,
    /// The worker that asks for the lease.
    heir: Option<WorkerId>,
    pause: Pause,
    answers: Vec<Answer<R>>,
    /// The durable position has moved.
    progressed: bool,
}

/// ```text
///          due, or asked for            no effect: again after a pause
///         ┌─────────────────────┐        ┌──────┐
///         │                     v        │      v
///      ┌──────┐   applied    ┌──────────────────────┐  may have applied   ┌────────┐
///      │ Idle │ <─────────── │       Writing        │ ──────────────────> │ Unsure │ ─┐ read failed:
///      └──────┘              └──────────────────────┘ <────────────────── └────────┘ <┘ again after a pause
///         │  ^                  │                ^       not applied        │  │
///         │  └──────────────────┼────────────────┼──────────────────────────┘  │
///         │       applied       │ lost, ended, released                        │ lost, ended, released
///         v                     v                                              v
///      ┌───────────────────────────────────────────────────────────────────────────┐
///      │                                   Gone                                    │
///      └───────────────────────────────────────────────────────────────────────────┘
/// ```
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum Phase<R> {
    /// Nothing is under way.
    Idle,
    /// This write is to be sent, perhaps again.
    Writing(Box<Attempt<R>>),
    /// This write may have applied: the lease is to be read.
    Unsure(Box<Attempt<R>>),
    /// No longer kept.
    Gone(Gone),
}

/// One write, the same through all its repetitions, so that it can be recognised in the table.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Attempt<R> {
    change: Change,
    /// The lease once it has applied.
    expected: Lease,
    /// When it was first sent of those sendings that may have applied.
    begun: Instant,
    /// When it was last sent.
    sent: Instant,
    may_have_applied: bool,
    waiters: Vec<R>,
    then: Option<Gone>,
}

impl<R> Machine<R> {
    /// The keeper of `lease` as an own write that began at `begun` left it.
    pub(super) fn new(
        lease: Lease,
        timing: LeaseTiming,
        stride: u16,
        begun: Instant,
        rng: &mut fastrand::Rng,
    ) -> Self {
        Self {
            lease,
            timing,
            stride,
            valid_until: begun + validity(&timing),
            renew_at: begun + spread(timing.renew_interval, rng),
            phase: Phase::Idle,
            asked: Asked::default(),
            heir: None,
            pause: Pause::new(timing.renew_interval),
            answers: Vec::new(),
            progressed: false,
        }
    }

    /// The lease as last known.
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Until when the lease is surely held.
    pub(super) fn valid_until(&self) -> Instant {
        self.valid_until
    }

    /// The answers since the last call.
    pub(super) fn take_answers(&mut self) -> Vec<Answer<R>> {
        std::mem::take(&mut self.answers)
    }

    /// Whether the durable position has moved since the last call.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Asks for something; the answer comes with [`take_answers`](Self::take_answers).
    pub(super) fn ask(&mut self, request: Request, waiter: R) {
        if let Phase::Gone(gone) = &self.phase {
            let again = matches!((gone, &request), (Gone::Ended, Request::End(_)));
            let answer = again.then_some(()).ok_or(CheckpointError::LeaseLost);
            return self.answers.push((waiter, answer));
        }
        if let Request::Checkpoint(wanted)
        | Request::Prepare(PendingCheckpoint { position: wanted, .. }) = &request
            && *wanted < self.lease.position
        {
            let (last, wanted) = (self.lease.position.clone(), wanted.clone());
            return self.answers.push((waiter, Err(CheckpointError::Backward { last, wanted })));
        }
        match request {
            Request::Checkpoint(position) => {
                self.asked.position = self.asked.position.take().max(Some(position));
            }
            Request::Prepare(pending) => self.asked.pending = Some(pending),
            Request::End(missing) => {
                let children = missing.iter().map(|child| child.key.shard().clone()).collect();
                let fresh = End { missing, children, waiters: Vec::new() };
                let end = self.asked.end.get_or_insert(fresh);
                return end.waiters.push(waiter);
            }
            Request::Free(freed) => {
                let free = self.asked.free.get_or_insert((freed, Vec::new()));
                return free.1.push(waiter);
            }
        }
        self.asked.waiters.push(waiter);
    }

    /// A scan showed the lease like this. Somebody else's ownership is news, or as old as a lease of the same key that was
    /// deleted: a renewal tells at once.
    pub(super) fn seen(&mut self, lease: &Lease) {
        let others = lease.owner != self.lease.owner && lease.counter > self.lease.counter;
        if others && matches!(self.phase, Phase::Idle) {
            self.renew_at = self.valid_until - validity(&self.timing);
        }
    }

    /// Another worker asks for the lease; it gets it once the consumer has released it.
    pub(super) fn wanted(&mut self, by: WorkerId) {
        self.heir = Some(by);
    }

    /// The table was deleted.
    pub(super) fn table_missing(&mut self) {
        if !matches!(self.phase, Phase::Gone(_)) {
            self.leave(Gone::TableMissing);
        }
    }

    /// What to do now, when everything up to `watermark` is done.
    pub(super) fn next(&mut self, now: Instant, watermark: &Position) -> Step {
        if !matches!(self.phase, Phase::Gone(_)) && now >= self.valid_until {
            self.leave(Gone::Silent);
        }
        if matches!(self.phase, Phase::Idle) {
            self.begin(now, watermark);
        }
        // Short enough that a second and a third try fit in.
        let until = self.valid_until.min(now + self.timing.renew_interval / 2);
        if let Some(over) = self.pause.over
            && now < over
            && !matches!(self.phase, Phase::Gone(_))
        {
            return Step::Wait { until: over.min(self.valid_until) };
        }
        match &mut self.phase {
            Phase::Gone(gone) => Step::Exit(gone.clone()),
            Phase::Writing(attempt) => {
                attempt.sent = now;
                if !attempt.may_have_applied {
                    attempt.begun = now;
                }
                let (fence, change) = (self.lease.fence(), Box::new(attempt.change.clone()));
                Step::Write { fence, change, until }
            }
            Phase::Unsure(_) => Step::ReadBack { until },
            Phase::Idle => match self.asked.end.as_ref().and_then(|end| end.missing.last()) {
                Some(child) => Step::Create { child: Box::new(child.clone()), until },
                None => Step::Wait { until: self.renew_at.min(self.valid_until) },
            },
        }
    }

    /// What the write did.
    pub(super) fn wrote(
        &mut self,
        outcome: Result<Outcome, StoreError>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        let Phase::Writing(mut attempt) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        match outcome {
            // The fence tells that no earlier sending has applied, and that none can any more.
            Ok(Outcome::Applied) => {
                attempt.begun = attempt.sent;
                self.applied(*attempt, rng);
            }
            Ok(Outcome::Conflict(Some(current))) => self.judge(attempt, Some(*current), now, rng),
            Ok(Outcome::Conflict(None)) => self.phase = Phase::Unsure(attempt),
            Ok(Outcome::Missing) => self.fail(*attempt, Gone::Deleted),
            Err(error) => match error.kind() {
                StoreErrorKind::Unavailable => {
                    attempt.may_have_applied = true;
                    self.phase = Phase::Unsure(attempt);
                }
                StoreErrorKind::Throttled | StoreErrorKind::AccessDenied => {
                    self.pause.begin(now, rng);
                    self.phase = Phase::Writing(attempt);
                }
                StoreErrorKind::TableMissing => self.fail(*attempt, Gone::TableMissing),
                StoreErrorKind::Invalid => {
                    self.pause.begin(now, rng);
                    // Nobody reads it any more, whatever the table says: freed later, or lost.
                    if let Some(Gone::Freed(freed)) = attempt.then {
                        self.asked.free.get_or_insert((freed, Vec::new()));
                    }
                    self.refuse(attempt.waiters, &error);
                }
            },
        }
    }

    /// What the read showed.
    pub(super) fn read(
        &mut self,
        found: Result<Option<Lease>, StoreError>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        let Phase::Unsure(attempt) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        match found {
            Ok(current) => self.judge(attempt, current, now, rng),
            Err(error) if error.kind() == StoreErrorKind::TableMissing => {
                self.fail(*attempt, Gone::TableMissing);
            }
            Err(_) => {
                self.pause.begin(now, rng);
                self.phase = Phase::Unsure(attempt);
            }
        }
    }

    /// What became of creating the child: it is there, or left to another parent's end.
    pub(super) fn created(
        &mut self,
        outcome: Result<(), StoreError>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        match outcome {
            Ok(()) => {
                self.pause.end();
                if let Some(end) = &mut self.asked.end {
                    end.missing.pop();
                }
            }
            Err(error) if error.kind() == StoreErrorKind::TableMissing => {
                self.leave(Gone::TableMissing);
            }
            Err(error) => {
                self.pause.begin(now, rng);
                if !error.is_retryable()
                    && let Some(end) = self.asked.end.take()
                {
                    self.refuse(end.waiters, &error);
                }
            }
        }
    }

    /// Forms the next write, if one is due.
    fn begin(&mut self, now: Instant, watermark: &Position) {
        let left = matches!(self.asked.free, Some((Freed::Left, _)));
        let noted = (!left).then_some(watermark);
        let wanted = self.asked.position.take();
        let asked_more = wanted.as_ref() > Some(&self.lease.position);
        let newest = wanted.as_ref().max(noted);
        let mut change = Change {
            stride: self.stride,
            position: newest.filter(|at| **at > self.lease.position).cloned(),
            ..Change::default()
        };
        // A checkpoint before the prepared one does not undo the announcement.
        if let (Some(position), Some(pending)) = (&change.position, &self.lease.pending)
            && *position < pending.position
        {
            change.pending = Some(pending.clone());
        }
        let announced = self.asked.pending.take();
        let due = asked_more || announced.is_some() || now >= self.renew_at;
        if announced.is_some() {
            change.pending = announced;
        }
        let mut waiters = std::mem::take(&mut self.asked.waiters);
        let mut then = None;
        if let Some((freed, more)) = self.asked.free.take() {
            change.give_to(self.heir.as_ref().filter(|_| freed.may_be_handed_over()));
            waiters.extend(more);
            then = Some(Gone::Freed(freed));
        } else if let Some(end) = self.asked.end.take_if(|end| end.missing.is_empty()) {
            change.position = Some(Position::ShardEnd);
            change.pending = None;
            change.children = Some(end.children);
            waiters.extend(end.waiters);
            then = Some(Gone::Ended);
        } else if !due {
            // All that was asked for is durable already.
            return self.answer(waiters, || Ok(()));
        }
        let expected = change.apply_to(&self.lease);
        self.phase = Phase::Writing(Box::new(Attempt {
            change,
            expected,
            begun: now,
            sent: now,
            may_have_applied: false,
            waiters,
            then,
        }));
    }

    fn applied(&mut self, attempt: Attempt<R>, rng: &mut fastrand::Rng) {
        self.valid_until = attempt.begun + validity(&self.timing);
        self.renew_at = attempt.begun + spread(self.timing.renew_interval, rng);
        self.progressed |= attempt.change.position.is_some();
        self.lease = attempt.expected;
        self.pause.end();
        self.answer(attempt.waiters, || Ok(()));
        match attempt.then {
            Some(gone) => self.leave(gone),
            None => self.phase = Phase::Idle,
        }
    }

    /// Whether an attempt applied, when the lease is like this now.
    fn judge(
        &mut self,
        attempt: Box<Attempt<R>>,
        current: Option<Lease>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        let Some(current) = current else {
            return self.fail(*attempt, Gone::Deleted);
        };
        let expected = &attempt.expected;
        if attempt.may_have_applied
            && current.fence() == expected.fence()
            && current.position == expected.position
            && current.pending == expected.pending
            && current.children == expected.children
        {
            self.applied(*attempt, rng);
        } else if current.fence() == self.lease.fence() {
            let mut attempt = attempt;
            if attempt.change.hands_over && !attempt.change.fits(&current) {
                // The request was taken back, or another worker asks now.
                attempt.change.give_to(current.handoff_to.as_ref());
                attempt.expected = attempt.change.apply_to(&self.lease);
            } else {
                self.pause.begin(now, rng);
            }
            self.phase = Phase::Writing(attempt);
        } else {
            self.fail(*attempt, Gone::Taken(Box::new(current)));
        }
    }
}

/// A renewal comes up to a tenth early, by chance: leases that were granted together are not renewed together for ever. More
/// would spread them sooner, and cost more writes.
fn spread(renew_interval: Duration, rng: &mut fastrand::Rng) -> Duration {
    renew_interval.mul_f64(1.0 - 0.1 * rng.f64())
}

/// How long a write proves ownership, from its start.
fn validity(timing: &LeaseTiming) -> Duration {
    timing.lease_duration.saturating_sub(timing.fence_margin)
}

mod answers;
#[cfg(test)]
pub(super) mod test_state;
#[cfg(test)]
mod tests;
