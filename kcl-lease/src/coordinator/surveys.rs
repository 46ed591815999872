//! When the shards of each stream are compared with its leases, and which leases wait for that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kcl_core::StreamId;

use super::Message;
use super::run::{Coordinator, HOLE_PAUSE};
use crate::Lease;
use crate::sync;

/// When a stream's next survey is.
#[derive(Debug, Clone, Copy)]
pub(super) struct SurveyTime {
    pub(super) due: Instant,
    /// From when on uncovered hash keys, or leases that wait for it, make it due.
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
            let mut rng = self.rng.fork();
            self.member.tasks.spawn(async move {
                let surveyed = survey.complete(&stream, start, &mut rng).await;
                // Without a coordinator there is nobody to tell.
                let _ = inbox.send(Message::Surveyed(surveyed)).await;
            });
        }
    }

    /// Finds the leases that wait for a parent without a lease. Where a survey would bring them on it becomes due, at most
    /// one at a time and as seldom as for a hole, however many leases wait.
    pub(super) fn find_waiting(&mut self) {
        let mut orphans: BTreeMap<StreamId, Vec<(&Lease, Instant)>> = BTreeMap::new();
        for (lease, since) in self.view.known() {
            if sync::lacks_a_parent(lease, |parent| self.view.get(parent).is_some())
                && let Some((stream, _)) = self.streams.of(&lease.key)
            {
                orphans.entry(stream.id.clone()).or_default().push((lease, since));
            }
        }
        self.listings.retain(|stream, _| orphans.contains_key(stream));
        self.waiting.clear();
        for (id, orphans) in orphans {
            let Some((_, start)) = self.streams.by_id.get(&id) else {
                continue;
            };
            let leases = self.streams.leases(&id, self.view.leases());
            let mut found = sync::waiting(self.listings.get(&id), leases, &orphans, *start);
            self.waiting.append(&mut found.leases);
            if found.needs_survey
                && let Some(survey) = self.agenda.surveys.get_mut(&id)
            {
                survey.due = survey.due.min(survey.if_hole);
            }
        }
    }

    pub(super) fn plan_survey(&mut self, stream: StreamId, pause: Duration) {
        let now = self.member.clock.now();
        let jitter = 0.9 + 0.2 * self.rng.f64();
        let next = SurveyTime { due: now + pause.mul_f64(jitter), if_hole: now + HOLE_PAUSE };
        self.agenda.surveys.insert(stream, next);
    }
}
