//! The coordinator's loop: waits, looks, plans, acts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kcl_core::leasing::{LeaseEvent, LeasingError, Member};
use kcl_core::{Backoff, StreamId, metrics};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::DropGuard;

use super::aside::Aside;
use super::handoffs::Handoffs;
use super::surveys::SurveyTime;
use super::take::Taker;
use super::{Control, Message, Streams, Survey};
use crate::assign;
use crate::keeper::{Keeper, Keeping};
use crate::store::{Consistency, Outcome, Scan, StoreError, StoreErrorKind};
use crate::sync::Listing;
use crate::view::View;
use crate::{Lease, LeaseKey};

pub(super) struct Coordinator {
    pub(super) member: Member,
    pub(super) streams: Streams,
    pub(super) keeping: Arc<Keeping>,
    pub(super) survey: Survey,
    pub(super) taker: Taker,
    pub(super) control: Arc<Control>,
    pub(super) events: mpsc::Sender<LeaseEvent>,
    pub(super) view: View,
    pub(super) held: BTreeMap<LeaseKey, Keeper>,
    pub(super) shunned: BTreeSet<LeaseKey>,
    /// The children of shards that were read to their end here, until somebody has them.
    pub(super) heirs: BTreeSet<LeaseKey>,
    /// Leases that wait for a parent without a lease, as of the last plan.
    pub(super) waiting: BTreeSet<LeaseKey>,
    /// The newest listings, of the streams where leases wait.
    pub(super) listings: BTreeMap<StreamId, Listing>,
    /// What others were asked for.
    pub(super) handoffs: Handoffs,
    /// The streams that were added and have no leases yet, as far as is known; dropped when one is removed again.
    pub(super) founding: BTreeMap<StreamId, DropGuard>,
    /// Whether a stream was removed: its leases are not in the view.
    pub(super) has_left_streams: bool,
    pub(super) agenda: Agenda,
    pub(super) aside: Aside,
    /// Another live worker was seen under this one's id.
    pub(super) has_twin: bool,
    /// The explanation of the last plan, where they are logged.
    pub(super) explained: String,
    pub(super) rng: fastrand::Rng,
}

/// When what is due.
pub(super) struct Agenda {
    pub(super) scan: Instant,
    /// Failed scans in a row.
    pub(super) failures: u32,
    /// The next comparisons of shards and leases, of the streams where none is under way.
    pub(super) surveys: BTreeMap<StreamId, SurveyTime>,
    /// When free leases that were left to others are left no longer.
    pub(super) patience: Option<Instant>,
    /// The view has changed since the last plan.
    pub(super) replan: bool,
    /// When the last plan was made. What expires while its moves are executed was not in it.
    pub(super) planned: Instant,
}

/// Why the loop ends.
pub(super) enum End {
    TableMissing,
    Left(oneshot::Sender<usize>),
}

