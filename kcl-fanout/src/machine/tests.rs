use kcl_core::{Clock, HashRange, ShardId};

use super::*;

const OPENED: SystemTime = SystemTime::UNIX_EPOCH;

pub(super) fn number(value: u64) -> SequenceNumber {
    value.to_string().parse().unwrap()
}

fn at(value: u64) -> StartingPosition {
    StartingPosition::AtSequenceNumber(number(value))
}

pub(super) fn after(value: u64) -> StartingPosition {
    StartingPosition::AfterSequenceNumber(number(value))
}

fn later() -> Command {
    Command::Subscribe(StartingPosition::AtTimestamp(OPENED + Duration::from_secs(55)))
}

pub(super) fn children() -> Vec<ChildShard> {
    vec![ChildShard {
        id: ShardId::new("shardId-000000000009").unwrap(),
        parents: vec![ShardId::new("shardId-000000000000").unwrap()],
        hash_range: HashRange::WHOLE,
    }]
}

/// An event with records up to `last`, and a continuation.
pub(super) fn event(last: Option<u64>, continuation: Option<u64>) -> Received {
    let (last, continuation) = (last.map(number), continuation.map(number));
    Received { last, continuation, children: Vec::new() }
}

fn ending(last: Option<u64>) -> Received {
    Received { children: children(), ..event(last, None) }
}

/// What happens to a machine: outcomes of its newest subscription, or of its calls.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Subscribed,
    Refused(ApiErrorKind),
    Event(Received),
    Ended,
    Broke(ApiErrorKind),
    Silent,
    Slow,
    Confirmed(Finding),
    ConfirmFailed(ApiErrorKind),
    Pass(u64),
}

use Step::{Broke, Confirmed, Ended, Pass, Refused, Silent, Slow, Subscribed};

/// Plays a history, waiting out every pause.
pub(super) struct Run {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    pub(super) begun: Instant,
    rng: fastrand::Rng,
    pub(super) calls: Vec<Duration>,
    pub(super) notes: Vec<Note>,
}

