//! What a polling reader does next. Pure: events, time and chance come in, commands go out.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant, SystemTime};

use super::pace::Pace;
use crate::kinesis::{ApiErrorKind, ShardIterator};
use crate::retrieval::{Doubt, Finding, Health, Verdict};
use crate::{Backoff, ChildShard, SequenceNumber, StartingPosition};

/// Between failed calls.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Decides for one shard.
///
/// The executor asks for a [`command`](Self::command), reports its start by [`started`](Self::started) if it is a call, and
/// its outcome by [`handle`](Self::handle). A command whose outcome never came, because the future was dropped, is
/// given again.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    /// Where a new iterator begins: after the last record that was returned, or at the start.
    from: StartingPosition,
    /// When it was opened, by this host's clock.
    opened: SystemTime,
    pace: Pace,
    idle: RangeInclusive<Duration>,
    /// The idle interval after the next empty reply at the tip.
    next_idle: Duration,
    /// No call before this: backoff or idleness.
    not_before: Option<Instant>,
    /// Failed calls since the last page, of any kind.
    attempts: u32,
    /// Since the first of them.
    failing_since: Option<Instant>,
    /// Whether this streak of failures was announced.
    announced: bool,
    /// The children that a listing named, after a reply had ended without naming any.
    closed: Option<Vec<ChildShard>>,
}

/// ```text
///              opened                      page
///  ┌─> Opening ───────> Reading <───────────────────┐
///  │     │   ^            │ │ └─────────────────────┘
///  │     │   └────────────┤ │
///  │     │ expired,       │ │ page without next,
///  │     │ malformed      │ │ with all children
///  │     │                │ └──────────────────────> Ended
///  │     │ not found,     │ page without next or        ^
///  │     │ refused        │ children, not found         │
///  │     └─> Confirming <─┘                             │
///  │           │  │  └───────── expired ────────────────┘
///  └───────────┘  └ absent: reported; confirmed again if asked again
///    listed; or closed: read on, and ended by an empty
///    first page that ends again without children
/// ```
#[derive(Debug)]
enum State {
    /// Needs an iterator.
    Opening,
    /// Has one. A fresh one has not served a page yet.
    Reading { iterator: ShardIterator, fresh: bool },
    /// Kinesis said something that only a listing of the shards can make sure.
    Confirming(Doubt),
    /// Everything was returned.
    Ended(Vec<ChildShard>),
}

/// What the executor does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Waits.
    Wait(Instant),
    /// GetShardIterator.
    Open(StartingPosition),
    /// GetRecords.
    Fetch(ShardIterator),
    /// DescribeStreamSummary and ListShards: is it still the same stream, and what about the shard?
    Confirm,
    /// Tells the caller that the shard has ended.
    End(Vec<ChildShard>),
}

/// What came of a call.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// An iterator.
    Opened(ShardIterator),
    /// None.
    OpenFailed(ApiErrorKind),
    /// A page, which the caller gets if it has records.
    Page(Page),
    /// None.
    FetchFailed(ApiErrorKind),
    /// The stream is the same, or not; then the shard counts as absent.
    Confirmed(Finding),
    /// Unknown.
    ConfirmFailed(ApiErrorKind),
}

/// What the machine must know of a page.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// The last record's sequence number; `None` without records.
    pub(super) last: Option<SequenceNumber>,
    /// Payload bytes.
    pub(super) bytes: usize,
    /// Whether there is more to read: behind the tip, or as many records as were asked for.
    pub(super) more: bool,
    pub(super) next: Option<ShardIterator>,
    /// All the shards that follow, or none.
    pub(super) children: Vec<ChildShard>,
}

/// What is worth telling an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    /// A streak of failures begins.
    Failing,
    /// It is over, after this many failed calls.
    Recovered(u32),
    /// What follows this position has expired; reading goes on with the oldest record, or with the children.
    RecordsLost(StartingPosition),
    /// The stream or the shard is gone.
    Gone,
}

impl Machine {
    /// Begins at `from`; `opened` is the wall time of now.
    pub(super) fn new(
        from: StartingPosition,
        opened: SystemTime,
        pace: Pace,
        idle: RangeInclusive<Duration>,
    ) -> Self {
        Self {
            state: State::Opening,
            from,
            opened,
            pace,
            next_idle: *idle.start(),
            idle,
            not_before: None,
            attempts: 0,
            failing_since: None,
            announced: false,
            closed: None,
        }
    }

    /// What to do at `now`.
    pub(super) fn command(&self, now: Instant) -> Command {
        if let State::Ended(children) = &self.state {
            return Command::End(children.clone());
        }
        match self.not_before.max(self.pace.ready_at()) {
            Some(ready) if now < ready => Command::Wait(ready),
            Some(_) | None => match &self.state {
                State::Opening => Command::Open(self.from.clone()),
                State::Reading { iterator, .. } => Command::Fetch(iterator.clone()),
                State::Confirming(_) => Command::Confirm,
                State::Ended(children) => Command::End(children.clone()),
            },
        }
    }

    /// How it fares.
    pub(super) fn health(&self) -> Health {
        let crowded = self.pace.is_crowded();
        Health { failing_since: self.failing_since, crowded, cut_short: false }
    }

    /// A call starts, and may have an effect even if its outcome never comes.
    pub(super) fn started(&mut self, now: Instant) {
        self.pace.called(now);
        if matches!(self.state, State::Opening) {
            self.from = self.from.again(self.opened);
        }
    }

