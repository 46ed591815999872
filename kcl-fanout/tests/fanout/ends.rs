//! The end of a shard, and what is not one.

use std::time::Duration;

use kcl_core::ShardId;
use kcl_core::StartingPosition;
use kcl_core::metrics::{READ_FAILURES, RECORDS_LOST, SUBSCRIBE_CALLS};
use kcl_core::retrieval::{Fetched, ReadError};
use kcl_emulator::{Emulator, Fault, Rule};

use crate::bench::{
    Bench, STREAM, create, custom, exception, fault, is_silent, next, numbers, read, read_to_end,
    shard_id,
};

#[tokio::test(start_paused = true)]
async fn a_split_and_a_merge_end_their_parents_with_all_children() {
    let bench = Bench::new(1).await;
    bench.put(0..50, 0).await;
    bench.split(0).await;
    bench.put(50..100, 0).await;
    let merge = bench.client.merge_shards().stream_name(STREAM);
    let merge = merge.shard_to_merge(shard_id(1).as_str());
    merge.adjacent_shard_to_merge(shard_id(2).as_str()).send().await.unwrap();
    bench.put(100..150, 0).await;

    let mut all = Vec::new();
    let table: [(usize, &[usize]); 3] = [(0, &[1, 2]), (1, &[3]), (2, &[3])];
    for (shard, expected) in table {
        let mut reader = bench.open(shard, StartingPosition::TrimHorizon);
        let (read, children) = read_to_end(&mut reader).await;
        let ids: Vec<ShardId> = children.into_iter().map(|child| child.id).collect();
        assert_eq!(ids, expected.iter().map(|id| shard_id(*id)).collect::<Vec<_>>());
        all.extend(read);
        let again = next(&mut reader).await.unwrap();
        assert!(matches!(again, Fetched::ShardEnd { .. }), "asked again");
    }
    let mut last = bench.open(3, StartingPosition::TrimHorizon);
    all.extend(read(&mut last, 50).await);
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..150));
    assert_eq!(
        bench.requests("ListShards"),
        1,
        "that of the test: an end that is proved is not looked up"
    );
}

/// L3: a shard that is split while it is read ends at once.
#[tokio::test(start_paused = true)]
async fn l3_a_live_subscription_hears_of_the_split() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    let split = async {
        bench.pass(33).await;
        bench.split(0).await;
        bench.clock.now()
    };
    let ended = async {
        let (read, children) = read_to_end(&mut reader).await;
        assert_eq!((read.len(), children.len()), (0, 2));
        bench.clock.now()
    };
    let (split, ended) = tokio::join!(split, ended);
    assert!(ended - split < Duration::from_secs(1), "{:?}", ended - split);
    assert_eq!(bench.subscribe_calls(), 1);
}

/// A17: cut before, at and after the event that ends the shard: its empty continuation is never a position, and the end comes.
#[tokio::test(start_paused = true)]
async fn a17_an_end_that_is_cut_comes_again() {
    for seed in 0..4 {
        for events in 0..3 {
            let bench = Bench::new(1).await;
            bench.put(0..3, 0).await;
            bench.split(0).await;
            bench.pass(seed).await;
            bench.fault(fault(Fault::CutStream { events }).first(3));
            let mut reader = bench.open(0, StartingPosition::TrimHorizon);
            let (read, children) = read_to_end(&mut reader).await;
            assert_eq!((read, children.len()), (vec![0, 1, 2], 2));
        }
    }
}

/// An end at every byte of the last event.
#[tokio::test(start_paused = true)]
async fn a17_an_end_that_is_cut_at_any_byte_comes_again() {
    for at in (100..1800).step_by(11) {
        let bench = Bench::new(1).await;
        bench.put(0..3, 0).await;
        bench.split(0).await;
        bench.fault(fault(Fault::CutBody { at }).nth(1));
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        let (read, children) = read_to_end(&mut reader).await;
        assert_eq!((read, children.len()), (vec![0, 1, 2], 2), "cut at {at}");
    }
}

