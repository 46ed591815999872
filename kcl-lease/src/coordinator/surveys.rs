//! When the shards of each stream are compared with its leases.

use std::time::{Duration, Instant};

use kcl_core::StreamId;

use super::Message;
use super::run::{Coordinator, HOLE_PAUSE};
use crate::sync;

/// When a stream's next survey is.
#[derive(Debug, Clone, Copy)]
pub(super) struct SurveyTime {
    pub(super) due: Instant,
    /// From when on uncovered hash keys make it due.
    pub(super) if_hole: Instant,
}

impl Coordinator {
    /// Starts a survey of each stream whose time has come, or whose leases leave hash keys uncovered.
    pub(super) fn start_surveys(&mut self) {
        if !self.control.is_taking() {
            return;
        }
        let now = self.member.clock.now();
        let (streams, view) = (&self.streams, &self.view);
        let is_due = |id: &StreamId, survey: &mut SurveyTime| {
            let has_hole = || sync::has_hole(streams.leases(id, view.leases()));
            survey.due <= now || (survey.if_hole <= now && has_hole())
        };
        let due: Vec<_> = self.agenda.surveys.extract_if(.., is_due).collect();
        for (id, _) in due {
            let Some((stream, start)) = self.streams.by_id.get(&id).cloned() else {
                continue;
            };
            let (survey, inbox) = (self.survey.clone(), self.keeping.inbox.clone());
            self.member.tasks.spawn(async move {
                let surveyed = survey.complete(&stream, start).await;
                // Without a coordinator there is nobody to tell.
                let _ = inbox.send(Message::Surveyed(surveyed)).await;
            });
        }
    }

    pub(super) fn plan_survey(&mut self, stream: StreamId, pause: Duration) {
        let now = self.member.clock.now();
        let jitter = 0.9 + 0.2 * self.rng.f64();
        let next = SurveyTime { due: now + pause.mul_f64(jitter), if_hole: now + HOLE_PAUSE };
        self.agenda.surveys.insert(stream, next);
    }
}
