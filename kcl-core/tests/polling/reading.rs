//! The reader: every record once, in order, and then the end.

use std::time::Duration;

use kcl_core::StartingPosition;
use kcl_core::metrics::{ITERATORS_EXPIRED, READS_THROTTLED, RECORDS_LOST};
use kcl_core::retrieval::{Fetched, ReadError};
use kcl_emulator::{Fault, Rule};

use crate::bench::{Bench, STREAM, create, custom, next, read, read_to_end, reads_only, shard_id};

#[tokio::test(start_paused = true)]
async fn every_starting_position() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    bench.pass(60).await;
    let middle = bench.clock.wall();
    bench.pass(1).await;
    bench.put(3..6, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    let Fetched::Records { records, .. } = next(&mut reader).await.unwrap() else {
        panic!("no records");
    };
    assert_eq!(records[4].partition_key, "4");
    let number = records[4].sequence_number.clone();
    let table = [
        (StartingPosition::TrimHorizon, 0),
        (StartingPosition::AtTimestamp(middle), 3),
        (StartingPosition::AtSequenceNumber(number.clone()), 4),
        (StartingPosition::AfterSequenceNumber(number), 5),
    ];
    for (from, first) in table {
        let mut reader = bench.open(0, from.clone());
        assert_eq!(read(&mut reader, 6 - first).await, Vec::from_iter(first..6), "{from:?}");
    }
    bench.pass(60).await;
    let mut reader = bench.open(0, StartingPosition::Latest);
    assert!(tokio::time::timeout(Duration::from_secs(60), reader.next()).await.is_err());
    bench.put(6..8, 0).await;
    assert_eq!(read(&mut reader, 2).await, [6, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_six_minutes_expires_the_iterator_and_nothing_else() {
    let bench = Bench::new(1).await;
    let mut latest = bench.open(0, StartingPosition::Latest);
    assert!(tokio::time::timeout(Duration::from_secs(10), latest.next()).await.is_err());
    bench.pass(10).await;
    bench.put(0..3, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    bench.put(3..5, 0).await;
    bench.pass(360).await;
    bench.put(5..6, 0).await;
    assert_eq!(read(&mut reader, 3).await, [3, 4, 5]);
    assert_eq!(bench.sum(ITERATORS_EXPIRED), 1.0);
    assert_eq!(read(&mut latest, 6).await, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_split_and_a_merge_in_the_middle_lose_nothing() {
    let bench = Bench::new(1).await;
    bench.put(0..50, 0).await;
    bench.split(0).await;
    bench.put(50..100, 0).await;
    let merge = bench.client.merge_shards().stream_name(STREAM);
    let merge = merge.shard_to_merge(shard_id(1).as_str());
    merge.adjacent_shard_to_merge(shard_id(2).as_str()).send().await.unwrap();
    bench.put(100..150, 0).await;

    let mut parent = bench.open(0, StartingPosition::TrimHorizon);
    let (read, children) = read_to_end(&mut parent).await;
    assert_eq!(read, Vec::from_iter(0..50));
    assert_eq!(
        children.iter().map(|child| &child.id).collect::<Vec<_>>(),
        [&shard_id(1), &shard_id(2)]
    );
    let mut half = bench.open(1, StartingPosition::TrimHorizon);
    let (_, children) = read_to_end(&mut half).await;
    assert_eq!(children.len(), 1);
    assert_eq!(children[0].parents, [shard_id(1), shard_id(2)]);
    assert_eq!(bench.read_lineage(&[0]).await, Vec::from_iter(0..150));
}

#[tokio::test(start_paused = true)]
async fn a_reader_alone_is_never_throttled() {
    let bench = Bench::with(1, reads_only()).await;
    bench.put(0..120, 250_000).await;
    let begin = bench.clock.now();
    let polling = bench.polling().max_records(7);
    let mut reader = bench.open_by(&polling, &shard_id(0), StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 120).await, Vec::from_iter(0..120));
    // 30 MB at 2 MiB/s.
    let took = bench.clock.now() - begin;
    assert!(took < Duration::from_secs(15), "{took:?}");
    let (read_more, _) = read_to_end(&mut reader).await;
    assert!(read_more.is_empty());
    assert_eq!(bench.sum(READS_THROTTLED), 0.0);
}

#[tokio::test(start_paused = true)]
async fn readers_that_share_a_shard_all_get_everything() {
    let bench = Bench::with(1, reads_only()).await;
    bench.put(0..60, 250_000).await;
    let mut readers: Vec<_> =
        (0..3).map(|_| bench.open(0, StartingPosition::TrimHorizon)).collect();
    let begin = bench.clock.now();
    let [first, second, third] = &mut readers[..] else { unreachable!() };
    let (first, second, third) = tokio::join!(read(first, 60), read(second, 60), read(third, 60));
    for read in [first, second, third] {
        assert_eq!(read, Vec::from_iter(0..60));
    }
    // 45 MB at 2 MiB/s take 21.5 s at best.
    let took = bench.clock.now() - begin;
    assert!(took < Duration::from_secs(90), "{took:?}");
    assert!(bench.sum(READS_THROTTLED) > 0.0);
}

#[tokio::test(start_paused = true)]
async fn faults_of_every_kind_neither_lose_nor_repeat() {
    let bench = Bench::new(1).await;
    bench.put(0..200, 0).await;
    let faults = [
        Fault::Throttle,
        Fault::ErrorBefore(500),
        Fault::ErrorBefore(503),
        Fault::ErrorAfter,
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::CutBody { at: 100 },
        Fault::Latency(Duration::from_secs(45)),
        custom("ExpiredTokenException"),
        custom("ExpiredIteratorException"),
        custom("ResourceNotFoundException"),
        custom("KMSThrottlingException"),
        custom("NobodyKnowsException"),
    ];
    for fault in faults {
        for operation in ["GetRecords", "GetShardIterator"] {
            let rule = Rule::new(fault.clone()).operation(operation);
            bench.emulator.faults().add(rule.chance(0.04));
        }
    }
    let polling = bench.polling().max_records(3);
    let mut reader = bench.open_by(&polling, &shard_id(0), StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 200).await, Vec::from_iter(0..200));
    assert!(bench.emulator.faults().counts().len() >= 8);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stream_is_not_found_and_so_is_its_successor() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    bench.client.delete_stream().stream_name(STREAM).send().await.unwrap();
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
}

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

#[tokio::test(start_paused = true)]
async fn a_refused_position_is_counted_and_left() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let old = StartingPosition::AfterSequenceNumber("1".parse().unwrap());
    let mut reader = bench.open(0, old);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    assert_eq!(bench.sum(RECORDS_LOST), 1.0);
}
