use std::collections::BTreeSet;

use kcl_core::leasing::Release;

use super::*;
use crate::testing::{key, lease, start};

const MS: Duration = Duration::from_millis(1);
/// How many ms after a write the next renewal may come.
const RENEWALS: std::ops::RangeInclusive<u128> = 2_999..=3_333;

fn timing() -> LeaseTiming {
    // Round numbers to count with.
    LeaseTiming { renew_interval: 10_000 * MS / 3, ..LeaseTiming::for_duration(10_000 * MS) }
}

fn at(sequence: u64) -> Position {
    Position::at(sequence.to_string().parse().unwrap(), 0)
}

/// A machine and the time; answers are collected by the number of who asked.
struct Bench {
    machine: Machine<u32>,
    now: Instant,
    watermark: Position,
    rng: fastrand::Rng,
}

impl Bench {
    /// Holds `s` at counter 7 since now.
    fn new() -> Self {
        let (now, mut rng) = (start(), fastrand::Rng::with_seed(1));
        let machine = Machine::new(lease("s", "me", 7), timing(), 0, now, &mut rng);
        Self { machine, now, watermark: Position::TrimHorizon, rng }
    }

    fn after(&mut self, ms: u32) -> Step {
        self.now += ms * MS;
        self.step()
    }

    fn step(&mut self) -> Step {
        self.machine.next(self.now, &self.watermark)
    }

    /// The write that is due now.
    fn write(&mut self) -> Change {
        match self.step() {
            Step::Write { change, fence, .. } => {
                assert_eq!(fence, self.machine.lease().fence());
                *change
            }
            other => panic!("{other:?}"),
        }
    }

    fn wrote(&mut self, outcome: Result<Outcome, StoreErrorKind>) {
        let outcome = outcome.map_err(failed);
        self.machine.wrote(outcome, self.now, &mut self.rng);
    }

    fn read(&mut self, found: Result<Option<Lease>, StoreErrorKind>) {
        assert!(matches!(self.step(), Step::ReadBack { .. }), "{:?}", self.machine);
        self.machine.read(found.map_err(failed), self.now, &mut self.rng);
    }

    fn answers(&mut self) -> Vec<String> {
        let text = |(who, answer): Answer<u32>| match answer {
            Ok(()) => format!("{who} ok"),
            Err(error) => format!("{who} {error}"),
        };
        self.machine.take_answers().into_iter().map(text).collect()
    }

    fn waits(&mut self) -> u128 {
        match self.step() {
            Step::Wait { until } => (until - self.now).as_millis(),
            other => panic!("{other:?}"),
        }
    }
}

fn failed(kind: StoreErrorKind) -> StoreError {
    StoreError::new("test", kind, "by rule")
}

fn others(counter: u64) -> Lease {
    lease("s", "bar", counter)
}

fn child(name: &str) -> Lease {
    lease(name, "", 0)
}

/// Seed 5820: a lease was lost though the table had just answered, because an earlier sending had been unclear.
#[test]
fn what_is_answered_as_applied_counts_from_its_own_sending() {
    let mut bench = Bench::new();
    bench.machine.ask(Request::Checkpoint(at(5)), 1);
    bench.write();
    bench.wrote(Err(StoreErrorKind::Unavailable));
    bench.read(Ok(Some(bench.machine.lease().clone())));
    bench.now += 8_000 * MS;
    bench.write();
    let sent = bench.now;
    bench.now += 100 * MS;
    bench.wrote(Ok(Outcome::Applied));
    assert_eq!(bench.machine.valid_until(), sent + 9_000 * MS);
}

#[test]
fn a_renewal_carries_the_newest_watermark_and_counts_from_its_start() {
    let mut bench = Bench::new();
    let begun = bench.now;
    let waits = bench.waits();
    assert!(RENEWALS.contains(&waits), "{waits}");
    bench.watermark = at(5);
    assert_eq!(bench.waits(), waits, "a watermark is no reason to write");
    bench.now += 3_400 * MS;
    let change = Change { position: Some(at(5)), ..Change::default() };
    assert_eq!(bench.write(), change);
    bench.now += 500 * MS;
    bench.wrote(Ok(Outcome::Applied));
    assert_eq!(bench.machine.valid_until(), begun + (3_400 + 9_000) * MS);
    assert_eq!(bench.machine.lease().counter, 8);
    assert!(bench.machine.take_progress());
    bench.now += 3_333 * MS;
    assert_eq!(bench.write(), Change::default(), "what is durable is not written again");
}

