//! The coordinator's loop: waits, looks, plans, acts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use kcl_core::leasing::{Grant, LeaseEvent, LeasingError, Member, Release};
use kcl_core::metrics::{self, ShardMetrics};
use kcl_core::{Backoff, ShardId, StreamId};
use tokio::sync::{mpsc, oneshot};

use super::survey::SurveyError;
use super::take::{Taken, Taker};
use super::{Control, Message, Streams, Survey, Surveyed, WIDTH};
use crate::assign::{self, Claim, Me, Move};
use crate::bounded::bounded;
use crate::keeper::{Exit, Freed, Gone, Keeper, Keeping};
use crate::store::{Scan, StoreError, StoreErrorKind};
use crate::sync;
use crate::view::View;
use crate::{Lease, LeaseKey};

pub(super) struct Coordinator {
    member: Member,
    streams: Streams,
    keeping: Keeping,
    survey: Survey,
    taker: Taker,
    control: Arc<Control>,
    events: mpsc::Sender<LeaseEvent>,
    view: View,
    held: BTreeMap<LeaseKey, Keeper>,
    shunned: BTreeSet<LeaseKey>,
    agenda: Agenda,
    rng: fastrand::Rng,
}

/// When what is due.
struct Agenda {
    scan: Instant,
    /// Failed scans in a row.
    failures: u32,
    /// The next comparisons of shards and leases, of the streams where none is under way.
    surveys: BTreeMap<StreamId, SurveyTime>,
    /// The view has changed since the last plan.
    replan: bool,
}

#[derive(Clone, Copy)]
struct SurveyTime {
    due: Instant,
    /// From when on uncovered hash keys make it due.
    if_hole: Instant,
}

/// Why the loop ends.
enum End {
    TableMissing,
    Left(oneshot::Sender<usize>),
}

impl Coordinator {
    pub(super) fn new(
        member: Member,
        keeping: Keeping,
        control: Arc<Control>,
        events: mpsc::Sender<LeaseEvent>,
    ) -> Self {
        let streams = Streams::new(&member);
        let now = member.clock.now();
        let at_once = SurveyTime {
            due: now,
            if_hole: now,
        };
        Self {
            survey: Survey {
                api: member.api.clone(),
                store: keeping.store.clone(),
                streams: streams.clone(),
                clock: member.clock.clone(),
                timing: member.timing,
                metrics: member.metrics.clone(),
            },
            taker: Taker {
                worker: member.worker.clone(),
                store: keeping.store.clone(),
                clock: member.clock.clone(),
                timing: member.timing,
                metrics: member.metrics.clone(),
            },
            view: View::new(member.timing.lease_duration),
            held: BTreeMap::new(),
            shunned: BTreeSet::new(),
            agenda: Agenda {
                scan: now,
                failures: 0,
                surveys: streams
                    .by_id
                    .keys()
                    .map(|id| (id.clone(), at_once))
                    .collect(),
                replan: true,
            },
            rng: fastrand::Rng::with_seed(member.seed),
            member,
            streams,
            keeping,
            control,
            events,
        }
    }

