//! What a fan-out reader does next. Pure: events, time and chance come in, commands go out.

use std::time::{Duration, Instant, SystemTime};

use kcl_core::kinesis::ApiErrorKind;
use kcl_core::retrieval::{Doubt, Finding, Health, Verdict};
use kcl_core::{ChildShard, SequenceNumber, StartingPosition};

use crate::pace::Pace;

mod terms;

pub(crate) use terms::{Command, Epoch, Event, Note, Received};

/// An event comes every five seconds at the latest. Twice the gap without one is a dead subscription.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// So many subscriptions in a row that break without a record make a reader look whether the shard is closed.
const CUTS: u32 = 3;

/// Decides for one shard.
///
/// The executor asks for a [`command`](Self::command), reports the start of a SubscribeToShard by [`started`](Self::started), and
/// every outcome by [`handle`](Self::handle). A command whose outcome never came, because the future was dropped, is
/// given again.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    /// Where the next subscription begins: after what was returned, or at the start.
    from: StartingPosition,
    /// When it was opened, by this host's clock.
    opened: SystemTime,
    /// The newest record that was returned: none up to it is returned again.
    returned: Option<SequenceNumber>,
    /// The newest subscription. Events of older ones touch nothing.
    epoch: Epoch,
    pace: Pace,
    /// Whether this streak of failures was announced.
    announced: bool,
    /// Since when nothing has come.
    failing_since: Option<Instant>,
    /// Subscriptions in a row whose connections broke and that brought no records.
    cuts: u32,
    /// Whether the shard is closed, and what is left of it cannot be had by subscriptions.
    cut_short: bool,
    /// The children that a listing named, after an event had claimed the end without naming all.
    closed: Option<Vec<ChildShard>>,
}

/// ```text
///             subscribed                event
///  ┌─> Idle ─────────────> Live <──────────────────┐
///  │   │  ^                │  │ └──────────────────┘
///  │   │  └────────────────┤  │
///  │   │    ended, broken, │  │ event with all children
///  │   │    silent, slow   │  │ and no continuation
///  │   │                   │  └─────────────────────> Ended
///  │   │ not found,        │ not found, or an event      ^
///  │   │ refused           │ that claims the end without │
///  │   └──> Confirming <───┘ proof, or cut thrice with   │
///  │          │  │  │        nothing                      │
///  │          │  │  └────────── expired ─────────────────┘
///  └──────────┘  └ absent: reported; confirmed again if asked again
///    listed; or closed: subscribed again, and ended by an empty
///    first event that claims the end again
/// ```
#[derive(Debug)]
enum State {
    /// Has no subscription.
    Idle,
    /// Has one. A fresh one has not brought an event yet.
    Live { heard: Instant, fresh: bool },
    /// Kinesis said something that only a listing of the shards can make sure.
    Confirming(Doubt),
    /// Everything was returned.
    Ended(Vec<ChildShard>),
}

impl Machine {
    /// A reader that begins at `from`, and is made at `opened`.
    pub(crate) fn new(from: StartingPosition, opened: SystemTime) -> Self {
        Self {
            state: State::Idle,
            from,
            opened,
            returned: None,
            epoch: Epoch::default(),
            pace: Pace::default(),
            announced: false,
            failing_since: None,
            cuts: 0,
            cut_short: false,
            closed: None,
        }
    }

    /// What to do next. Asking changes nothing.
    pub(crate) fn command(&self, now: Instant) -> Command {
        let (command, ready) = match &self.state {
            State::Ended(children) => return Command::End(children.clone()),
            State::Live { heard, .. } => return Command::Listen(*heard + SILENCE),
            State::Idle => (Command::Subscribe(self.from.clone()), self.pace.may_subscribe()),
            State::Confirming(_) => (Command::Confirm, self.pace.may_ask()),
        };
        match ready {
            Some(ready) if now < ready => Command::Wait(ready),
            Some(_) | None => command,
        }
    }

    /// The newest subscription.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether it is of use.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    /// Whether a record was returned before.
    pub(crate) fn is_repeat(&self, number: &SequenceNumber) -> bool {
        self.returned.as_ref().is_some_and(|returned| number <= returned)
    }

    /// How it fares. A subscription has no limits to share.
    pub(crate) fn health(&self) -> Health {
        let Self { failing_since, cut_short, .. } = *self;
        Health { failing_since, crowded: false, cut_short }
    }

    /// A SubscribeToShard starts, and may have an effect even if its outcome never comes.
    pub(crate) fn started(&mut self, now: Instant) {
        self.pace.called(now);
        self.from = self.from.again(self.opened);
    }

