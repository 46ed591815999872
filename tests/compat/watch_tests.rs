//! Tables made up by hand are judged right: the scenarios fail when they should.

use super::*;

/// Samples of text, `ms shard:owner:counter…`: owner `-` is nobody, a counter `END` the shard's end, `<p` names a parent.
fn samples(lines: &[&str]) -> Vec<Sample> {
    lines.iter().map(|line| sample(line)).collect()
}

fn sample(line: &str) -> Sample {
    let mut words = line.split_whitespace();
    let at_ms = words.next().unwrap().parse().unwrap();
    let leases = words.map(|word| {
        let (word, parents) = word.split_once('<').unwrap_or((word, ""));
        let [shard, owner, counter] = word.split(':').collect::<Vec<_>>().try_into().unwrap();
        let checkpoint = if counter == "END" { "SHARD_END" } else { "TRIM_HORIZON" };
        let lease = Lease {
            owner: (owner != "-").then(|| owner.to_owned()),
            counter: counter.parse().unwrap_or_default(),
            checkpoint: checkpoint.to_owned(),
            parents: parents.split_terminator(',').map(str::to_owned).collect(),
        };
        (shard.to_owned(), lease)
    });
    Sample { at_ms, leases: leases.collect() }
}

#[test]
fn the_longest_silence_is_found() {
    let cases: [(&str, &[&str], u128); 7] = [
        ("a renewal ends it", &["0 a:x:1", "50 a:x:2", "90 a:x:2"], 50),
        ("a take ends it", &["0 a:x:1", "70 a:y:2", "80 a:y:3"], 70),
        ("who frees it gives no sign of life", &["0 a:x:1", "40 a:-:2", "90 a:y:3"], 90),
        ("it may last to the end", &["0 a:x:1", "10 a:x:2", "70 a:x:2"], 60),
        ("an ended shard may be silent", &["0 a:x:1", "10 a:x:END", "90 a:x:END"], 10),
        (
            "a child may be silent until its parent has ended",
            &["0 a:x:1 b:-:0<a", "50 a:x:2 b:-:0<a", "60 a:x:END b:-:0<a", "80 a:x:END b:y:1<a"],
            50,
        ),
        ("of leases the worst counts", &["0 a:x:1 b:x:1", "30 a:x:2 b:x:1", "70 a:x:3 b:x:2"], 70),
    ];
    for (what, lines, span) in cases {
        let silence = longest_silence(&samples(lines), 0, 1000).unwrap();
        assert_eq!(silence.span().as_millis(), span, "{what}: {silence:?}");
    }
}

#[test]
fn a_silence_counts_where_it_reaches_into_the_window() {
    let samples = samples(&["0 a:x:1", "40 a:x:1", "80 a:y:2", "90 a:y:3"]);
    let span = |from, to| longest_silence(&samples, from, to).map(|s| s.span().as_millis());
    assert_eq!((span(0, 50), span(50, 100), span(85, 100)), (Some(40), Some(80), Some(10)));
}

#[test]
fn changes_of_owners_are_counted() {
    let samples = samples(&[
        "0 a:x:1 b:x:1",
        "10 a:y:2 b:-:2",
        "20 a:y:END b:y:3 c:-:0",
        "30 a:-:END b:y:4 c:y:1",
    ]);
    let moved = |from, to| changes(&samples, from, to).iter().map(|c| c.lease.clone()).collect();
    let all: String = moved(0, 100);
    let early: String = moved(0, 10);
    assert_eq!((&*all, &*early), ("abbc", "ab"));
}

#[test]
fn balance_is_within_one_and_of_the_living_alone() {
    let balanced = |line: &str| sample(line).is_balanced(&["x", "y"].into());
    assert!(balanced("0 a:x:1 b:x:1 c:y:1"));
    assert!(balanced("0 a:x:1 b:y:1 c:z:END"));
    for line in
        ["0", "0 a:x:1", "0 a:x:1 b:x:1 c:x:1 d:y:1", "0 a:x:1 b:y:1 c:z:1", "0 a:x:1 b:y:1 c:-:1"]
    {
        assert!(!balanced(line), "{line}");
    }
}