#[test]
fn waiting_checkpoints_share_one_write_that_renews() {
    let mut bench = Bench::new();
    bench.now += 1_000 * MS;
    bench.machine.ask(Request::Checkpoint(at(5)), 1);
    bench.machine.ask(Request::Checkpoint(at(9)), 2);
    bench.machine.ask(Request::Checkpoint(at(7)), 3);
    assert_eq!(bench.write().position, Some(at(9)));
    assert!(bench.answers().is_empty());
    bench.wrote(Ok(Outcome::Applied));
    assert_eq!(bench.answers(), ["1 ok", "2 ok", "3 ok"]);
    let waits = bench.waits();
    bench.machine.ask(Request::Checkpoint(at(9)), 4);
    bench.machine.ask(Request::Checkpoint(at(8)), 5);
    assert_eq!(bench.waits(), waits);
    assert_eq!(bench.answers(), ["5 checkpoint would move backward: last=9 wanted=8", "4 ok"]);
}

#[test]
fn an_announcement_outlives_renewals_before_it() {
    let mut bench = Bench::new();
    let pending = PendingCheckpoint { position: at(9), state: None };
    bench.machine.ask(Request::Prepare(pending.clone()), 1);
    assert_eq!(bench.write().pending, Some(pending.clone()));
    bench.wrote(Ok(Outcome::Applied));
    assert_eq!(bench.answers(), ["1 ok"]);
    bench.watermark = at(5);
    bench.now += 3_400 * MS;
    assert_eq!(
        bench.write(),
        Change { position: Some(at(5)), pending: Some(pending), ..Change::default() }
    );
    bench.wrote(Ok(Outcome::Applied));
    bench.machine.ask(Request::Checkpoint(at(9)), 2);
    assert_eq!(bench.write(), Change { position: Some(at(9)), ..Change::default() });
    bench.wrote(Ok(Outcome::Applied));
    assert_eq!(bench.machine.lease().pending, None);
}

/// Each row: what a write came back with, what the read after it showed, and what follows.
#[test]
fn an_unclear_write_is_judged_by_what_the_table_shows() {
    let mine = |counter, position| Lease { position, ..lease("s", "me", counter) };
    let applied = mine(8, at(5));
    let before = mine(7, Position::TrimHorizon);
    let table = [
        ("applied", applied.clone(), "holds at 8"),
        ("not applied", before, "writes again"),
        ("other content", mine(8, at(4)), "gone"),
        ("twice written", mine(9, at(5)), "gone"),
        ("another owner", others(8), "gone"),
    ];
    for (what, found, then) in table {
        for by_conflict in [false, true] {
            let mut bench = Bench::new();
            bench.machine.ask(Request::Checkpoint(at(5)), 1);
            let change = bench.write();
            let begun = bench.now;
            bench.wrote(Err(StoreErrorKind::Unavailable));
            if by_conflict {
                // The lease was unchanged at first; the lost write, or another, came in late.
                bench.read(Ok(Some(mine(7, Position::TrimHorizon))));
                bench.now += 200 * MS;
                assert_eq!(bench.write(), change, "the same write");
                bench.wrote(Ok(Outcome::Conflict(Some(Box::new(found.clone())))));
            } else {
                bench.read(Ok(Some(found.clone())));
            }
            let outcome = match bench.after(200) {
                Step::Wait { .. } => format!("holds at {}", bench.machine.lease().counter),
                Step::Write { change: again, .. } if *again == change => "writes again".into(),
                Step::Exit(Gone::Taken(_)) => "gone".into(),
                other => panic!("{what}: {other:?}"),
            };
            assert_eq!(outcome, then, "{what}, by conflict: {by_conflict}");
            if then.starts_with("holds") {
                assert_eq!(bench.answers(), ["1 ok"]);
                assert_eq!(
                    bench.machine.valid_until(),
                    begun + 9_000 * MS,
                    "from the first sending"
                );
            }
        }
    }
}

#[test]
fn a_clear_conflict_is_a_loss_at_once() {
    for found in [others(8), lease("s", "me", 8)] {
        let mut bench = Bench::new();
        bench.machine.ask(Request::Checkpoint(at(5)), 1);
        bench.write();
        bench.wrote(Ok(Outcome::Conflict(Some(Box::new(found.clone())))));
        assert_eq!(bench.step(), Step::Exit(Gone::Taken(Box::new(found))));
        assert_eq!(bench.answers(), ["1 lease is no longer held"]);
        bench.machine.ask(Request::Checkpoint(at(6)), 2);
        assert_eq!(bench.answers(), ["2 lease is no longer held"]);
    }
    let mut bench = Bench::new();
    bench.now += 3_400 * MS;
    bench.write();
    bench.wrote(Ok(Outcome::Missing));
    assert_eq!(bench.step(), Step::Exit(Gone::Deleted));
}

