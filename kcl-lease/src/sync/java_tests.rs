//! The Java KCL's scenarios of shards and leases, by the rows of `docs/java-scenarios.md`.
//!
//! (a) All rows with `LATEST`: Java creates at `LATEST`, and skips what was put between the hole and its healing. Ours begins at
//!     `TRIM_HORIZON`, and where the application's time is known, at that time.
//! (b) A child's lease at `TRIM_HORIZON` does not show that its parents were read: the worker may have died between the creation
//!     of the child and the parent's end, and the parent's lease may have been deleted. Reading them costs an empty read where
//!     they were.
//!
//! Both are decided in `docs/design/0009`. Where ours differs, Java's set is in brackets.

use super::tests::{BEGUN, LATEST, OLDEST, TIME, created, graph, lineage};
use super::*;
use crate::testing::key;

type Row = (u32, StartFrom, &'static str, &'static str);

fn agree(name: char, rows: &[Row]) {
    for (row, start, leases, ours) in rows {
        assert_eq!(created(&graph(name), leases, *start), *ours, "row {row}: {leases}");
    }
}

/// Splits and merges side by side: closed 0 1 2 3 5, 6 from 0 and 1, 7 from 2 and 3; open 4, 8 from 6 and 7, 9 and 10 from 5.
#[test]
fn java_graph_a_rows_1_to_13_what_is_missing() {
    let rows = [
        // row, start, leases, ours
        (1, LATEST, "3 4 5", "2 6"), // positions: (a), as in all with LATEST
        (2, LATEST, "4 5 7", "6"),
        (4, LATEST, "4 9 10", "8"),
        (5, LATEST, "4 5 6 7", ""),
        (6, LATEST, "0 1 2 3 4 5 6 7", ""),
        (8, LATEST, "0 1 4 7 9 10", ""),
        (9, OLDEST, "3 4 5", "0 1 2"),
        (9, TIME, "3 4 5", "0t 1t 2t"),
        (10, OLDEST, "4 5 7", "0 1 2 3"), // [0 1] (b)
        (10, OLDEST, "4 5 7+", "0 1"),
        (10, TIME, "4 5 7", "0t 1t"),
        (11, OLDEST, "2 6", "0 1 3 4 5"), // [3 4 5] (b)
        (11, OLDEST, "2 6+", "3 4 5"),
        (11, TIME, "2 6", "3t 4t 5t"),
        (13, OLDEST, "4 5 6 7", "0 1 2 3"), // [] (b)
        (13, OLDEST, "4 5 6+ 7+", ""),
        (13, OLDEST, "0 1 2 3 4 5 6 7", ""),
        (13, OLDEST, "0 1 4 7+ 9+ 10+", ""),
        (13, TIME, "4 5 6 7", ""),
        (13, TIME, "0 1 2 3 4 5 6 7", ""),
        (13, TIME, "0 1 4 7 9 10", ""),
    ];
    agree('A', &rows);
}

/// One lineage: 0 and 1 merge into 2, that is split into 3 and 4, these merge into 5, and so on to 9 and 10.
#[test]
fn java_graph_b_rows_15_and_16_what_is_missing() {
    agree('B', &[(15, LATEST, "6", "7"), (16, LATEST, "5", "")]);
}

