//! Which leases are missing. The scenarios of the Java KCL are in `java_tests`.

use super::*;
use crate::testing::key;

/// A lineage: `closed` and `open` shards by number, with their parents: `8<6,7`.
pub(super) fn lineage(closed: &str, open: &str) -> Vec<Shard> {
    let parse = |word: &str, is_open: bool| {
        let (id, parents) = word.split_once('<').unwrap_or((word, ""));
        Shard {
            id: id.parse().unwrap(),
            parents: parents
                .split(',')
                .filter(|p| !p.is_empty())
                .map(|p| p.parse().unwrap())
                .collect(),
            hash_range: HashRange::WHOLE,
            starting_sequence_number: "1".parse().unwrap(),
            ending_sequence_number: (!is_open).then(|| "9".parse().unwrap()),
        }
    };
    let closed = closed.split_whitespace().map(|word| parse(word, false));
    let mut shards: Vec<_> =
        closed.chain(open.split_whitespace().map(|word| parse(word, true))).collect();
    shards.sort_by_key(|shard| shard.id.as_str().parse::<u32>().unwrap());
    shards
}

/// The graphs of the Java KCL's `HierarchicalShardSyncerTest`.
pub(super) fn graph(name: char) -> Vec<Shard> {
    match name {
        'A' => lineage("0 1 2 3 5 6<0,1 7<2,3", "4 8<6,7 9<5 10<5"),
        _ => lineage("0 1 2<0,1 3<2 4<2 5<3,4 6<5 7<5 8<6,7", "9<8 10<8"),
    }
}

/// Leases by text: `3` at the application's start as Java writes it, `3~` at `TRIM_HORIZON`, `3+` read a little, `3.` ended,
/// `3!` at the application's start as we write it, with its time, `3=` at `TRIM_HORIZON` with the application's time;
/// `3~<1,2` names parents.
pub(super) fn leases(text: &str, start: StartFrom) -> Vec<Lease> {
    let parse = |word: &str| {
        let (word, parents) = word.split_once('<').unwrap_or((word, ""));
        let id = word.trim_end_matches(['+', '.', '!', '~', '=']);
        let position = match word.trim_start_matches(id) {
            "~" | "=" => Position::TrimHorizon,
            "+" => Position::at("5".parse().unwrap(), 0),
            "." => Position::ShardEnd,
            _ => start.position(),
        };
        let started_at = word.ends_with('!').then_some(BEGUN);
        let application_start = started_at.or_else(|| word.ends_with('=').then_some(BEGUN));
        let parents = parents.split(',').filter(|p| !p.is_empty());
        let parents = parents.map(|p| p.parse().unwrap()).collect();
        Lease { started_at, application_start, parents, ..Lease::new(key(id), position) }
    };
    text.split_whitespace().map(parse).collect()
}

/// What is created: `7` at `TRIM_HORIZON`, `7@` there but only from the application's time on, `7t` at `AT_TIMESTAMP`.
pub(super) fn created(shards: &[Shard], text: &str, start: StartFrom) -> String {
    let leases = leases(text, start);
    let key = |shard: &ShardId| LeaseKey::single(shard.clone());
    let missing = missing_leases(shards, &leases, &key, start);
    let words = missing.iter().map(|Creation { lease, .. }| {
        let mark = match (&lease.position, lease.started_at) {
            (Position::TrimHorizon, None) => "",
            (Position::TrimHorizon, Some(_)) => "@",
            (Position::AtTimestamp, Some(_)) => "t",
            other => panic!("{other:?}"),
        };
        format!("{}{mark}", lease.key)
    });
    words.collect::<Vec<_>>().join(" ")
}

pub(super) const BEGUN: SystemTime = SystemTime::UNIX_EPOCH;
pub(super) const OLDEST: StartFrom = StartFrom::TrimHorizon;
pub(super) const LATEST: StartFrom = StartFrom::Latest;
pub(super) const TIME: StartFrom = StartFrom::Timestamp(BEGUN);

#[test]
fn an_application_at_latest_takes_missing_lineages_up_where_it_began() {
    let table = [
        // Another worker died between the first leases: nothing before the start is repeated.
        ("3! 4! 5!", "0@ 1@ 2@"),
        ("4! 9! 10!", "0@ 1@ 2@ 3@"),
        ("4+! 8!", "5@"),
        // The sibling of a first lease lies across the start as well.
        ("4! 8! 9!", "10@"),
        // The parent was read to its end: all of its child is new.
        ("4! 8! 5. 9", "10"),
    ];
    for (leases, ours) in table {
        assert_eq!(created(&graph('A'), leases, LATEST), ours, "{leases}");
    }
}