    /// Sees the leases for the first time, and creates those of the streams that have none.
    pub(super) async fn begin(mut self) -> Result<Self, LeasingError> {
        let mut failures = 0;
        while let Err(error) = self.scan().await {
            if error.kind() == StoreErrorKind::TableMissing {
                return Err(self.table_missing());
            }
            if failures == FIRST_SCAN_RETRIES || !error.is_retryable() {
                return Err(LeasingError::Unavailable(error.into()));
            }
            self.member
                .clock
                .sleep(PAUSE.delay(failures, &mut self.rng))
                .await;
            failures += 1;
        }
        let streams: Vec<_> = self.streams.by_id.values().cloned().collect();
        for (stream, start) in streams {
            if self
                .streams
                .leases(&stream.id, self.view.leases())
                .next()
                .is_none()
            {
                if let Some(created) = self.survey.found(&stream, start, &mut self.rng).await? {
                    self.learn(created);
                    self.plan_survey(stream.id, self.member.timing.sync_interval);
                } else {
                    self.agenda.scan = self.member.clock.now();
                }
            }
        }
        Ok(self)
    }

    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        match self.work(&mut messages).await {
            End::Left(waiter) => {
                let unfreed = self.leave(&mut messages).await;
                // Who does not wait any more does not need to know.
                let _ = waiter.send(unfreed);
            }
            End::TableMissing => {
                tracing::warn!(table = %self.member.application, "lease table was deleted: all leases are lost, this worker stops");
                for keeper in self.held.values() {
                    keeper.table_missing();
                }
                let failed = LeaseEvent::Failed(self.table_missing());
                let _ = self.events.send(failed).await;
            }
        }
    }

    async fn work(&mut self, messages: &mut mpsc::Receiver<Message>) -> End {
        loop {
            if let Err(end) = self.act().await {
                return end;
            }
            let wake = self.wake();
            let mut message = tokio::select! {
                biased;
                message = messages.recv() => message,
                () = self.member.clock.sleep_until(wake) => None,
            };
            if message.is_none() {
                let leaving = self.control.leaving.clone();
                let looked = tokio::select! {
                    biased;
                    () = leaving.cancelled() => Ok(()),
                    looked = self.look() => looked,
                };
                if let Err(end) = looked {
                    return end;
                }
            }
            while let Some(told) = message {
                if let Err(end) = self.heed(told) {
                    return end;
                }
                message = messages.try_recv().ok();
            }
        }
    }

    /// When to look again: a scan or a survey is due, or somebody's lease expires.
    fn wake(&self) -> Instant {
        let mut wake = self.agenda.scan;
        if !self.control.is_taking() {
            return wake;
        }
        for survey in self.agenda.surveys.values() {
            wake = wake.min(survey.due);
        }
        if self.agenda.failures == 0 {
            let me = Some(&self.member.worker);
            let mine =
                |lease: &Lease| lease.owner.as_ref() == me || self.held.contains_key(&lease.key);
            let takeable = |lease: &Lease| !mine(lease) && assign::is_startable(&self.view, lease);
            let expiry = self.view.next_expiry(self.member.clock.now(), takeable);
            wake = expiry.map_or(wake, |expiry| wake.min(expiry));
        }
        wake
    }

    /// Scans, and starts the surveys that are due.
    async fn look(&mut self) -> Result<(), End> {
        let now = self.member.clock.now();
        let survey_is_due = self.agenda.surveys.values().any(|survey| survey.due <= now);
        if now >= self.agenda.scan || !survey_is_due {
            match self.scan().await {
                Ok(()) => self.agenda.failures = 0,
                Err(error) if error.kind() == StoreErrorKind::TableMissing => {
                    return Err(End::TableMissing);
                }
                Err(error) => self.scan_failed(&error),
            }
        }
        self.start_surveys();
        Ok(())
    }

    async fn scan(&mut self) -> Result<(), StoreError> {
        let clock = &self.member.clock;
        let started = clock.now();
        let until = started + self.member.timing.lease_duration.max(SCAN_LIMIT);
        self.member.metrics.record(metrics::LEASE_SCANS, None, 1.0);
        let mut scan = bounded(clock, until, "Scan", self.keeping.store.scan()).await?;
        let now = clock.now();
        self.count_unreadable(&scan);
        scan.leases
            .retain(|lease| self.streams.of(&lease.key).is_some());
        for lease in &scan.leases {
            if let Some(keeper) = self.held.get(&lease.key)
                && lease.owner.as_ref() != Some(&self.member.worker)
            {
                keeper.seen(lease);
            }
        }
        self.view.fold_scan(scan, started, now);
        self.agenda.scan = now + self.member.timing.scan_interval;
        self.agenda.replan = true;
        Ok(())
    }

    fn count_unreadable(&self, scan: &Scan) {
        if !scan.unreadable.is_empty() {
            let count = scan.unreadable.len() as f64;
            self.member
                .metrics
                .record(metrics::LEASES_UNREADABLE, None, count);
        }
    }

    fn scan_failed(&mut self, error: &StoreError) {
        if self.agenda.failures == 0 {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "leases cannot be scanned; held ones are kept, trying again"
            );
        }
        let pause = PAUSE.delay(self.agenda.failures, &mut self.rng);
        self.agenda.failures += 1;
        self.agenda.scan = self.member.clock.now() + pause;
    }

    /// Starts a survey of each stream whose time has come, or whose leases leave hash keys uncovered.
    fn start_surveys(&mut self) {
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
            let leases = self.streams.leases(&id, self.view.leases());
            let leases: Vec<Lease> = leases.cloned().collect();
            let (survey, inbox) = (self.survey.clone(), self.keeping.inbox.clone());
            self.member.tasks.spawn(async move {
                let surveyed = survey.complete(&stream, start, &leases).await;
                // Without a coordinator there is nobody to tell.
                let _ = inbox.send(Message::Surveyed(surveyed)).await;
            });
        }
    }

    fn plan_survey(&mut self, stream: StreamId, pause: Duration) {
        let now = self.member.clock.now();
        let jitter = 0.9 + 0.2 * self.rng.f64();
        let next = SurveyTime {
            due: now + pause.mul_f64(jitter),
            if_hole: now + HOLE_PAUSE,
        };
        self.agenda.surveys.insert(stream, next);
    }

    fn heed(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Exited(exit) => self.exited(*exit),
            Message::Surveyed(surveyed) => self.surveyed(surveyed),
            Message::Leave(waiter) => Err(End::Left(waiter)),
        }
    }

    fn surveyed(&mut self, surveyed: Surveyed) -> Result<(), End> {
        let Surveyed {
            stream,
            created,
            failure,
        } = surveyed;
        if failure.as_ref().is_some_and(SurveyError::is_table_missing) {
            return Err(End::TableMissing);
        }
        if let Some(failure) = &failure {
            tracing::warn!(%stream, error = failure as &dyn std::error::Error, "shards not compared with leases, trying again later");
        }
        self.learn(created);
        let interval = self.member.timing.sync_interval;
        let failed = failure.is_some();
        self.plan_survey(
            stream,
            if failed {
                interval.min(HOLE_PAUSE)
            } else {
                interval
            },
        );
        Ok(())
    }

    /// Takes note of leases that were just created, unless more is known.
    fn learn(&mut self, created: Vec<Lease>) {
        let now = self.member.clock.now();
        for lease in created {
            if self.view.get(&lease.key).is_none() {
                self.view.observe(lease, now);
                self.agenda.replan = true;
            }
        }
    }

    fn exited(&mut self, exit: Exit) -> Result<(), End> {
        let Exit {
            key,
            gone,
            last,
            children,
        } = exit;
        self.held.remove(&key);
        self.count_held();
        let now = self.member.clock.now();
        self.agenda.replan = true;
        let lost = |why: &str| {
            tracing::info!(lease = %key, why, "lost a lease");
            self.member.metrics.record(metrics::LEASES_LOST, None, 1.0);
        };
        match gone {
            Gone::Taken(current) => {
                lost("another worker took it");
                self.view.observe(*current, now);
            }
            Gone::Deleted => {
                lost("it was deleted");
                self.view.remove(&key);
            }
            Gone::Silent => {
                lost("no renewal succeeded in time");
                self.view.observe(last, now);
            }
            Gone::TableMissing => {
                lost("the table was deleted");
                return Err(End::TableMissing);
            }
            Gone::Ended => {
                tracing::info!(lease = %key, "shard has ended");
                self.view.observe(last, now);
                self.learn(children);
            }
            Gone::Freed(freed) => {
                tracing::info!(lease = %key, ?freed, "freed a lease");
                self.view.observe(last, now);
                if freed == Freed::Released(Release::Halted) {
                    self.shunned.insert(key);
                }
            }
        }
        Ok(())
    }

    /// Plans and executes, when something has changed.
    async fn act(&mut self) -> Result<(), End> {
        if !std::mem::take(&mut self.agenda.replan) || !self.control.is_taking() {
            return Ok(());
        }
        let held = self.held.keys().cloned().collect();
        let me = Me {
            worker: &self.member.worker,
            held: &held,
            shunned: &self.shunned,
            max_leases: self.member.max_leases,
        };
        let moves = assign::plan(&self.view, &me, self.member.clock.now(), &mut self.rng);
        let (taker, control) = (self.taker.clone(), self.control.clone());
        let taken = stream::iter(moves).map(|planned| {
            let (taker, control) = (taker.clone(), control.clone());
            async move {
                let taken = if control.is_taking() {
                    Some(taker.take(&planned).await)
                } else {
                    None
                };
                (planned, taken)
            }
        });
        let mut taken = std::pin::pin!(taken.buffer_unordered(WIDTH));
        while let Some((planned, taken)) = taken.next().await {
            let Some(taken) = taken else { continue };
            let now = self.member.clock.now();
            let (Move::Take(claim) | Move::Steal(claim)) = &planned;
            match taken {
                Taken::Won(lease, begun) => self.won(&planned, claim, lease, begun).await,
                Taken::Missed(found) => self.view.observe(found, now),
                Taken::Deleted => self.view.remove(&claim.lease.key),
                Taken::Failed(error) if error.kind() == StoreErrorKind::TableMissing => {
                    return Err(End::TableMissing);
                }
                Taken::Failed(error) => {
                    tracing::info!(lease = %claim.lease.key, error = &error as &dyn std::error::Error, "lease not taken");
                }
            }
        }
        Ok(())
    }

    async fn won(&mut self, planned: &Move, claim: &Claim, lease: Lease, begun: Instant) {
        let Some((stream, start)) = self.streams.of(&lease.key) else {
            return;
        };
        let metric = match planned {
            Move::Take(_) => metrics::LEASES_TAKEN,
            Move::Steal(_) => metrics::LEASES_STOLEN,
        };
        self.member.metrics.record(metric, None, 1.0);
        let before = claim
            .lease
            .owner
            .as_ref()
            .map_or("-", |owner| owner.as_str());
        tracing::info!(lease = %lease.key, why = claim.why, before, position = %lease.position, "took a lease");
        let (position, started_at) =
            sync::where_to_read(&lease, self.has_known_parent(&lease), *start);
        let figures = ShardMetrics::new(
            self.member.metrics.clone(),
            stream.id.clone(),
            lease.key.shard().clone(),
        );
        let (keeper, held) = self
            .keeping
            .keep(lease.clone(), begun, figures, self.rng.fork());
        let grant = Grant {
            stream: stream.clone(),
            shard: lease.key.shard().clone(),
            hash_range: lease.hash_range,
            position,
            started_at,
            pending: lease.pending.clone(),
            lease: held,
        };
        self.held.insert(lease.key.clone(), keeper);
        self.view.observe(lease, self.member.clock.now());
        self.count_held();
        let granted = LeaseEvent::Granted(Box::new(grant));
        // A grant that nobody receives is dropped, and so frees its lease.
        let received = tokio::select! {
            biased;
            () = self.control.leaving.cancelled() => true,
            sent = self.events.send(granted) => sent.is_ok(),
        };
        if !received {
            self.control.taking.store(false, Ordering::SeqCst);
        }
    }

    fn has_known_parent(&self, lease: &Lease) -> bool {
        let is_known =
            |parent: &ShardId| self.view.get(&lease.key.sibling(parent.clone())).is_some();
        lease.parents.iter().any(is_known)
    }

    fn count_held(&self) {
        let held = self.held.len();
        self.control.held.store(held, Ordering::SeqCst);
        self.member
            .metrics
            .record(metrics::LEASES_HELD, None, held as f64);
    }

    /// Frees every lease; returns how many could not be freed.
    async fn leave(&mut self, messages: &mut mpsc::Receiver<Message>) -> usize {
        for keeper in self.held.values() {
            keeper.leave().await;
        }
        let mut unfreed = 0;
        while !self.held.is_empty() {
            let Some(message) = messages.recv().await else {
                break;
            };
            if let Message::Exited(exit) = message {
                unfreed += usize::from(matches!(exit.gone, Gone::Silent | Gone::TableMissing));
                // A missing table changes nothing for a worker that leaves.
                let _ = self.exited(*exit);
            }
        }
        unfreed
    }

    fn table_missing(&self) -> LeasingError {
        let table = self.member.application.to_string();
        LeasingError::TableMissing { table }
    }
}

const PAUSE: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
/// With the pauses about half a minute.
const FIRST_SCAN_RETRIES: u32 = 10;
/// How long a scan may take, at least; it pages.
const SCAN_LIMIT: Duration = Duration::from_secs(10);
/// Uncovered hash keys make a survey due at once, but not more often than this.
const HOLE_PAUSE: Duration = Duration::from_secs(5);
