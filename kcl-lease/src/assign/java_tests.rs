//! The Java KCL's scenarios of who takes which lease, by the rows of `docs/java-scenarios.md`: those of the taker of 2.x, and those of
//! 3.x's assignment that do not need a leader. Leases are in the words of [`plan_text`].

use super::tests::plan_text;

/// How many are taken and how many stolen, where chance decides which.
fn counts(moves: &str) -> (usize, usize) {
    (moves.matches('+').count(), moves.matches('~').count())
}

#[test]
fn java_rows_25_to_28_33_what_the_taker_takes() {
    let rows = [
        // row, leases, held, moves
        (25, "a:-", "", "+a"),
        (27, "a:me!", "", "+a"),
        (28, "a:bar", "", ""),
        (28, "a:bar!", "", "+a"),
        (33, "a:- b:bar c:bar d:bar", "", "+a"),
    ];
    for (row, leases, held, moves) in rows {
        assert_eq!(plan_text(leases, held, None), moves, "row {row}: {leases}");
    }
}

/// Java's "very old" lease, that is taken whatever the share, is one that stood still for three lease durations; ours one that
/// nobody below its share took within a scan interval.
#[test]
fn java_rows_29_and_30_the_share_is_not_exceeded_unless_nobody_else_takes() {
    let rows = [(29, "a:- b:- c:- d:bar", (2, 0)), (30, "a:-! b:-! c:-! d:bar", (3, 0))];
    for (row, leases, expected) in rows {
        assert_eq!(counts(&plan_text(leases, "", None)), expected, "row {row}");
    }
}

/// Java steals one at a time; ours its whole share at once (ADR 0010). From whom is the same.
#[test]
fn java_row_32_steals_are_from_the_most_loaded() {
    let leases = "a:bar b:baz c:baz d:baz e:baz f:baz";
    assert_eq!(plan_text(leases, "", None), "~e ~f");
    assert_eq!(plan_text(leases, "", Some(1)), "~f");
}

#[test]
fn java_rows_47_and_58_no_worker_gets_more_than_its_limit() {
    let five = "f:me g:me h:me i:me j:me";
    let rows = [
        // row, leases, held, limit, taken and stolen
        (47, "a:- b:- c:- d:- e:-", "", 2, (2, 0)),
        (47, "a:-! b:-! c:-! d:-! e:-!", "", 2, (2, 0)),
        (58, &format!("a:- b:- c:- d:- e:- {five} k:- l:- m:- n:- o:-"), "f g h i j", 10, (5, 0)),
    ];
    for (row, leases, held, limit, expected) in rows {
        assert_eq!(counts(&plan_text(leases, held, Some(limit))), expected, "row {row}");
    }
}

/// Java takes every free lease before any expired one. Ours takes first what has stood still for longest, whichever it is (ADR
/// 0015).
#[test]
fn java_row_48_what_stood_still_for_longest_is_taken_first() {
    for (leases, moves) in [("a:-! b:bar!", "+a"), ("a:- b:bar!!", "+b")] {
        assert_eq!(plan_text(leases, "", Some(1)), moves, "{leases}");
    }
}

/// That the fleet comes to rest balanced is `our_fleet_balances_with_few_moves_and_then_stands_still`.
#[test]
fn java_row_58_leases_are_shared_by_their_number() {
    let rows = [
        // leases, held, taken and stolen
        ("a:- b:- c:bar d:bar", "", (2, 0)),
        ("a:bar b:bar", "", (0, 1)),
        ("a:bar b:me", "b", (0, 0)),
        // A dead worker counts for nothing, and is left nothing.
        ("a:dead! b:dead! c:me d:me", "c d", (2, 0)),
        ("a:dead! b:dead! c:bar d:me", "d", (1, 0)),
    ];
    for (leases, held, expected) in rows {
        assert_eq!(counts(&plan_text(leases, held, None)), expected, "{leases} | {held}");
    }
}
