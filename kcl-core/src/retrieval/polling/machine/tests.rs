use proptest::prelude::*;

use super::super::pace::Limits;
use super::*;
use crate::{Clock, HashRange, ShardId};

const OPENED: SystemTime = SystemTime::UNIX_EPOCH;

fn machine(from: StartingPosition) -> Machine {
    let pace = Pace::new(Some(Limits { calls_per_second: 5, bytes_per_second: 2 * 1024 * 1024 }));
    let idle = Duration::from_millis(200)..=Duration::from_secs(1);
    Machine::new(from, OPENED + Duration::from_secs(60), pace, idle)
}

fn number(value: u64) -> SequenceNumber {
    value.to_string().parse().unwrap()
}

fn after(value: u64) -> StartingPosition {
    StartingPosition::AfterSequenceNumber(number(value))
}

fn iterator(name: &str) -> ShardIterator {
    ShardIterator(name.to_owned())
}

fn children() -> Vec<ChildShard> {
    vec![ChildShard {
        id: ShardId::new("shardId-000000000009").unwrap(),
        parents: Vec::new(),
        hash_range: HashRange::WHOLE,
    }]
}

/// A page with or without a record, and with an iterator for the next one.
fn page(last: Option<u64>) -> Event {
    Event::Page(Page {
        last: last.map(number),
        bytes: 100,
        more: false,
        next: Some(iterator("next")),
        children: Vec::new(),
    })
}

fn last_page(last: Option<u64>, children: Vec<ChildShard>) -> Event {
    Event::Page(Page { last: last.map(number), bytes: 100, more: false, next: None, children })
}

/// Runs a machine against outcomes: waits as it says, and begins each call.
struct Run {
    machine: Machine,
    now: Instant,
    rng: fastrand::Rng,
    calls: Vec<Instant>,
}

impl Run {
    fn new(from: StartingPosition) -> Self {
        Self {
            machine: machine(from),
            now: Clock::system().now(),
            rng: fastrand::Rng::with_seed(7),
            calls: Vec::new(),
        }
    }

    /// The next command that is not a wait; if it is a call, it is begun.
    fn next(&mut self) -> Command {
        loop {
            match self.machine.command(self.now) {
                Command::Wait(until) => {
                    assert!(until > self.now, "a wait that is over");
                    self.now = until;
                }
                command @ (Command::Open(_) | Command::Fetch(_) | Command::Confirm) => {
                    self.machine.started(self.now);
                    self.calls.push(self.now);
                    return command;
                }
                command @ Command::End(_) => return command,
            }
        }
    }

    fn handle(&mut self, event: Event) -> Option<Note> {
        self.machine.handle(event, self.now, &mut self.rng)
    }

    /// Each call's outcome, then the command that comes after all of them.
    fn after(&mut self, events: impl IntoIterator<Item = Event>) -> Command {
        for event in events {
            self.next();
            self.handle(event);
        }
        self.next()
    }
}