/// A8, S11: what is not found or denied, at the call or in the middle, is no end.
#[tokio::test(start_paused = true)]
async fn a8_s11_what_is_not_found_or_denied_is_no_end() {
    for error in ["ResourceNotFoundException", "AccessDeniedException"] {
        let bench = Bench::new(1).await;
        bench.put(0..3, 0).await;
        bench.fault(fault(custom(error)).first(2));
        bench.fault(fault(exception(1, error)).first(4));
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
        assert!(is_silent(&mut reader, 30).await);
        bench.put(3..6, 0).await;
        assert_eq!(read(&mut reader, 3).await, [3, 4, 5]);
        assert_eq!(bench.sum(READ_FAILURES), 4.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stream_is_not_found_and_so_is_its_successor() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    let delete = bench.client.delete_stream().stream_name(STREAM);
    delete.enforce_consumer_deletion(true).send().await.unwrap();
    bench.pass(60).await;
    for _ in 0..2 {
        let gone = next(&mut reader).await;
        assert!(matches!(gone, Err(ReadError::NotFound(_))), "{gone:?}");
    }
    create(&bench.client, 1).await;
    bench.pass(60).await;
    bench.put(0..3, 0).await;
    let gone = next(&mut reader).await;
    assert!(matches!(gone, Err(ReadError::NotFound(_))), "{gone:?}");
    assert_eq!(bench.requests("RegisterStreamConsumer"), 1, "none of the successor");
}

#[tokio::test(start_paused = true)]
async fn a16_a_refused_position_is_counted_and_left() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let old = StartingPosition::AfterSequenceNumber("1".parse().unwrap());
    let mut reader = bench.open(0, old);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    assert_eq!(bench.sum(RECORDS_LOST), 1.0);
}

/// A shard that expired unread has ended.
#[tokio::test(start_paused = true)]
async fn an_expired_shard_ends_with_its_children() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    bench.split(0).await;
    bench.pass(49 * 3600).await;
    let fetched = next(&mut reader).await.unwrap();
    let Fetched::ShardEnd { children } = fetched else { panic!("{:?}", numbers(fetched)) };
    assert_eq!(children.len(), 2);
}

/// Records that expired while nobody read are passed over, and the rest comes.
#[tokio::test(start_paused = true)]
async fn records_that_expired_are_passed_over() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    bench.put(3..6, 0).await;
    bench.pass(25 * 3600).await;
    bench.put(6..9, 0).await;
    assert_eq!(read(&mut reader, 3).await, [6, 7, 8]);
}

/// S17: a shard that cannot be read is asked for no more than the backoff allows.
#[tokio::test(start_paused = true)]
async fn s17_a_lasting_failure_is_no_storm() {
    for error in [
        "ResourceNotFoundException",
        "AccessDeniedException",
        "LimitExceededException",
        "ResourceInUseException",
    ] {
        let bench = Bench::new(1).await;
        bench.fault(fault(custom(error)));
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        assert!(is_silent(&mut reader, 600).await);
        let calls = bench.subscribe_calls();
        assert!((120..320).contains(&calls), "{error}: {calls} calls in ten minutes");
        assert_eq!(bench.sum(SUBSCRIBE_CALLS), calls as f64);
    }
}

#[tokio::test(start_paused = true)]
async fn the_listing_itself_may_fail() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    bench.fault(fault(custom("ResourceNotFoundException")).first(2));
    let listing = |failing| Rule::new(failing).operation("ListShards");
    bench.fault(listing(Fault::ErrorBefore(500)).first(9));
    bench.fault(listing(Fault::Throttle).first(9));
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
}

/// The same run twice makes the same calls.
#[tokio::test(start_paused = true)]
async fn a_seed_replays() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let bench = Bench::new(1).await;
        let emulator: &Emulator = &bench.emulator;
        emulator.faults().add(fault(Fault::ErrorBefore(500)).chance(0.3));
        emulator.faults().add(fault(Fault::CutStream { events: 2 }));
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        assert!(is_silent(&mut reader, 900).await);
        runs.push(bench.call_times());
    }
    assert!(runs[0].len() > 30);
    assert_eq!(runs[0], runs[1]);
}
