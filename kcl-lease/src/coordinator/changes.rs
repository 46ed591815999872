//! Streams that are added and removed while the worker runs.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kcl_core::leasing::{LeaseEvent, LeasingError};
use kcl_core::{Backoff, StartFrom, Stream, StreamId};
use tokio_util::sync::CancellationToken;

use super::run::Coordinator;
use super::{Message, Streams, Survey, WIDTH};
use crate::Lease;
use crate::store::{Consistency, StoreErrorKind};
use crate::sync;

impl Coordinator {
    /// Takes note of the streams that are to be read from now on.
    pub(super) async fn change_streams(&mut self) {
        let Some(wanted) = self.control.changed_streams() else {
            return;
        };
        let wanted: BTreeMap<_, _> = wanted.into_iter().map(|s| (s.0.id.clone(), s)).collect();
        let known: Vec<_> = self.streams.by_id.keys().cloned().collect();
        for id in known.iter().filter(|id| !wanted.contains_key(id)) {
            self.forget_stream(id).await;
        }
        for (id, (stream, start)) in wanted {
            if !self.streams.by_id.contains_key(&id) {
                self.add_stream(id, stream, start);
            }
        }
        self.survey.streams = self.streams.clone();
        self.agenda.replan = true;
    }

    /// Its leases that are held stay so, until their consumers have drained.
    async fn forget_stream(&mut self, id: &StreamId) {
        tracing::info!(stream = %id, "stream removed; its leases stay in the table");
        self.streams.by_id.remove(id);
        self.founding.remove(id);
        self.listings.remove(id);
        self.agenda.surveys.remove(id);
        self.withdraw_strangers().await;
        self.has_left_streams = true;
        let streams = &self.streams;
        self.view.retain(|key| streams.of(key).is_some());
        self.heirs.retain(|key| streams.of(key).is_some());
    }

    /// Frees what still carries this worker's name, also of streams that it has left and so does not see; returns how many
    /// leases could not be freed. Others may have handed them over, or written late, long after it looked away.
    pub(super) async fn disown_unseen(&self) -> usize {
        if !self.has_left_streams {
            return 0;
        }
        let until = self.member.clock.now() + self.member.timing.renew_interval;
        let Ok(scan) = self.keeping.calls.scan(Consistency::Strong, until).await else {
            return 1;
        };
        let me = Some(&self.member.worker);
        let named = |lease: &Lease| {
            (lease.owner.as_ref() == me || lease.handoff_to.as_ref() == me) && !lease.has_ended()
        };
        let freed = stream::iter(scan.leases.into_iter().filter(named)).map(|lease| {
            let taker = self.taker.clone();
            async move { taker.withdraw(&lease.key).await }
        });
        let freed: Vec<_> = freed.buffer_unordered(WIDTH).collect().await;
        freed.iter().filter(|freed| freed.is_err()).count()
    }

    fn add_stream(&mut self, id: StreamId, stream: Stream, start: StartFrom) {
        tracing::info!(stream = %id, ?start, "stream added");
        self.streams.by_id.insert(id.clone(), (stream.clone(), start));
        let ended = CancellationToken::new();
        self.founding.insert(id.clone(), ended.clone().drop_guard());
        let (inbox, rng) = (self.keeping.inbox.clone(), self.rng.fork());
        let survey = Survey { streams: self.streams.clone(), ..self.survey.clone() };
        self.member.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = ended.cancelled() => {}
                founded = survey.found_added(&stream, start, rng) => {
                    // Without a coordinator there is nobody to tell.
                    let _ = inbox.send(Message::Founded(id, founded)).await;
                }
            }
        });
    }

    pub(super) async fn has_founded(&mut self, id: StreamId, created: Option<Vec<Lease>>) {
        if self.founding.remove(&id).is_none() {
            return;
        }
        self.founded(id.clone(), created);
        tokio::select! {
            biased;
            () = self.control.leaving.cancelled() => {}
            // A worker that is gone frees its leases otherwise.
            _ = self.events.send(LeaseEvent::StreamReady(id)) => {}
        }
    }

    /// Takes note of a stream's first leases; `None` when another worker made them.
    pub(super) fn founded(&mut self, id: StreamId, created: Option<Vec<Lease>>) {
        let Some(created) = created else {
            self.agenda.scan = self.member.clock.now();
            self.plan_survey(id, Duration::ZERO);
            return;
        };
        // The listing of a new application does not tell which parents are gone.
        let is_orphan = |lease| sync::lacks_a_parent(lease, |_| false);
        let has_orphans = created.iter().any(is_orphan);
        let pause = if has_orphans { Duration::ZERO } else { self.member.timing.sync_interval };
        self.learn(created);
        self.plan_survey(id, pause);
    }
}

impl Survey {
    /// Creates the leases of a stream that was added, and tries again for as long as it takes: whoever reads other streams does
    /// not stop for one. `None` when there are some.
    async fn found_added(
        &self,
        stream: &Stream,
        start: StartFrom,
        mut rng: fastrand::Rng,
    ) -> Option<Vec<Lease>> {
        let mut failures = 0;
        loop {
            let failure = match self.found_unless_recreated(stream, start, &mut rng).await {
                Ok(founded) => return founded,
                Err(failure) => failure,
            };
            tracing::warn!(stream = %stream.id, error = &failure as &dyn std::error::Error, "an added stream cannot be read yet, trying again");
            self.clock.sleep(PAUSE.delay(failures, &mut rng)).await;
            failures += 1;
        }
    }

    async fn found_unless_recreated(
        &self,
        stream: &Stream,
        start: StartFrom,
        rng: &mut fastrand::Rng,
    ) -> Result<Option<Vec<Lease>>, LeasingError> {
        let scan = self.scan().await.map_err(|error| match error.kind() {
            StoreErrorKind::TableMissing => {
                LeasingError::TableMissing { table: self.calls.name().to_owned() }
            }
            _ => LeasingError::Unavailable(error.into()),
        })?;
        if let Some(reason) = Streams::recreated(&stream.id, &scan.leases) {
            return Err(LeasingError::TableForeign { table: self.calls.name().to_owned(), reason });
        }
        self.found(stream, start, rng).await
    }
}

/// Between tries to begin with an added stream; each has retries of its own.
const PAUSE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
