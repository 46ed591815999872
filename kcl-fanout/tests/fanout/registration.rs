//! Consumers: found or registered, once, and never ended unless asked.

use std::time::Duration;

use aws_sdk_kinesis::types::ConsumerStatus;
use futures_util::future::join_all;
use kcl_core::StartingPosition;
use kcl_core::metrics::{CONSUMERS_REGISTERED, READ_FAILURES};
use kcl_core::retrieval::ReadError;
use kcl_emulator::{Fault, Rule};
use kcl_fanout::FanOut;

use crate::bench::{
    ARN, Bench, CONSUMER, STREAM, consumers, custom, next, read, register, shard_id,
};

const REGISTER: &str = "RegisterStreamConsumer";
const DESCRIBE: &str = "DescribeStreamConsumer";

/// Many shards, several processes, all at once.
#[tokio::test(start_paused = true)]
async fn one_registration_serves_all_readers_of_all_processes() {
    let bench = Bench::new(40).await;
    bench.put(0..200, 0).await;
    let others = [bench.other_process(), bench.other_process()];
    let ids: Vec<_> = (0..40).map(shard_id).collect();
    let mut readers: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let source = [&bench.source, &others[0], &others[1]][n % 3];
            bench.open_by(source, id, StartingPosition::TrimHorizon)
        })
        .collect();
    let minute = Duration::from_secs(60);
    let read = join_all(readers.iter_mut().map(|reader| async {
        let mut read = 0;
        while let Ok(fetched) = tokio::time::timeout(minute, reader.next()).await {
            read += crate::bench::numbers(fetched.unwrap()).len();
        }
        read
    }));
    assert_eq!(read.await.into_iter().sum::<usize>(), 200);
    assert_eq!(bench.sum(CONSUMERS_REGISTERED), 1.0);
    assert!(bench.requests(REGISTER) <= 3);
    assert!(bench.requests(DESCRIBE) <= 12, "{}", bench.requests(DESCRIBE));
    assert_eq!(consumers(&bench).await, [ConsumerStatus::Active]);
    drop(readers);
    bench.pass(60).await;
    assert_eq!(consumers(&bench).await, [ConsumerStatus::Active], "nobody asked to end it");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_there_is_found() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    register(&bench, CONSUMER).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    assert_eq!(bench.requests(REGISTER), 1, "that of the test");
    assert_eq!(bench.sum(CONSUMERS_REGISTERED), 0.0);
}

/// With an ARN nothing else is asked for, so nothing else need be allowed.
#[tokio::test(start_paused = true)]
async fn an_arn_needs_no_permission_but_to_subscribe() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let arn = register(&bench, "somebody-else-made-it").await;
    for operation in [REGISTER, DESCRIBE, "DescribeStreamSummary", "ListShards"] {
        bench.fault(Rule::new(custom("AccessDeniedException")).operation(operation));
    }
    let (registered, described) = (bench.requests(REGISTER), bench.requests(DESCRIBE));
    let source = FanOut::new(&bench.emulator.sdk_config()).consumer_arn(&arn);
    let mut reader = bench.open_by(&source, &shard_id(0), StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    assert_eq!((bench.requests(REGISTER), bench.requests(DESCRIBE)), (registered, described));
}

#[tokio::test(start_paused = true)]
async fn an_arn_of_another_stream_or_a_wrong_name_is_a_mistake() {
    let bench = Bench::new(1).await;
    let aws = bench.emulator.sdk_config();
    let other = ARN.replace("orders", "others") + "/consumer/c:1";
    let foreign = ARN.replace("000000000000", "000000000001") + "/consumer/c:1";
    for source in [
        FanOut::new(&aws).consumer_arn(other),
        FanOut::new(&aws).consumer_arn(foreign),
        FanOut::new(&aws).consumer_arn(ARN),
        FanOut::new(&aws).consumer("no good name"),
    ] {
        let mut reader = bench.open_by(&source, &shard_id(0), StartingPosition::TrimHorizon);
        let wrong = next(&mut reader).await;
        assert!(matches!(wrong, Err(ReadError::NoConsumer(_))), "{source:?}: {wrong:?}");
    }
    assert_eq!(bench.requests("SubscribeToShard"), 0);
}