/// The leases of a new application: `4@` at `LATEST` with its time, `4t` at `AT_TIMESTAMP`.
fn founded(name: char, start: StartFrom) -> String {
    let shards = graph(name);
    let is_listed = |id: &ShardId| shards.iter().any(|shard| shard.id == *id);
    // What Kinesis shows. Shards that were open at the time are the oldest: it lies before all of them.
    let shown = |shard: &&Shard| match first_shards(start) {
        ShardFilter::All => panic!("a new application does not read all generations"),
        ShardFilter::AtLatest => shard.is_open(),
        ShardFilter::AtTrimHorizon | ShardFilter::AtTimestamp(BEGUN) => {
            !shard.parents.iter().any(is_listed)
        }
        ShardFilter::AtTimestamp(other) => panic!("another time: {other:?}"),
    };
    let shown: Vec<Shard> = shards.iter().filter(shown).cloned().collect();
    let key = |shard: &ShardId| LeaseKey::single(shard.clone());
    let leases = first_leases(&shown, &key, start, BEGUN + SKEW_ALLOWANCE).unwrap();
    let words = leases.iter().map(|lease| {
        let mark = match (&lease.position, lease.started_at) {
            (Position::TrimHorizon, None) => "",
            (Position::Latest, Some(BEGUN)) => "@",
            (Position::AtTimestamp, Some(BEGUN)) => "t",
            other => panic!("{other:?}"),
        };
        format!("{}{mark}", lease.key)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Java's `LATEST` has no time with it (ADR 0005); the sets are the same.
#[test]
fn java_rows_7_14_17_18_20_an_empty_table_takes_the_initial_position() {
    let rows = [
        (7, 'A', LATEST, "4@ 8@ 9@ 10@"),
        (14, 'A', OLDEST, "0 1 2 3 4 5"),
        (14, 'A', TIME, "0t 1t 2t 3t 4t 5t"),
        (17, 'B', LATEST, "9@ 10@"),
        (18, 'B', OLDEST, "0 1"),
        (18, 'B', TIME, "0t 1t"),
    ];
    for (row, name, start, ours) in rows {
        // By number: the graphs list closed shards first.
        assert_eq!(founded(name, start), ours, "row {row}");
    }
}

/// Java refuses the whole listing, or is told to ignore the child. Ours makes no lease for the child of a parent that has one;
/// where neither has one the child's names the parent, and so waits.
#[test]
fn java_row_21_a_child_of_an_open_parent_waits() {
    let shards = lineage("", "0 1<0 2");
    for start in [OLDEST, LATEST, TIME] {
        for leases in ["0 2", "0+ 2+"] {
            assert_eq!(created(&shards, leases, start), "", "{leases}");
        }
    }
    assert_eq!(created(&shards, "2+", OLDEST), "0");
    assert_eq!(created(&shards, "2+", TIME), "0t");
    assert_eq!(created(&shards, "2!", LATEST), "0@");
    let key = |shard: &ShardId| LeaseKey::single(shard.clone());
    let lease = Lease::new(key(&"2".parse().unwrap()), Position::Latest);
    let made = missing_leases(&shards, [&lease], &key, LATEST);
    let [parent, child] = &made[..] else { panic!("{made:?}") };
    assert!(parent.lease.parents.is_empty());
    assert!(child.lease.parents.contains(parent.lease.key.shard()));
}

/// Leases may overlap, as those of parents and children do. That a hole is healed at its first sighting, where Java waits for the
/// third, is `b17_a_hole_is_found_within_ten_seconds`.
#[test]
fn java_row_59_a_hole_is_what_no_unended_lease_covers() {
    const MAX: u128 = u128::MAX;
    let whole = [(0, 1), (2, 3), (4, 23), (6, 23), (24, MAX)];
    let rows = [
        (whole.as_slice(), &[][..], false),
        (&[(0, 1), (2, 3), (4, 23), (6, 23), (25, MAX)], &[], true),
        (&[(1, MAX)], &[], true),
        (&[(0, MAX - 1)], &[], true),
        // An ended lease covers nothing.
        (&whole[1..], &[(0, 1)], true),
        (&whole, &[(0, MAX)], false),
    ];
    let lease = |n: usize, (start, end), position| Lease {
        hash_range: HashRange::new(start, end),
        ..Lease::new(key(&n.to_string()), position)
    };
    for (unended, ended, expected) in rows {
        let unended = unended.iter().enumerate();
        let unended = unended.map(|(n, range)| lease(n, *range, Position::TrimHorizon));
        let ended = ended.iter().map(|range| lease(99, *range, Position::ShardEnd));
        let leases: Vec<_> = unended.chain(ended).collect();
        assert_eq!(has_hole(leases.iter()), expected, "{leases:#?}");
    }
}