    /// What came of a command.
    pub(crate) fn handle(
        &mut self,
        event: Event,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Note> {
        match event {
            Event::Subscribed => {
                self.epoch.0 += 1;
                self.pace.subscribed(now);
                self.state = State::Live { heard: now, fresh: true };
                None
            }
            Event::Refused(kind) => self.refused(kind, now, rng),
            Event::Received(epoch, _)
            | Event::Stirred(epoch)
            | Event::Ended(epoch)
            | Event::Broke(epoch, _)
            | Event::Silent(epoch)
            | Event::Slow(epoch)
                if epoch != self.epoch =>
            {
                None
            }
            Event::Received(_, received) => self.received(received, now),
            Event::Stirred(_) => {
                if let State::Live { heard, .. } = &mut self.state {
                    *heard = now;
                }
                None
            }
            Event::Ended(_) => self.ended(now, rng),
            Event::Broke(_, kind) => self.broke(kind, now, rng),
            Event::Silent(_) => self.drop_subscription().then(|| self.broken(now, rng)).flatten(),
            Event::Slow(_) => {
                self.drop_subscription();
                None
            }
            Event::Confirmed(finding) => self.confirmed(finding, now, rng),
            Event::ConfirmFailed(kind) => match kind {
                ApiErrorKind::NotFound => self.confirmed(Finding::Absent, now, rng),
                ApiErrorKind::Throttled => self.back_off(now, rng),
                _ => self.failed(now, rng),
            },
        }
    }

    /// Whether there was one.
    fn drop_subscription(&mut self) -> bool {
        let live = self.is_live();
        if live {
            self.state = State::Idle;
        }
        live
    }

    fn received(&mut self, received: Received, now: Instant) -> Option<Note> {
        let State::Live { fresh, .. } = self.state else {
            return None;
        };
        let Received { last, continuation, children } = received;
        let (silent, all_named) = (last.is_none(), !children.is_empty());
        let claims_end = continuation.is_none() || all_named;
        let proves_end = continuation.is_none() && all_named;
        self.failing_since = None;
        if !silent {
            self.cuts = 0;
        }
        for number in [&last, &continuation].into_iter().flatten() {
            self.advance(number);
        }
        self.returned = last.max(self.returned.take());
        self.state = match claims_end {
            false => State::Live { heard: now, fresh: false },
            true if proves_end => State::Ended(children),
            true => match self.closed.take() {
                // Listed as closed, and then read to nothing by a new subscription: no record can be left.
                Some(children) if fresh && silent => State::Ended(children),
                _ => State::Confirming(Doubt::EndUnproved),
            },
        };
        let attempts = self.pace.heard(now);
        std::mem::take(&mut self.announced).then_some(Note::Recovered(attempts))
    }

    /// The position only grows: a continuation behind what was returned is worth nothing.
    fn advance(&mut self, number: &SequenceNumber) {
        if self.from.sequence_number().is_none_or(|from| number >= from) {
            self.from = StartingPosition::AfterSequenceNumber(number.clone());
        }
    }

    fn ended(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<Note> {
        let State::Live { fresh, .. } = self.state else {
            return None;
        };
        self.state = State::Idle;
        self.pace.ended(now);
        if fresh { self.broken(now, rng) } else { None }
    }

    fn broke(&mut self, kind: ApiErrorKind, now: Instant, rng: &mut fastrand::Rng) -> Option<Note> {
        if !self.drop_subscription() {
            return None;
        }
        match kind {
            ApiErrorKind::ResourceInUse => {
                self.pace.evicted(now, rng);
                self.contested(now)
            }
            ApiErrorKind::NotFound => {
                self.state = State::Confirming(Doubt::NotFound);
                None
            }
            ApiErrorKind::Throttled => self.back_off(now, rng),
            ApiErrorKind::Unavailable | ApiErrorKind::Malformed if self.is_cut_again() => {
                self.state = State::Confirming(Doubt::NotFound);
                self.back_off(now, rng)
            }
            ApiErrorKind::Unavailable => self.broken(now, rng),
            _ => self.failed(now, rng),
        }
    }

    /// There are emulators that break the connection where a shard ends.
    fn is_cut_again(&mut self) -> bool {
        self.cuts += 1;
        self.cuts >= CUTS
    }

    fn refused(
        &mut self,
        kind: ApiErrorKind,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Note> {
        match kind {
            ApiErrorKind::ResourceInUse => {
                self.pace.refused(now, rng);
                self.contested(now)
            }
            ApiErrorKind::NotFound => {
                self.state = State::Confirming(Doubt::NotFound);
                None
            }
            ApiErrorKind::Throttled => self.back_off(now, rng),
            ApiErrorKind::InvalidArgument if self.from.sequence_number().is_some() => {
                self.state = State::Confirming(Doubt::PositionRefused);
                None
            }
            _ => self.failed(now, rng),
        }
    }

    fn contested(&mut self, now: Instant) -> Option<Note> {
        self.failing_since.get_or_insert(now);
        let fights = self.pace.fights();
        (fights && !std::mem::replace(&mut self.announced, true)).then_some(Note::Contested)
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
        let cut = std::mem::take(&mut self.cuts) >= CUTS;
        self.cut_short = cut && matches!(finding, Finding::Closed(_));
        match doubt.settle(finding) {
            Verdict::NotSo => {
                self.state = State::Idle;
                if cut { self.back_off(now, rng) } else { self.failed(now, rng) }
            }
            Verdict::Closed(children) => {
                // The event may have lied about the end while records were left: read on after the last one.
                self.closed = Some(children);
                self.state = State::Idle;
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
                self.state = State::Idle;
                let refused = std::mem::replace(&mut self.from, StartingPosition::TrimHorizon);
                Some(Note::RecordsLost(refused))
            }
            Verdict::Gone => {
                self.failed(now, rng);
                Some(Note::Gone)
            }
        }
    }

    /// Something broke that breaks every day.
    fn broken(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<Note> {
        self.back_off(now, rng);
        let loud = self.pace.is_streak();
        (loud && !std::mem::replace(&mut self.announced, true)).then_some(Note::Failing)
    }

    fn failed(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<Note> {
        self.back_off(now, rng);
        (!std::mem::replace(&mut self.announced, true)).then_some(Note::Failing)
    }

    /// Never worth a word.
    fn back_off(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<Note> {
        self.failing_since.get_or_insert(now);
        self.pace.failed(now, rng);
        None
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