impl Run {
    pub(super) fn new(from: StartingPosition) -> Self {
        let now = Clock::system().now();
        Self {
            machine: Machine::new(from, OPENED + Duration::from_secs(60)),
            now,
            begun: now,
            rng: fastrand::Rng::with_seed(1),
            calls: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The next command that is no pause; a call starts.
    pub(super) fn next(&mut self) -> Command {
        loop {
            match self.machine.command(self.now) {
                Command::Wait(until) => self.now = until,
                Command::Subscribe(from) => {
                    self.machine.started(self.now);
                    self.calls.push(self.now - self.begun);
                    return Command::Subscribe(from);
                }
                command => return command,
            }
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        let note = self.machine.handle(event, self.now, &mut self.rng);
        self.notes.extend(note);
    }

    pub(super) fn step(&mut self, step: Step) {
        let epoch = self.machine.epoch();
        self.handle(match step {
            Subscribed => Event::Subscribed,
            Refused(kind) => Event::Refused(kind),
            Step::Event(received) => Event::Received(epoch, received),
            Ended => Event::Ended(epoch),
            Broke(kind) => Event::Broke(epoch, kind),
            Silent => Event::Silent(epoch),
            Slow => Event::Slow(epoch),
            Confirmed(finding) => Event::Confirmed(finding),
            Step::ConfirmFailed(kind) => Event::ConfirmFailed(kind),
            Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                return;
            }
        });
    }

    /// Each step follows a command.
    fn after(&mut self, steps: impl IntoIterator<Item = Step>) -> Command {
        for step in steps {
            self.next();
            self.step(step);
        }
        self.next()
    }

    /// How long until the next call.
    fn pause(&mut self) -> Duration {
        let before = self.now;
        self.next();
        self.now - before
    }
}

fn records(last: u64) -> Step {
    Step::Event(event(Some(last), Some(last)))
}

fn beat(continuation: u64) -> Step {
    Step::Event(event(None, Some(continuation)))
}

/// From each start, after some history: where the next subscription begins.
#[test]
fn a_subscription_begins_after_what_was_returned() {
    type Row = (&'static str, StartingPosition, Vec<Step>, StartingPosition);
    let oldest = || StartingPosition::TrimHorizon;
    let cut = || Broke(ApiErrorKind::Unavailable);
    let table: Vec<Row> = vec![
        ("the start", oldest(), vec![], oldest()),
        ("nothing came", oldest(), vec![Subscribed, cut()], oldest()),
        ("records", oldest(), vec![Subscribed, records(7), cut()], after(7)),
        (
            "a heartbeat moves on too",
            oldest(),
            vec![Subscribed, records(7), beat(9), cut()],
            after(9),
        ),
        (
            "no continuation",
            at(3),
            vec![Subscribed, Step::Event(event(Some(7), None)), Confirmed(Finding::Listed)],
            after(7),
        ),
        (
            "a17 neither records nor continuation",
            at(3),
            vec![Subscribed, Step::Event(event(None, None)), Confirmed(Finding::Listed)],
            at(3),
        ),
        (
            "a continuation behind the records",
            at(3),
            vec![Subscribed, Step::Event(event(Some(7), Some(5))), cut()],
            after(7),
        ),
        ("a continuation behind the start", at(3), vec![Subscribed, beat(2), cut()], at(3)),
        (
            "a continuation that goes back",
            at(3),
            vec![Subscribed, records(7), beat(6), cut()],
            after(7),
        ),
        (
            "the end of five minutes",
            at(3),
            vec![Subscribed, records(7), Pass(300), Ended],
            after(7),
        ),
        ("silence", at(3), vec![Subscribed, records(7), Silent], after(7)),
        ("a slow processor", at(3), vec![Subscribed, records(7), Slow], after(7)),
        (
            "a refused position",
            at(3),
            vec![Refused(ApiErrorKind::InvalidArgument), Confirmed(Finding::Listed)],
            oldest(),
        ),
        (
            "a time in the future",
            StartingPosition::AtTimestamp(OPENED),
            vec![Refused(ApiErrorKind::InvalidArgument)],
            StartingPosition::AtTimestamp(OPENED),
        ),
    ];
    for (what, from, steps, expected) in table {
        assert_eq!(Run::new(from).after(steps), Command::Subscribe(expected), "{what}");
    }
}

#[test]
fn latest_becomes_a_time_once_a_subscription_may_have_begun() {
    let latest = || Run::new(StartingPosition::Latest);
    let mut lost = latest();
    assert_eq!(lost.next(), Command::Subscribe(StartingPosition::Latest));
    assert_eq!(lost.next(), later(), "an outcome that never came");
    assert_eq!(latest().after([Refused(ApiErrorKind::Throttled)]), later());
    assert_eq!(latest().after([Subscribed, Broke(ApiErrorKind::Unavailable)]), later());
    let heard = [Subscribed, beat(4), Broke(ApiErrorKind::Unavailable)];
    assert_eq!(latest().after(heard), Command::Subscribe(after(4)));
}

/// A8, A9, A17: what ends a shard, and what does not.
#[test]
fn a8_a9_a17_a_shard_ends_when_that_is_proved() {
    type Row = (&'static str, Vec<Step>, Command);
    let end = || Command::End(children());
    let subscribe = || Command::Subscribe(after(1));
    let no_word = || Step::Event(event(None, None));
    let closed = || Confirmed(Finding::Closed(children()));
    let not_found = || Broke(ApiErrorKind::NotFound);
    let named_too = Received { children: children(), ..event(None, Some(1)) };
    let table: Vec<Row> = vec![
        ("children and no continuation", vec![Subscribed, Step::Event(ending(None))], end()),
        ("with the last records", vec![Subscribed, Step::Event(ending(Some(9)))], end()),
        ("an empty continuation alone is doubted", vec![Subscribed, no_word()], Command::Confirm),
        (
            "and the listing denies it",
            vec![Subscribed, no_word(), Confirmed(Finding::Listed)],
            subscribe(),
        ),
        ("or confirms it: then read on", vec![Subscribed, no_word(), closed()], subscribe()),
        ("to an empty end", vec![Subscribed, no_word(), closed(), Subscribed, no_word()], end()),
        (
            "records were left",
            vec![Subscribed, no_word(), closed(), Subscribed, Step::Event(event(Some(9), None))],
            Command::Confirm,
        ),
        (
            "a continuation with children is doubted",
            vec![Subscribed, Step::Event(named_too.clone())],
            Command::Confirm,
        ),
        (
            "and ends if said again",
            vec![
                Subscribed,
                Step::Event(named_too.clone()),
                closed(),
                Subscribed,
                Step::Event(named_too),
            ],
            end(),
        ),
        (
            "expired unread",
            vec![Refused(ApiErrorKind::NotFound), Confirmed(Finding::Expired(children()))],
            end(),
        ),
        ("not found at the call", vec![Refused(ApiErrorKind::NotFound)], Command::Confirm),
        ("not found in the middle", vec![Subscribed, not_found()], Command::Confirm),
        ("but listed", vec![Subscribed, not_found(), Confirmed(Finding::Listed)], subscribe()),
        ("or closed", vec![Subscribed, not_found(), closed()], subscribe()),
        ("or absent", vec![Subscribed, not_found(), Confirmed(Finding::Absent)], Command::Confirm),
        (
            "not even the listing",
            vec![Subscribed, not_found(), Step::ConfirmFailed(ApiErrorKind::AccessDenied)],
            Command::Confirm,
        ),
        ("denied", vec![Refused(ApiErrorKind::AccessDenied)], subscribe()),
        ("denied in the middle", vec![Subscribed, Broke(ApiErrorKind::AccessDenied)], subscribe()),
    ];
    for (what, steps, expected) in table {
        assert_eq!(Run::new(after(1)).after(steps), expected, "{what}");
    }
}

/// How long after what a new subscription is tried.
#[test]
fn d5_calls_keep_their_distance() {
    type Row = (&'static str, Vec<Step>, std::ops::RangeInclusive<u64>);
    let busy = || ApiErrorKind::ResourceInUse;
    let table: Vec<Row> = vec![
        ("the first", vec![], 0..=0),
        ("five minutes are over", vec![Subscribed, records(2), Pass(300), Ended], 0..=0),
        (
            "cut at once: five seconds",
            vec![Subscribed, Broke(ApiErrorKind::Unavailable)],
            5050..=5050,
        ),
        (
            "cut after a while",
            vec![Subscribed, Pass(60), records(2), Broke(ApiErrorKind::Unavailable)],
            50..=100,
        ),
        ("silence", vec![Subscribed, Pass(10), Silent], 50..=100),
        ("a slow processor", vec![Subscribed, Pass(10), Slow], 0..=0),
        ("refused", vec![Refused(busy())], 1050..=1050),
        ("refused again", vec![Refused(busy()), Refused(busy())], 1050..=1050),
        ("refused all the time", vec![Refused(busy()); 20], 1500..=3000),
        ("throttled", vec![Refused(ApiErrorKind::Throttled)], 1050..=1050),
        ("throttled all the time", vec![Refused(ApiErrorKind::Throttled); 20], 2500..=5000),
        ("evicted", vec![Subscribed, Pass(10), records(2), Broke(busy())], 2500..=5000),
        (
            "evicted in order",
            vec![Subscribed, Pass(10), records(2), Ended, Refused(busy())],
            2500..=5000,
        ),
        (
            "evicted twice",
            vec![Subscribed, Pass(10), Broke(busy()), Subscribed, Pass(10), Broke(busy())],
            5000..=10_000,
        ),
        (
            "peace ends a fight",
            vec![
                Subscribed,
                Pass(10),
                Broke(busy()),
                Subscribed,
                Pass(60),
                records(2),
                Pass(10),
                Broke(busy()),
            ],
            2500..=5000,
        ),
    ];
    for (what, steps, millis) in table {
        let mut run = Run::new(after(1));
        for step in steps {
            if !matches!(step, Pass(_)) {
                run.next();
            }
            run.step(step);
        }
        let pause = u64::try_from(run.pause().as_millis()).unwrap();
        assert!(millis.contains(&pause), "{what}: {pause} ms");
    }
}

/// C6, B7: events of a subscription that was replaced touch nothing.
#[test]
fn c6_an_older_subscription_touches_nothing() {
    let mut run = Run::new(after(1));
    run.after([Subscribed]);
    let old = run.machine.epoch();
    run.after([Broke(ApiErrorKind::Unavailable), Subscribed, records(5)]);
    let before = format!("{:?}", run.machine);
    for late in [
        Event::Received(old, event(Some(9), Some(9))),
        Event::Received(old, ending(None)),
        Event::Stirred(old),
        Event::Ended(old),
        Event::Broke(old, ApiErrorKind::NotFound),
        Event::Silent(old),
        Event::Slow(old),
    ] {
        run.handle(late.clone());
        assert_eq!(format!("{:?}", run.machine), before, "{late:?}");
    }
    // Nor does one of a subscription that has ended already.
    run.after([Broke(ApiErrorKind::Unavailable)]);
    run.step(Step::Event(ending(Some(9))));
    assert_eq!(run.next(), Command::Subscribe(after(5)));
}

#[test]
fn b6_a_subscription_is_silent_after_twice_the_gap() {
    let mut run = Run::new(after(1));
    run.after([Subscribed]);
    let subscribed = run.now;
    assert_eq!(run.next(), Command::Listen(subscribed + Duration::from_secs(10)));
    run.step(Pass(7));
    run.step(beat(3));
    assert_eq!(run.next(), Command::Listen(subscribed + Duration::from_secs(17)));
    run.step(Pass(9));
    run.handle(Event::Stirred(run.machine.epoch()));
    assert_eq!(run.next(), Command::Listen(subscribed + Duration::from_secs(26)));
}

#[test]
fn records_that_come_again_are_known() {
    let mut run = Run::new(at(5));
    assert!(!run.machine.is_repeat(&number(5)));
    run.after([Subscribed, records(7), beat(20)]);
    let repeats: Vec<u64> = (5..10).filter(|n| run.machine.is_repeat(&number(*n))).collect();
    assert_eq!(repeats, [5, 6, 7]);
}

#[test]
fn a_streak_is_announced_once_and_daily_business_never() {
    let cut = || Broke(ApiErrorKind::Unavailable);
    let quiet =
        [Subscribed, cut(), Subscribed, records(2), Pass(60), cut(), Subscribed, records(3)];
    let mut run = Run::new(after(1));
    run.after(quiet);
    assert_eq!(run.notes, []);
    let throttled = vec![Refused(ApiErrorKind::Throttled); 9];
    run.after([cut()].into_iter().chain(throttled).chain([Subscribed, records(4)]));
    assert_eq!(run.notes, []);
    run.after([cut(), Refused(ApiErrorKind::AccessDenied), Refused(ApiErrorKind::AccessDenied)]);
    run.after([Subscribed, records(5), beat(6)]);
    assert_eq!(run.notes, [Note::Failing, Note::Recovered(3)]);
}

#[test]
fn a_fight_is_announced() {
    let mut run = Run::new(after(1));
    for _ in 0..4 {
        run.after([Subscribed, Broke(ApiErrorKind::ResourceInUse)]);
    }
    assert_eq!(run.notes, [Note::Contested]);
    let mut refused = Run::new(after(1));
    refused.after(vec![Refused(ApiErrorKind::ResourceInUse); 5]);
    assert_eq!(refused.notes, []);
    refused.after(vec![Refused(ApiErrorKind::ResourceInUse); 5]);
    assert_eq!(refused.notes, [Note::Contested]);
}

#[test]
fn what_is_lost_or_gone_is_said() {
    let lost = [Note::RecordsLost(after(1))];
    let mut run = Run::new(after(1));
    run.after([Refused(ApiErrorKind::InvalidArgument), Confirmed(Finding::Listed)]);
    assert_eq!(run.notes, lost);
    let mut run = Run::new(after(1));
    run.after([Refused(ApiErrorKind::NotFound), Confirmed(Finding::Expired(children()))]);
    assert_eq!(run.notes, lost);
    let mut run = Run::new(after(1));
    run.after([
        Refused(ApiErrorKind::NotFound),
        Confirmed(Finding::Absent),
        Confirmed(Finding::Absent),
    ]);
    assert_eq!(run.notes, [Note::Gone, Note::Gone]);
}