#[test]
fn failures_are_retried_until_the_lease_is_no_longer_valid() {
    for kind in
        [StoreErrorKind::Throttled, StoreErrorKind::Unavailable, StoreErrorKind::AccessDenied]
    {
        let mut bench = Bench::new();
        let begun = bench.now;
        bench.machine.ask(Request::Checkpoint(at(5)), 1);
        let mut writes = 0;
        let gone = loop {
            match bench.step() {
                Step::Write { until, .. } => {
                    assert!(until <= begun + 9_000 * MS);
                    writes += 1;
                    bench.wrote(Err(kind));
                }
                Step::ReadBack { .. } => bench.read(Err(kind)),
                Step::Wait { until } => bench.now = until,
                Step::Create { .. } => panic!(),
                Step::Exit(gone) => break gone,
            }
        };
        assert_eq!(gone, Gone::Silent);
        assert_eq!(bench.now, begun + 9_000 * MS, "{kind:?}");
        assert_eq!(bench.answers(), ["1 lease is no longer held"]);
        let expected = if kind == StoreErrorKind::Unavailable { 1..=1 } else { 5..=20 };
        assert!(expected.contains(&writes), "{writes} writes: {kind:?}");
    }
}

#[test]
fn a_refused_write_is_told_and_the_lease_kept() {
    let mut bench = Bench::new();
    bench.machine.ask(Request::Checkpoint(at(5)), 1);
    bench.write();
    bench.wrote(Err(StoreErrorKind::Invalid));
    assert_eq!(bench.answers(), ["1 lease store is unavailable"]);
    assert!(bench.waits() <= 100);
    bench.now += 100 * MS;
    assert!(RENEWALS.contains(&(bench.waits() + 100)));
}

#[test]
fn leases_granted_together_are_after_some_minutes_renewed_at_all_times() {
    let (mut rng, mut tenths) = (fastrand::Rng::with_seed(1), BTreeSet::new());
    for _ in 0..100 {
        let mut machine = Machine::<u32>::new(lease("s", "me", 7), timing(), 0, start(), &mut rng);
        let mut renewals = Vec::new();
        while renewals.len() < 100 {
            let now = renewals.last().copied().unwrap_or(start());
            let Step::Wait { until } = machine.next(now, &Position::TrimHorizon) else { panic!() };
            assert!(RENEWALS.contains(&(until - now).as_millis()));
            machine.next(until, &Position::TrimHorizon);
            machine.wrote(Ok(Outcome::Applied), until, &mut rng);
            renewals.push(until);
        }
        let phase = (renewals[99] - start()).as_millis() % 3_333;
        tenths.insert(phase / 334);
    }
    assert!(tenths.len() >= 9, "{tenths:?}");
}

#[test]
fn a_stalled_process_that_wakes_up_writes_nothing() {
    let mut bench = Bench::new();
    bench.machine.ask(Request::Checkpoint(at(5)), 1);
    assert_eq!(bench.after(9_000), Step::Exit(Gone::Silent));
    // Also with a write under way when it was stopped.
    let mut bench = Bench::new();
    bench.now += 3_400 * MS;
    bench.write();
    bench.now += 60_000 * MS;
    bench.wrote(Ok(Outcome::Applied));
    assert_eq!(bench.step(), Step::Exit(Gone::Silent));
}

#[test]
fn an_end_creates_the_children_and_then_writes_once() {
    let mut bench = Bench::new();
    bench.machine.ask(Request::End(vec![child("a"), child("b")]), 1);
    let mut made = BTreeSet::new();
    for outcome in
        [Err(StoreErrorKind::Unavailable), Ok(()), Err(StoreErrorKind::Throttled), Ok(())]
    {
        let Step::Create { child, .. } = bench.after(200) else { panic!() };
        if outcome.is_ok() {
            made.insert(child.key);
        }
        bench.machine.created(outcome.map_err(failed), bench.now, &mut bench.rng);
    }
    assert_eq!(made, [key("a"), key("b")].into());
    let change = bench.write();
    assert_eq!(change.position, Some(Position::ShardEnd));
    assert_eq!(change.owner, None, "as Java: the owner stays");
    assert_eq!(change.children.unwrap().len(), 2);
    bench.wrote(Ok(Outcome::Applied));
    assert_eq!(bench.step(), Step::Exit(Gone::Ended));
    assert_eq!(bench.answers(), ["1 ok"]);
    bench.machine.ask(Request::End(vec![]), 2);
    bench.machine.ask(Request::Checkpoint(at(6)), 3);
    assert_eq!(bench.answers(), ["2 ok", "3 lease is no longer held"]);
}