#[test]
fn what_comes_after_what() {
    use ApiErrorKind::{
        ExpiredIterator, InvalidArgument, Malformed, NotFound, Throttled, Unavailable,
    };
    use Event::{ConfirmFailed, Confirmed, FetchFailed, OpenFailed};
    let opened = || Event::Opened(iterator("first"));
    let closed = || Confirmed(Finding::Closed(children()));
    let listed = || Confirmed(Finding::Listed);
    let fetch = |name| Command::Fetch(iterator(name));
    let table = [
        ("opens where it shall", vec![], Command::Open(after(1))),
        ("reads", vec![opened()], fetch("first")),
        ("reads on", vec![opened(), page(Some(2))], fetch("next")),
        ("throttled", vec![opened(), FetchFailed(Throttled)], fetch("first")),
        ("unavailable", vec![opened(), FetchFailed(Unavailable)], fetch("first")),
        (
            "expired",
            vec![opened(), page(Some(2)), FetchFailed(ExpiredIterator)],
            Command::Open(after(2)),
        ),
        ("expired unused", vec![opened(), FetchFailed(ExpiredIterator)], Command::Open(after(1))),
        (
            "malformed",
            vec![opened(), page(Some(2)), FetchFailed(Malformed)],
            Command::Open(after(2)),
        ),
        ("refused iterator", vec![opened(), FetchFailed(InvalidArgument)], Command::Open(after(1))),
        ("end", vec![opened(), last_page(Some(2), children())], Command::End(children())),
        ("no children", vec![opened(), last_page(Some(2), vec![])], Command::Confirm),
        (
            "closed, so what the reply kept back is read",
            vec![opened(), last_page(Some(2), vec![]), closed()],
            Command::Open(after(2)),
        ),
        (
            "closed, and read to nothing",
            vec![opened(), last_page(None, vec![]), closed(), opened(), last_page(None, vec![])],
            Command::End(children()),
        ),
        (
            "closed, and more was left",
            vec![opened(), last_page(None, vec![]), closed(), opened(), last_page(Some(2), vec![])],
            Command::Confirm,
        ),
        (
            "closed, and a page goes on",
            vec![opened(), last_page(None, vec![]), closed(), opened(), page(Some(2))],
            fetch("next"),
        ),
        (
            "not closed",
            vec![opened(), last_page(Some(2), vec![]), listed()],
            Command::Open(after(2)),
        ),
        ("shard not found", vec![opened(), FetchFailed(NotFound)], Command::Confirm),
        ("yet listed", vec![opened(), FetchFailed(NotFound), listed()], Command::Open(after(1))),
        (
            "a closed shard is read on",
            vec![opened(), FetchFailed(NotFound), closed()],
            Command::Open(after(1)),
        ),
        (
            "an expired shard has ended",
            vec![OpenFailed(NotFound), Confirmed(Finding::Expired(children()))],
            Command::End(children()),
        ),
        (
            "gone is asked again",
            vec![opened(), FetchFailed(NotFound), ConfirmFailed(NotFound)],
            Command::Confirm,
        ),
        ("unsure", vec![OpenFailed(NotFound), ConfirmFailed(Throttled)], Command::Confirm),
        (
            "too old",
            vec![OpenFailed(InvalidArgument), listed()],
            Command::Open(StartingPosition::TrimHorizon),
        ),
        (
            "another stream",
            vec![OpenFailed(InvalidArgument), Confirmed(Finding::Absent)],
            Command::Confirm,
        ),
        ("opening fails", vec![OpenFailed(Unavailable)], Command::Open(after(1))),
    ];
    for (what, events, expected) in table {
        assert_eq!(Run::new(after(1)).after(events), expected, "{what}");
    }
}

#[test]
fn latest_is_opened_once() {
    let later = Command::Open(StartingPosition::AtTimestamp(OPENED + Duration::from_secs(55)));
    let mut lost = Run::new(StartingPosition::Latest);
    assert_eq!(lost.next(), Command::Open(StartingPosition::Latest));
    assert_eq!(lost.next(), later, "an outcome that never came");
    let failed = Event::OpenFailed(ApiErrorKind::Throttled);
    assert_eq!(Run::new(StartingPosition::Latest).after([failed]), later);
    let opened = Event::Opened(iterator("first"));
    let expired = Event::FetchFailed(ApiErrorKind::ExpiredIterator);
    let events = [opened.clone(), page(None), expired.clone()];
    assert_eq!(Run::new(StartingPosition::Latest).after(events), later);
    let events = [opened, page(Some(5)), expired];
    assert_eq!(Run::new(StartingPosition::Latest).after(events), Command::Open(after(5)));
}

#[test]
fn a_start_time_in_the_future_is_waited_for() {
    let from = StartingPosition::AtTimestamp(OPENED);
    let refused = Event::OpenFailed(ApiErrorKind::InvalidArgument);
    let mut run = Run::new(from.clone());
    assert_eq!(run.after(vec![refused; 20]), Command::Open(from));
}

#[test]
fn the_idle_interval_grows_and_falls_back() {
    let mut run = Run::new(after(1));
    run.after([Event::Opened(iterator("first"))]);
    let mut waits = Vec::new();
    for last in [None, None, None, None, None, Some(2), None, None] {
        let begin = run.now;
        run.handle(page(last));
        run.next();
        waits.push((run.now - begin).as_millis());
    }
    assert_eq!(waits, [200, 400, 800, 1000, 1000, 200, 200, 400]);
}

#[test]
fn behind_the_tip_only_the_pace_waits() {
    let mut run = Run::new(after(1));
    run.after([Event::Opened(iterator("first"))]);
    let begin = run.now;
    for last in 2..5 {
        let Event::Page(mut more) = page(Some(last)) else { unreachable!() };
        more.more = true;
        run.handle(Event::Page(more));
        run.next();
    }
    assert!(run.now - begin < Duration::from_millis(1));
}