    /// A call's outcome.
    pub(super) fn handle(
        &mut self,
        event: Event,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Note> {
        match event {
            Event::Opened(iterator) => {
                let fresh = true;
                self.state = State::Reading { iterator, fresh };
                None
            }
            Event::OpenFailed(kind) => self.open_failed(kind, now, rng),
            Event::Page(page) => self.page(page),
            Event::FetchFailed(kind) => self.fetch_failed(kind, now, rng),
            Event::Confirmed(finding) => self.confirmed(finding, now, rng),
            Event::ConfirmFailed(kind) => match kind {
                ApiErrorKind::NotFound => self.confirmed(Finding::Absent, now, rng),
                ApiErrorKind::Throttled => self.throttled(now, rng),
                ApiErrorKind::ExpiredIterator
                | ApiErrorKind::ExpiredToken
                | ApiErrorKind::InvalidArgument
                | ApiErrorKind::AccessDenied
                | ApiErrorKind::ResourceInUse
                | ApiErrorKind::Unavailable
                | ApiErrorKind::Malformed => self.failed(now, rng),
            },
        }
    }

    fn page(&mut self, page: Page) -> Option<Note> {
        self.pace.read(page.bytes);
        let silent = page.last.is_none();
        let fresh = matches!(self.state, State::Reading { fresh: true, .. });
        if let Some(last) = page.last {
            self.from = StartingPosition::AfterSequenceNumber(last);
            self.next_idle = *self.idle.start();
        }
        self.not_before = None;
        if !page.more {
            self.not_before = self.pace.last_call().map(|start| start + self.next_idle);
        }
        if silent && !page.more {
            self.next_idle = (self.next_idle * 2).min(*self.idle.end());
        }
        self.state = match page.next {
            Some(iterator) => State::Reading { iterator, fresh: false },
            None if page.children.is_empty() => match self.closed.take() {
                // Listed as closed, and then read to nothing by a new iterator: no record can be left.
                Some(children) if fresh && silent => State::Ended(children),
                _ => State::Confirming(Doubt::EndUnproved),
            },
            None => State::Ended(page.children),
        };
        self.failing_since = None;
        let attempts = std::mem::take(&mut self.attempts);
        std::mem::take(&mut self.announced).then_some(Note::Recovered(attempts))
    }

    fn open_failed(
        &mut self,
        kind: ApiErrorKind,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Note> {
        match kind {
            ApiErrorKind::Throttled => self.throttled(now, rng),
            ApiErrorKind::NotFound => {
                self.state = State::Confirming(Doubt::NotFound);
                None
            }
            ApiErrorKind::InvalidArgument if self.from.sequence_number().is_some() => {
                self.state = State::Confirming(Doubt::PositionRefused);
                None
            }
            ApiErrorKind::InvalidArgument
            | ApiErrorKind::ExpiredIterator
            | ApiErrorKind::ExpiredToken
            | ApiErrorKind::AccessDenied
            | ApiErrorKind::ResourceInUse
            | ApiErrorKind::Unavailable
            | ApiErrorKind::Malformed => self.failed(now, rng),
        }
    }

    fn fetch_failed(
        &mut self,
        kind: ApiErrorKind,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Note> {
        match kind {
            ApiErrorKind::Throttled => self.throttled(now, rng),
            ApiErrorKind::NotFound => {
                self.state = State::Confirming(Doubt::NotFound);
                None
            }
            ApiErrorKind::ExpiredIterator => {
                // One that expired unused will not be the last: no storm of new ones.
                let fresh = matches!(self.state, State::Reading { fresh: true, .. });
                self.state = State::Opening;
                if fresh { self.failed(now, rng) } else { None }
            }
            ApiErrorKind::InvalidArgument | ApiErrorKind::Malformed => {
                self.state = State::Opening;
                self.failed(now, rng)
            }
            ApiErrorKind::ExpiredToken
            | ApiErrorKind::AccessDenied
            | ApiErrorKind::ResourceInUse
            | ApiErrorKind::Unavailable => self.failed(now, rng),
        }
    }

    fn confirmed(
        &mut self,
        finding: Finding,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Note> {
        let State::Confirming(doubt) = self.state else {
            return None;
        };
        match doubt.settle(finding) {
            Verdict::NotSo => {
                self.state = State::Opening;
                self.failed(now, rng)
            }
            Verdict::Closed(children) => {
                // The reply may have lied about its end while records were left: read on after the last one.
                self.closed = Some(children);
                self.state = State::Opening;
                None
            }
            Verdict::Ended(children) => {
                self.state = State::Ended(children);
                None
            }
            Verdict::EndedWithLoss(children) => {
                self.state = State::Ended(children);
                Some(Note::RecordsLost(self.from.clone()))
            }
            Verdict::Lost => {
                self.state = State::Opening;
                let refused = std::mem::replace(&mut self.from, StartingPosition::TrimHorizon);
                Some(Note::RecordsLost(refused))
            }
            Verdict::Gone => {
                self.failed(now, rng);
                Some(Note::Gone)
            }
        }
    }

    /// Others read the shard too: nothing to announce, but to leave them room.
    fn throttled(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<Note> {
        self.pace.throttled();
        self.back_off(now, rng);
        None
    }

    fn failed(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<Note> {
        self.back_off(now, rng);
        (!std::mem::replace(&mut self.announced, true)).then_some(Note::Failing)
    }

    fn back_off(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        self.not_before = Some(now + BACKOFF.delay(self.attempts, rng));
        self.attempts = self.attempts.saturating_add(1);
        self.failing_since.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests;