/// Operators delete the leases with which the application began, one after the other: any other of ours tells as much.
#[test]
fn any_lease_that_is_left_tells_where_the_application_began() {
    let shards = lineage("0 1 2 3<0", "4<1 5<2 6<3");
    for (leases, ours) in [
        ("6=<3", "0@ 1@ 2@"),
        ("4=<1 6=<3", "0@ 1@ 2@"),
        // Only what another program made tells nothing: the open shards, and what others wait for.
        ("6~<3", "3 4 5"),
    ] {
        assert_eq!(created(&shards, leases, LATEST), ours, "{leases}");
        let leases = tests::leases(leases, LATEST);
        let key = |shard: &ShardId| LeaseKey::single(shard.clone());
        for Creation { lease, .. } in missing_leases(&shards, &leases, &key, LATEST) {
            assert_eq!(lease.application_start, leases[0].application_start, "{lease:?}");
        }
    }
}

#[test]
fn the_hole_that_java_never_heals() {
    // The parent has ended, the lease of one child is gone: in Java it is a descendant, and so nobody's business.
    assert_eq!(created(&lineage("0", "1<0 2<0"), "0. 1+", OLDEST), "2");
    // Both children are gone, and the merge child waits for its second parent.
    assert_eq!(created(&lineage("0", "1<0 2<0"), "0.", LATEST), "1 2");
    assert_eq!(created(&lineage("0 1", "2<0,1"), "0. 1+", OLDEST), "");
    assert_eq!(created(&lineage("0 1", "2<0,1"), "0. 1.", OLDEST), "2");
    // A parent that is no longer listed and has no lease was cleaned up or expired.
    assert_eq!(created(&lineage("1", "2<0,1"), "1.", OLDEST), "2");
    // A lineage without any lease.
    assert_eq!(created(&lineage("0", "1<0 2<0 3"), "3+", OLDEST), "0");
    assert_eq!(created(&lineage("0", "1<0 2<0 3"), "3+", LATEST), "1 2");
    // A closed shard whose child has a lease already, which waits for it.
    for start in [OLDEST, LATEST] {
        assert_eq!(created(&lineage("0 1", "2<0,1"), "1+ 2~<0,1", start), "0");
        assert_eq!(created(&lineage("0 1", "2<0,1"), "1. 2~<0,1", start), "0");
    }
}

/// No lease carries a time: the open shards are taken up, and do not wait for what nobody will read.
#[test]
fn shards_before_those_that_are_taken_up_are_not_waited_for() {
    let shards = lineage("0 1 2<0", "3<2 4<1,2 5");
    let key = |shard: &ShardId| LeaseKey::single(shard.clone());
    let parents = |leases: &str| -> Vec<String> {
        let leases = tests::leases(leases, LATEST);
        let missing = missing_leases(&shards, &leases, &key, LATEST);
        let word = |lease: &Lease| {
            let parents: Vec<&str> = lease.parents.iter().map(ShardId::as_str).collect();
            format!("{}<{}", lease.key, parents.join(","))
        };
        missing.iter().map(|creation| word(&creation.lease)).collect()
    };
    assert_eq!(parents("5"), ["3<", "4<"]);
    // Shard 4 follows the lease of shard 1, and so waits for shard 2; then shard 3 does as well.
    assert_eq!(parents("1+ 5"), ["2<", "3<2"]);
    assert_eq!(parents("0. 1. 5"), ["2<0"]);
}

#[test]
fn a_new_application_needs_every_hash_key() {
    let half = |id: &str, start, end| Shard {
        hash_range: HashRange::new(start, end).unwrap(),
        ..lineage("", id).remove(0)
    };
    let key = |shard: &ShardId| LeaseKey::single(shard.clone());
    let wall = BEGUN + Duration::from_secs(100);
    let (low, high) = (half("1", 0, 7), half("2", 8, u128::MAX));
    assert_eq!(first_leases(std::slice::from_ref(&low), &key, LATEST, wall), None);
    let leases = first_leases(&[low, high], &key, LATEST, wall).unwrap();
    assert_eq!(leases.len(), 2);
    for lease in &leases {
        assert_eq!(lease.position, Position::Latest);
        assert_eq!(lease.started_at, Some(wall - SKEW_ALLOWANCE));
        assert_eq!(lease.application_start, lease.started_at);
    }
    assert!(!has_hole(leases.iter()));
    assert!(has_hole(leases[1..].iter()));
    assert!(!has_hole([Lease::new(key(&"9".parse().unwrap()), OLDEST.position())].iter()));
}