#[test]
fn a_streak_is_announced_once_and_throttles_never() {
    let mut run = Run::new(after(1));
    run.after([Event::Opened(iterator("first"))]);
    let unavailable = || Event::FetchFailed(ApiErrorKind::Unavailable);
    let throttled = || Event::FetchFailed(ApiErrorKind::Throttled);
    assert_eq!(run.handle(throttled()), None);
    assert_eq!(run.handle(unavailable()), Some(Note::Failing));
    assert_eq!(run.handle(unavailable()), None);
    assert_eq!(run.handle(page(None)), Some(Note::Recovered(3)));
    assert_eq!(run.handle(page(None)), None);
    assert_eq!(run.handle(throttled()), None);
    assert_eq!(run.handle(page(None)), None);
    assert_eq!(run.handle(unavailable()), Some(Note::Failing));
}

#[test]
fn what_is_lost_or_gone_is_said() {
    let mut run = Run::new(after(1));
    run.after([Event::OpenFailed(ApiErrorKind::InvalidArgument)]);
    let note = run.handle(Event::Confirmed(Finding::Listed));
    assert_eq!(note, Some(Note::RecordsLost(after(1))));
    let mut run = Run::new(after(1));
    run.after([Event::OpenFailed(ApiErrorKind::NotFound)]);
    let note = run.handle(Event::Confirmed(Finding::Expired(children())));
    assert_eq!(note, Some(Note::RecordsLost(after(1))));
    let mut run = Run::new(after(1));
    run.after([Event::OpenFailed(ApiErrorKind::NotFound)]);
    for _ in 0..3 {
        let note = run.handle(Event::Confirmed(Finding::Absent));
        assert_eq!(note, Some(Note::Gone));
        assert_eq!(run.next(), Command::Confirm);
    }
}

fn kinds() -> impl Strategy<Value = ApiErrorKind> {
    prop::sample::select(vec![
        ApiErrorKind::Throttled,
        ApiErrorKind::ExpiredIterator,
        ApiErrorKind::ExpiredToken,
        ApiErrorKind::InvalidArgument,
        ApiErrorKind::NotFound,
        ApiErrorKind::AccessDenied,
        ApiErrorKind::ResourceInUse,
        ApiErrorKind::Unavailable,
        ApiErrorKind::Malformed,
    ])
}

/// What a shard does when it is called next.
#[derive(Debug, Clone)]
enum Fate {
    Fails(ApiErrorKind),
    /// So many records, and whether an end is claimed, and whether children are named with it.
    Answers {
        records: u64,
        ends: bool,
        children: bool,
    },
    /// The outcome never comes.
    Dropped,
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        2 => kinds().prop_map(Fate::Fails),
        5 => (0_u64..4, prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(records, ends, children)| Fate::Answers { records, ends, children }),
        1 => Just(Fate::Dropped),
    ]
}

proptest! {
    /// Whatever happens: at most five calls in any second, a new iterator begins exactly after the last record that was
    /// returned, and the end comes only with children.
    #[test]
    fn any_history(fates in prop::collection::vec(fates(), 1..200)) {
        let mut run = Run::new(after(0));
        let mut returned = 0;
        let mut trimmed = false;
        for fate in fates {
            let command = run.next();
            if let Command::Open(from) = &command {
                let start = if trimmed { StartingPosition::TrimHorizon } else { after(returned) };
                prop_assert_eq!(from, &start);
            }
            let event = match (command, fate) {
                (Command::End(children), _) => {
                    prop_assert!(!children.is_empty());
                    break;
                }
                (Command::Wait(_), _) => unreachable!("waited out"),
                (_, Fate::Dropped) => continue,
                (Command::Open(_), Fate::Fails(kind)) => Event::OpenFailed(kind),
                (Command::Fetch(_), Fate::Fails(kind)) => Event::FetchFailed(kind),
                (Command::Confirm, Fate::Fails(kind)) => Event::ConfirmFailed(kind),
                (Command::Open(_), Fate::Answers { .. }) => Event::Opened(iterator("opened")),
                (Command::Fetch(_), Fate::Answers { records, ends, children: named }) => {
                    returned += records;
                    trimmed &= records == 0;
                    let last = (records > 0).then_some(returned);
                    match (ends, named) {
                        (false, _) => page(last),
                        (true, true) => last_page(last, children()),
                        (true, false) => last_page(last, Vec::new()),
                    }
                }
                (Command::Confirm, Fate::Answers { records, ends, .. }) => {
                    Event::Confirmed(match (ends, records) {
                        (true, 0) => Finding::Expired(children()),
                        (true, _) => Finding::Closed(children()),
                        (false, 0) => Finding::Absent,
                        (false, _) => Finding::Listed,
                    })
                }
            };
            if let Some(Note::RecordsLost(_)) = run.handle(event) {
                trimmed = true;
            }
        }
        for six in run.calls.windows(6) {
            prop_assert!(six[5] - six[0] > Duration::from_secs(1));
        }
    }
}