impl Coordinator {
    pub(super) fn new(
        member: Member,
        keeping: Arc<Keeping>,
        control: Arc<Control>,
        events: mpsc::Sender<LeaseEvent>,
    ) -> Self {
        let streams = Streams::new(&member);
        let now = member.clock.now();
        let at_once = SurveyTime { due: now, if_hole: now };
        Self {
            survey: Survey {
                api: member.api.clone(),
                calls: keeping.calls.clone(),
                streams: streams.clone(),
                clock: member.clock.clone(),
                timing: member.timing,
            },
            taker: Taker {
                worker: member.worker.clone(),
                calls: keeping.calls.clone(),
                clock: member.clock.clone(),
                timing: member.timing,
                stride: keeping.stride,
            },
            view: View::new(member.timing.lease_duration),
            held: BTreeMap::new(),
            shunned: BTreeSet::new(),
            heirs: BTreeSet::new(),
            waiting: BTreeSet::new(),
            listings: BTreeMap::new(),
            handoffs: Handoffs::default(),
            founding: BTreeMap::new(),
            has_left_streams: false,
            agenda: Agenda {
                scan: now,
                failures: 0,
                surveys: streams.by_id.keys().map(|id| (id.clone(), at_once)).collect(),
                patience: None,
                replan: true,
                planned: now,
            },
            aside: Aside::default(),
            has_twin: false,
            explained: String::new(),
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
        let (scan, started) = loop {
            let error = match self.scan().await {
                Ok(scanned) => break scanned,
                Err(error) => error,
            };
            if error.kind() == StoreErrorKind::TableMissing {
                return Err(self.table_missing());
            }
            if failures == FIRST_SCAN_RETRIES || !error.is_retryable() {
                return Err(LeasingError::Unavailable(error.into()));
            }
            self.member.clock.sleep(PAUSE.delay(failures, &mut self.rng)).await;
            failures += 1;
        };
        if let Some(reason) = self.streams.refusal(&scan.leases) {
            let table = self.keeping.calls.name().to_owned();
            return Err(LeasingError::TableForeign { table, reason });
        }
        self.fold(scan, started);
        let streams: Vec<_> = self.streams.by_id.values().cloned().collect();
        for (stream, start) in streams {
            if self.streams.leases(&stream.id, self.view.leases()).next().is_none() {
                let created = self.survey.found(&stream, start, &mut self.rng).await?;
                self.founded(stream.id, created);
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
                tracing::warn!(
                    table = self.keeping.calls.name(),
                    "lease table was deleted: all leases are lost, this worker stops"
                );
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
            self.change_streams().await;
            if let Err(end) = self.act().await {
                return end;
            }
            let wake = self.handoffs.due().into_iter().fold(self.wake(), Instant::min);
            let control = self.control.clone();
            let mut message = tokio::select! {
                biased;
                message = messages.recv() => message,
                () = control.streams_changed.notified() => continue,
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
                if let Err(end) = self.heed(told).await {
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
        wake = self.agenda.patience.map_or(wake, |patience| wake.min(patience));
        if self.agenda.failures == 0 {
            let me = Some(&self.member.worker);
            let mine =
                |lease: &Lease| lease.owner.as_ref() == me || self.held.contains_key(&lease.key);
            let startable = |lease: &Lease| assign::is_startable(&self.view, &self.waiting, lease);
            let takeable = |lease: &Lease| !mine(lease) && startable(lease);
            let expiry = self.view.next_expiry(self.agenda.planned, takeable);
            wake = expiry.map_or(wake, |expiry| wake.min(expiry));
        }
        wake
    }

    /// Scans, and starts the surveys that are due.
    async fn look(&mut self) -> Result<(), End> {
        let now = self.member.clock.now();
        if self.handoffs.due().is_some_and(|due| due <= now) {
            self.look_at_asked().await?;
            if now < self.wake() {
                return Ok(());
            }
        }
        if self.agenda.patience.take_if(|patience| *patience <= now).is_some() {
            self.agenda.replan = true;
            if now < self.wake() {
                return Ok(());
            }
        }
        let survey_is_due = self.agenda.surveys.values().any(|survey| survey.due <= now);
        if now >= self.agenda.scan || !survey_is_due {
            match self.scan().await {
                Ok((scan, started)) => {
                    self.agenda.failures = 0;
                    self.fold(scan, started);
                }
                Err(error) if error.kind() == StoreErrorKind::TableMissing => {
                    return Err(End::TableMissing);
                }
                Err(error) => self.scan_failed(&error),
            }
        }
        self.start_surveys();
        Ok(())
    }

    /// The leases, and when the look at them began.
    async fn scan(&self) -> Result<(Scan, Instant), StoreError> {
        let started = self.member.clock.now();
        let until = started + self.member.timing.lease_duration.max(SCAN_LIMIT);
        let scan = self.keeping.calls.scan(Consistency::Eventual, until).await?;
        Ok((scan, started))
    }

    fn fold(&mut self, mut scan: Scan, started: Instant) {
        let now = self.member.clock.now();
        self.aside.note(&scan, &*self.member.metrics);
        scan.leases.retain(|lease| self.streams.of(&lease.key).is_some());
        for lease in &scan.leases {
            if let Some(keeper) = self.held.get(&lease.key)
                && lease.owner.as_ref() != Some(&self.member.worker)
            {
                keeper.seen(lease);
            }
        }
        self.view.fold_scan(scan, started, now);
        for (key, keeper) in &self.held {
            let lease = self.view.get(key);
            let lease = lease.filter(|lease| lease.owner.as_ref() == Some(&self.member.worker));
            if let Some(asker) = lease.and_then(Lease::asker) {
                keeper.wanted(asker);
            }
        }
        self.agenda.scan = now + self.member.timing.scan_interval;
        self.agenda.replan = true;
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

    /// Takes note of a lease as it is now; not of one of a stream that is read no longer.
    pub(super) fn observe(&mut self, lease: Lease) {
        if self.streams.of(&lease.key).is_some() {
            self.view.observe(lease, self.member.clock.now());
        }
    }

    /// Takes note of leases that were just created, unless more is known.
    pub(super) fn learn(&mut self, created: Vec<Lease>) {
        for lease in created {
            if self.view.get(&lease.key).is_none() {
                self.observe(lease);
                self.agenda.replan = true;
            }
        }
    }

    pub(super) fn count_held(&self) {
        let held = self.held.len();
        self.control.held.store(held, Ordering::SeqCst);
        self.member.metrics.record(metrics::LEASES_HELD, None, held as f64);
    }

    /// Frees every lease; returns how many could not be freed.
    async fn leave(&mut self, messages: &mut mpsc::Receiver<Message>) -> usize {
        for keeper in self.held.values() {
            keeper.leave().await;
        }
        while !self.held.is_empty() {
            let Some(message) = messages.recv().await else {
                break;
            };
            if let Message::Exited(exit) = message {
                // A missing table changes nothing for a worker that leaves.
                let _ = self.exited(*exit);
            }
        }
        self.withdraw_all().await + self.disown().await + self.disown_unseen().await
    }

    /// The leases that carry this worker's name, of the streams that it reads.
    pub(super) fn claimed(&self) -> impl Iterator<Item = &Lease> {
        let me = Some(&self.member.worker);
        self.view.leases().filter(move |lease| lease.owner.as_ref() == me && !lease.has_ended())
    }

    /// Frees what still carries this worker's name though it was lost, so that peers need not wait until that expires; returns
    /// how many could not be freed.
    async fn disown(&self) -> usize {
        let me = Some(&self.member.worker);
        let own: Vec<_> = self.claimed().collect();
        let change = self.taker.giving_to(None);
        let until = self.member.clock.now() + self.member.timing.renew_interval;
        let mut unfreed = own.len();
        for lease in own {
            // What is told when the time to leave is over.
            self.control.held.store(unfreed, Ordering::SeqCst);
            let fence = lease.fence();
            let freed = match self.keeping.calls.update(&lease.key, &fence, &change, until).await {
                Ok(Outcome::Applied | Outcome::Missing) => true,
                Ok(Outcome::Conflict(Some(current))) => current.owner.as_ref() != me,
                Ok(Outcome::Conflict(None)) | Err(_) => false,
            };
            unfreed -= usize::from(freed);
        }
        unfreed
    }

    fn table_missing(&self) -> LeasingError {
        LeasingError::TableMissing { table: self.keeping.calls.name().to_owned() }
    }
}

const PAUSE: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
/// With the pauses about half a minute.
const FIRST_SCAN_RETRIES: u32 = 10;
/// How long a scan may take, at least; it pages.
const SCAN_LIMIT: Duration = Duration::from_secs(10);
/// Uncovered hash keys make a survey due at once, but not more often than this.
pub(super) const HOLE_PAUSE: Duration = Duration::from_secs(5);
