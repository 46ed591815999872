use super::*;
use crate::sync::tests::{LATEST, OLDEST, TIME, leases, lineage};
use crate::testing::start;

/// Which leases wait, as words, and `?` when a survey is needed.
fn waits(listed: Option<&[Shard]>, text: &str, from: StartFrom, known_for: Duration) -> String {
    let begun = start() + Duration::from_secs(100);
    let listing = listed.map(|shards| Listing { begun, shards: shards.to_vec() });
    let leases = leases(text, from);
    let has_lease = |key: &LeaseKey| leases.iter().any(|lease| lease.key == *key);
    let orphans = leases.iter().filter(|lease| lacks_a_parent(lease, has_lease));
    let orphans: Vec<_> = orphans.map(|lease| (lease, begun - known_for)).collect();
    let found = waiting(listing.as_ref(), &leases, &orphans, from);
    let mut words: Vec<_> = found.leases.iter().map(ToString::to_string).collect();
    words.extend(found.needs_survey.then(|| "?".to_owned()));
    words.join(" ")
}

#[test]
fn a_child_waits_for_a_parent_that_gets_a_lease() {
    let split = || lineage("0", "1<0 2<0");
    let merge = || lineage("0 1", "2<0,1");
    let long = || lineage("0 1<0", "2<1 3<1");
    let table = [
        // listed, leases, start -> what waits; `?`: a lease is to be made, or more is to be known
        (split(), "1~<0 2~<0", OLDEST, "1 2 ?"),
        (split(), "0+ 1~<0 2~<0", OLDEST, ""), // the plan of assignments sees the parent itself
        (split(), "0. 1~<0 2~<0", OLDEST, ""),
        // A child that has begun shows that its parent was read.
        (split(), "1+<0 2~<0", OLDEST, ""),
        (split(), "1.<0 2~<0", OLDEST, ""),
        (merge(), "1+ 2~<0,1", OLDEST, "2 ?"),
        (merge(), "1. 2~<0,1", OLDEST, "2 ?"),
        (merge(), "1. 2~<0,1", LATEST, "2 ?"),
        (merge(), "1. 2~<0,1", TIME, "2 ?"),
        // The parent is trimmed.
        (lineage("", "1<0 2<0"), "1~<0 2~<0", OLDEST, ""),
        (lineage("1", "2<0,1"), "1. 2~<0,1", OLDEST, ""),
        // The parent's own parent is being read: the end of that one makes its lease, no survey does.
        (long(), "0+ 2~<1 3~<1", OLDEST, "2 3"),
        (long(), "0. 2~<1 3~<1", OLDEST, "2 3 ?"),
        // Where the application began.
        (split(), "1!<0 2!<0", LATEST, ""),
        (split(), "1!<0 2!<0", TIME, ""),
        (split(), "1!<0 2!<0", OLDEST, ""),
        // Java's leases carry no time.
        (split(), "1<0 2<0", LATEST, ""),
        (split(), "1<0 2<0", TIME, ""),
        // What was taken up in the middle of its lineage names no parents.
        (split(), "1~ 2~", LATEST, ""),
    ];
    for (listed, leases, from, expected) in table {
        assert_eq!(waits(Some(&listed), leases, from, Duration::ZERO), expected, "{leases}");
    }
}

#[test]
fn a_child_waits_until_a_listing_can_tell() {
    let trimmed = lineage("", "1<0 2<0");
    let older = lineage("", "0");
    let second = Duration::from_secs(1);
    let table = [
        // listed, known for so long when that call began -> what waits
        (None, Duration::ZERO, "1 ?"),
        (None, 100 * second, "1 ?"),
        (Some(&trimmed), Duration::ZERO, ""),
        // The listing is from before the reshard.
        (Some(&older), Duration::ZERO, "1 ?"),
        (Some(&older), 29 * second, "1 ?"),
        // The child is trimmed itself, and so are its parents.
        (Some(&trimmed[1..].to_vec()), 29 * second, "1 ?"),
        (Some(&trimmed[1..].to_vec()), SETTLED, ""),
    ];
    for (listed, known_for, expected) in table {
        let waits = waits(listed.map(Vec::as_slice), "1~<0 2+", OLDEST, known_for);
        assert_eq!(waits, expected, "{listed:?} {known_for:?}");
    }
}
