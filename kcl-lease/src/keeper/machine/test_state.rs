//! The machine as a value that can be copied and compared, for the search of all its states.

use super::*;

impl Clone for Machine<()> {
    /// Answers are left out: nobody waits.
    fn clone(&self) -> Self {
        Self {
            lease: self.lease.clone(),
            phase: self.phase.clone(),
            asked: self.asked.clone(),
            pause: self.pause.clone(),
            answers: Vec::new(),
            heir: self.heir.clone(),
            ..*self
        }
    }
}

impl Machine<()> {
    /// True when it holds the lease and nothing is under way.
    pub(in super::super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// All that decides what it will do, in tenths of a second from `now` on. `base` is the counter to count from.
    pub(in super::super) fn digest(&self, now: Instant, base: u64, into: &mut Vec<u8>) {
        let ahead = |at: Instant| tenths(at.saturating_duration_since(now));
        into.extend([
            counted(self.lease.counter, base),
            ahead(self.valid_until),
            ahead(self.renew_at),
            self.pause.over.map_or(0, ahead),
            code(&self.lease.position),
        ]);
        match &self.phase {
            Phase::Idle => into.push(0),
            Phase::Gone(_) => into.push(1),
            Phase::Writing(attempt) | Phase::Unsure(attempt) => {
                let unsure = matches!(self.phase, Phase::Unsure(_));
                into.extend([
                    2 + u8::from(unsure),
                    attempt.may_have_applied.into(),
                    tenths(now.saturating_duration_since(attempt.begun)),
                    tenths(now.saturating_duration_since(attempt.sent)),
                    attempt.then.is_some().into(),
                    attempt.change.position.as_ref().map_or(0, code),
                ]);
            }
        }
    }
}

/// Longer than two lease durations of ten seconds is all the same.
pub(in super::super) fn tenths(time: Duration) -> u8 {
    u8::try_from(time.as_millis() / 100).unwrap_or(u8::MAX).min(210)
}

/// How far a counter is behind.
pub(in super::super) fn counted(counter: u64, base: u64) -> u8 {
    u8::try_from(base.saturating_sub(counter)).unwrap_or(u8::MAX)
}

/// Positions in their order.
pub(in super::super) fn code(position: &Position) -> u8 {
    match position {
        Position::ShardEnd => 9,
        Position::Sequence { number, .. } => 1 + number.to_string().parse::<u8>().unwrap(),
        _ => 0,
    }
}