#[test]
fn a_lease_is_renewed_while_its_children_cannot_be_created() {
    let mut bench = Bench::new();
    bench.machine.ask(Request::End(vec![child("a")]), 1);
    let mut renewals = 0;
    for _ in 0..2_000 {
        match bench.after(10) {
            Step::Create { .. } => {
                let error = Err(failed(StoreErrorKind::Throttled));
                bench.machine.created(error, bench.now, &mut bench.rng);
            }
            Step::Write { change, .. } => {
                assert_eq!(*change, Change::default());
                bench.wrote(Ok(Outcome::Applied));
                renewals += 1;
            }
            Step::Wait { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!((3..=6).contains(&renewals), "{renewals}");
}

#[test]
fn a_release_is_one_write_with_the_newest_watermark_and_leaving_moves_nothing() {
    for (freed, position) in [
        (Freed::Released(Release::Stopping), Some(at(5))),
        (Freed::Released(Release::Halted), Some(at(5))),
        (Freed::Left, None),
    ] {
        let mut bench = Bench::new();
        bench.watermark = at(5);
        bench.machine.ask(Request::Free(freed), 1);
        let owner = Some(None);
        let free = Change { owner, cooperates: true, position, ..Change::default() };
        assert_eq!(bench.write(), free);
        bench.wrote(Err(StoreErrorKind::Unavailable));
        let expected = bench.write_expected();
        bench.read(Ok(Some(expected)));
        assert_eq!(bench.step(), Step::Exit(Gone::Freed(freed)));
        assert_eq!(bench.answers(), ["1 ok"]);
        assert_eq!(bench.machine.lease().owner, None);
    }
}

impl Bench {
    /// The lease as the unclear write leaves it.
    fn write_expected(&self) -> Lease {
        let Phase::Unsure(attempt) = &self.machine.phase else { panic!("{:?}", self.machine) };
        attempt.expected.clone()
    }
}

#[test]
fn a_scan_that_shows_another_owner_is_looked_into_at_once() {
    let mut bench = Bench::new();
    bench.machine.seen(&others(6));
    bench.machine.seen(&lease("s", "me", 9));
    assert!(matches!(bench.step(), Step::Wait { .. }));
    // Of a lease that was deleted, or news.
    for outcome in [Outcome::Applied, Outcome::Conflict(Some(Box::new(others(10))))] {
        bench.machine.seen(&others(9));
        assert_eq!(bench.write(), Change::default());
        bench.wrote(Ok(outcome));
    }
    assert!(matches!(bench.step(), Step::Exit(Gone::Taken(_))));
}

/// By the consumer's release alone: what has failed for good, and what may still be at work, is freed.
#[test]
fn what_is_wanted_is_handed_over_by_the_release() {
    let heir: WorkerId = "heir".parse().unwrap();
    for (freed, hands_over) in [
        (Freed::Released(Release::Wanted), true),
        (Freed::Released(Release::Stopping), false),
        (Freed::Released(Release::Halted), false),
        (Freed::Left, false),
    ] {
        let mut bench = Bench::new();
        bench.machine.wanted(heir.clone());
        assert!(matches!(bench.step(), Step::Wait { .. }), "it is held as before");
        bench.machine.ask(Request::Free(freed), 1);
        let change = bench.write();
        let owner = Some(hands_over.then(|| heir.clone()));
        assert_eq!((&change.owner, change.hands_over), (&owner, hands_over), "{freed:?}");
        bench.wrote(Err(StoreErrorKind::Unavailable));
        let expected = bench.write_expected();
        bench.read(Ok(Some(expected)));
        assert_eq!(bench.step(), Step::Exit(Gone::Freed(freed)));
        assert_eq!(bench.answers(), ["1 ok"]);
    }
}

/// Without a request the condition fails though nobody has written: it goes to who asks now, or is free.
#[test]
fn a_request_that_was_taken_back_frees_the_lease() {
    for other in [None, Some("other".parse::<WorkerId>().unwrap())] {
        let mut bench = Bench::new();
        bench.machine.wanted("heir".parse().unwrap());
        bench.machine.ask(Request::Free(Freed::Released(Release::Wanted)), 1);
        bench.write();
        let seen = Lease { handoff_to: other.clone(), ..bench.machine.lease().clone() };
        bench.wrote(Ok(Outcome::Conflict(Some(Box::new(seen)))));
        let change = bench.write();
        assert_eq!((change.owner, change.hands_over), (Some(other.clone()), other.is_some()));
        bench.wrote(Ok(Outcome::Applied));
        assert_eq!(bench.machine.lease().owner, other);
        assert_eq!(bench.answers(), ["1 ok"]);
    }
}