/// A8: a consumer that somebody deregisters while it is read: registered again, and no end.
#[tokio::test(start_paused = true)]
async fn a8_a_deregistered_consumer_is_registered_again() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    let deregister = bench.client.deregister_stream_consumer().stream_arn(ARN);
    deregister.consumer_name(CONSUMER).send().await.unwrap();
    let put = async {
        bench.pass(30).await;
        bench.put(3..6, 0).await;
    };
    let (read, ()) = tokio::join!(read(&mut reader, 3), put);
    assert_eq!(read, [3, 4, 5]);
    assert_eq!(bench.sum(CONSUMERS_REGISTERED), 2.0);
}

/// A8: one by ARN is waited for, with a warning, and no end.
#[tokio::test(start_paused = true)]
async fn a8_a_given_consumer_that_is_gone_is_waited_for() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let arn = register(&bench, "c").await;
    let source = FanOut::new(&bench.emulator.sdk_config()).consumer_arn(&arn);
    let mut reader = bench.open_by(&source, &shard_id(0), StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    bench.client.deregister_stream_consumer().consumer_arn(&arn).send().await.unwrap();
    assert!(crate::bench::is_silent(&mut reader, 600).await);
    assert_eq!(bench.requests(REGISTER), 1, "that of the test");
    let calls = bench.requests("SubscribeToShard");
    assert!((100..400).contains(&calls), "{calls}");
    assert!(bench.sum(READ_FAILURES) > 90.0);
}

#[tokio::test(start_paused = true)]
async fn only_deregister_ends_a_consumer() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    drop(reader);
    bench.source.deregister(STREAM).await.unwrap();
    bench.pass(60).await;
    assert_eq!(consumers(&bench).await, []);
    bench.source.deregister(ARN).await.unwrap();
    let arn = register(&bench, "c").await;
    let given = FanOut::new(&bench.emulator.sdk_config()).consumer_arn(arn);
    assert!(given.deregister("others").await.is_err());
    given.deregister(STREAM).await.unwrap();
    bench.pass(60).await;
    assert_eq!(consumers(&bench).await, []);
    assert!(bench.source.deregister("not a name").await.is_err());
}

/// Limits, throttles and errors of every call: it backs off and gets there, with few calls.
#[tokio::test(start_paused = true)]
async fn registration_survives_faults() {
    let faults = [
        Fault::Throttle,
        Fault::ErrorBefore(500),
        Fault::ErrorAfter,
        Fault::LostBefore,
        Fault::LostAfter,
        custom("LimitExceededException"),
        custom("ResourceInUseException"),
        custom("AccessDeniedException"),
    ];
    for failing in faults {
        for operation in [REGISTER, DESCRIBE, "DescribeStreamSummary"] {
            let bench = Bench::new(3).await;
            bench.put(0..9, 0).await;
            bench.fault(Rule::new(failing.clone()).operation(operation).first(8));
            let mut readers: Vec<_> =
                (0..3).map(|shard| bench.open(shard, StartingPosition::Latest)).collect();
            let waited =
                join_all(readers.iter_mut().map(|reader| crate::bench::is_silent(reader, 300)));
            assert!(waited.await.into_iter().all(|silent| silent));
            assert_eq!(bench.subscribe_calls(), 3, "{failing:?} at {operation}");
            assert_eq!(consumers(&bench).await, [ConsumerStatus::Active]);
            let calls = bench.requests(operation);
            assert!(calls < 30, "{failing:?} at {operation}: {calls} calls");
        }
    }
}

/// A reader dropped in the middle leaves no storm behind and blocks nobody.
#[tokio::test(start_paused = true)]
async fn a_registration_dropped_in_the_middle_goes_on() {
    let bench = Bench::new(1).await;
    bench.put(0..3, 0).await;
    bench.fault(Rule::new(Fault::LateReply(Duration::from_millis(300))).operation(REGISTER));
    for _ in 0..20 {
        let mut reader = bench.open(0, StartingPosition::TrimHorizon);
        let _dropped = tokio::time::timeout(Duration::from_millis(20), reader.next()).await;
    }
    let mut reader = bench.open(0, StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [0, 1, 2]);
    assert!(bench.requests(DESCRIBE) <= 24, "{}", bench.requests(DESCRIBE));
}
