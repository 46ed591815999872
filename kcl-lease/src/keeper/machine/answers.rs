//! What those who wait are told, and the end.

use kcl_core::leasing::CheckpointError;

use super::{Attempt, Gone, Machine, Phase};
use crate::store::StoreError;

impl<R> Machine<R> {
    pub(super) fn fail(&mut self, attempt: Attempt<R>, gone: Gone) {
        self.answer(attempt.waiters, || Err(CheckpointError::LeaseLost));
        self.leave(gone);
    }

    pub(super) fn refuse(&mut self, waiters: Vec<R>, error: &StoreError) {
        let refusal = || CheckpointError::Unavailable(error.to_string().into());
        self.answer(waiters, || Err(refusal()));
    }

    pub(super) fn answer(
        &mut self,
        waiters: Vec<R>,
        answer: impl Fn() -> Result<(), CheckpointError>,
    ) {
        let answers = waiters.into_iter().map(|waiter| (waiter, answer()));
        self.answers.extend(answers);
    }

    pub(super) fn leave(&mut self, gone: Gone) {
        let asked = std::mem::take(&mut self.asked);
        let mut waiters = asked.waiters;
        waiters.extend(asked.end.into_iter().flat_map(|end| end.waiters));
        waiters.extend(asked.free.into_iter().flat_map(|(_, waiters)| waiters));
        match std::mem::replace(&mut self.phase, Phase::Gone(gone)) {
            Phase::Writing(attempt) | Phase::Unsure(attempt) => waiters.extend(attempt.waiters),
            Phase::Idle | Phase::Gone(_) => {}
        }
        self.answer(waiters, || Err(CheckpointError::LeaseLost));
    }
}
