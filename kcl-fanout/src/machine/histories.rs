//! Any history of a machine.

use proptest::prelude::*;

use super::tests::Step::{self, Broke, Confirmed, Ended, Refused, Silent, Slow, Subscribed};
use super::tests::{Run, after, children, event};
use super::*;

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

/// What becomes of a command.
#[derive(Debug, Clone)]
enum Fate {
    Fails(ApiErrorKind),
    /// So many records come, and whether the end is claimed, and whether children are named.
    Brings {
        records: u64,
        ends: bool,
        children: bool,
    },
    Ends,
    Falls {
        silent: bool,
    },
    /// The outcome never comes.
    Dropped,
    /// Something of an older subscription comes.
    Late(u64),
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        2 => kinds().prop_map(Fate::Fails),
        6 => (0_u64..4, prop::bool::weighted(0.1), prop::bool::weighted(0.2))
            .prop_map(|(records, ends, children)| Fate::Brings { records, ends, children }),
        1 => Just(Fate::Ends),
        1 => any::<bool>().prop_map(|silent| Fate::Falls { silent }),
        1 => Just(Fate::Dropped),
        1 => (0_u64..9).prop_map(Fate::Late),
    ]
}

proptest! {
    /// S17, S1, S11 of one reader, whatever happens: calls are a second apart, and five from one that succeeded; a new subscription
    /// begins exactly after the last record that was returned; the end comes only with children.
    #[test]
    fn s1_s11_s17_any_history(fates in prop::collection::vec(fates(), 1..200)) {
        let mut run = Run::new(after(0));
        let mut returned = 0;
        let mut trimmed = false;
        let mut succeeded: Option<Duration> = None;
        for fate in fates {
            let command = run.next();
            if let Command::Subscribe(from) = &command {
                let start = if trimmed { StartingPosition::TrimHorizon } else { after(returned) };
                prop_assert_eq!(from, &start);
                let now = run.now - run.begun;
                prop_assert!(succeeded.is_none_or(|then| now - then > Duration::from_secs(5)));
            }
            let (epoch, old) = (run.machine.epoch(), Epoch::default());
            let step = match (command, fate) {
                (Command::End(children), _) => {
                    prop_assert!(!children.is_empty());
                    break;
                }
                (Command::Wait(_), _) => unreachable!("waited out"),
                (_, Fate::Dropped)
                | (Command::Confirm, Fate::Ends | Fate::Falls { .. }) => continue,
                (_, Fate::Late(last)) => {
                    if epoch != old {
                        run.handle(Event::Received(old, event(Some(returned + last), None)));
                    }
                    continue;
                }
                (Command::Subscribe(_), Fate::Fails(kind)) => Refused(kind),
                (Command::Subscribe(_), _) => {
                    succeeded = Some(run.now - run.begun);
                    Subscribed
                }
                (Command::Listen(_), Fate::Fails(kind)) => Broke(kind),
                (Command::Listen(_), Fate::Ends) => Ended,
                (Command::Listen(_), Fate::Falls { silent: true }) => Silent,
                (Command::Listen(_), Fate::Falls { silent: false }) => Slow,
                (Command::Listen(_), Fate::Brings { records, ends, children: named }) => {
                    returned += records;
                    trimmed &= records == 0 && ends;
                    let last = (records > 0).then_some(returned);
                    Step::Event(Received {
                        children: if named && ends { children() } else { Vec::new() },
                        ..event(last, (!ends).then_some(returned))
                    })
                }
                (Command::Confirm, Fate::Fails(kind)) => Step::ConfirmFailed(kind),
                (Command::Confirm, Fate::Brings { records, ends, .. }) => Confirmed(match (ends, records) {
                    (true, 0) => Finding::Expired(children()),
                    (true, _) => Finding::Closed(children()),
                    (false, 0) => Finding::Absent,
                    (false, _) => Finding::Listed,
                }),
            };
            let notes = run.notes.len();
            run.step(step);
            if let Some(Note::RecordsLost(_)) = run.notes.get(notes) {
                trimmed = true;
            }
        }
        for two in run.calls.windows(2) {
            prop_assert!(two[1] - two[0] > Duration::from_secs(1));
        }
    }
}
