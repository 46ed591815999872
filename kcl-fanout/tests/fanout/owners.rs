//! Two owners of one shard, as when one has lost the lease and does not know it.

use std::time::Duration;

use kcl_core::StartingPosition;
use kcl_core::metrics::SUBSCRIPTIONS_CONTESTED;
use kcl_core::retrieval::RecordSource;

use crate::bench::{Bench, collect_until, read};

/// D5: the next owner begins within some seconds, though the last subscription is young.
#[tokio::test(start_paused = true)]
async fn d5_a_takeover_waits_for_the_five_seconds_and_no_longer() {
    for age in [0, 1, 2, 3, 4, 6, 60, 200] {
        let bench = Bench::new(1).await;
        bench.put(0..3, 0).await;
        let mut old = bench.open(0, StartingPosition::TrimHorizon);
        assert_eq!(read(&mut old, 3).await, [0, 1, 2]);
        bench.pass(age).await;
        drop(old);
        let begin = bench.clock.now();
        let mut new = bench.open(0, StartingPosition::TrimHorizon);
        assert_eq!(read(&mut new, 3).await, [0, 1, 2]);
        let took = bench.clock.now() - begin;
        let limit = if age < 5 { 5 - age + 2 } else { 1 };
        assert!(took <= Duration::from_secs(limit), "after {age} s: {took:?}");
    }
}

/// D5: two that fight do so more and more seldom, and each goes on reading where it was.
#[tokio::test(start_paused = true)]
async fn d5_two_owners_that_fight_leave_each_other_longer_and_longer_turns() {
    let bench = Bench::new(1).await;
    let sources = [bench.other_process(), bench.other_process()];
    let mut readers: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(seed, source)| {
            let mut open = bench.shard(0, StartingPosition::TrimHorizon);
            open.rng = fastrand::Rng::with_seed(seed as u64);
            source.open(open)
        })
        .collect();
    let [first, second] = &mut readers[..] else { unreachable!() };
    let end = bench.clock.now() + Duration::from_secs(600);
    let mut takeovers = Vec::new();
    let put = async {
        let mut before = 0.0;
        for number in 0..600 {
            bench.put(number..number + 1, 0).await;
            bench.pass(1).await;
            if number % 120 == 119 {
                let contested = bench.sum(SUBSCRIPTIONS_CONTESTED);
                takeovers.push(contested - before);
                before = contested;
            }
        }
    };
    let (one, two, ()) =
        tokio::join!(collect_until(&bench, first, end), collect_until(&bench, second, end), put);
    for read in [one, two] {
        assert!(read.len() > 500, "read {}", read.len());
        assert_eq!(read, Vec::from_iter(0..read.len()));
    }
    let (first, last) = (takeovers[0], takeovers[4]);
    assert!(last < first && last <= 12.0, "{takeovers:?}");
}
