//! The adapter: what it makes of AWS's answers.

use std::time::Duration;

use kcl_core::kinesis::{ApiErrorKind, KinesisApi, ShardFilter, ShardIterator};
use kcl_core::retrieval::RecordSource;
use kcl_core::{ShardId, StartingPosition, Stream, StreamAddress};
use kcl_emulator::Fault;

use crate::bench::{Bench, STREAM, custom, fault, shard_id};

#[tokio::test(start_paused = true)]
async fn a_stream_is_who_it_says_by_name_and_arn() {
    let bench = Bench::new(2).await;
    let id = &bench.stream.id;
    assert_eq!((id.account(), id.name().as_str()), ("000000000000", STREAM));
    let arn = format!("arn:aws:kinesis:us-east-1:{}:stream/{STREAM}", id.account());
    let address: StreamAddress = arn.parse().unwrap();
    let by_arn = bench.api().describe_stream(&address).await.unwrap();
    assert_eq!(by_arn, Stream { id: id.clone(), address });
    let polling = bench.polling();
    bench.put(0..10, 0).await;
    let bench = Bench { stream: by_arn, ..bench };
    assert_eq!(bench.read_lineage(&[0, 1]).await, Vec::from_iter(0..10));
    assert!(bench.api().list_shards(&bench.stream, ShardFilter::All).await.unwrap().len() == 2);
    let unknown = polling.api().describe_stream(&"unknown".parse().unwrap()).await;
    assert_eq!(unknown.unwrap_err().kind(), ApiErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_listing_has_all_pages_once_and_begins_again_when_its_token_expires() {
    let bench = Bench::new(1100).await;
    let expired = fault("ListShards", custom("ExpiredNextTokenException"));
    bench.emulator.faults().add(expired.nth(2));
    let shards = bench.api().list_shards(&bench.stream, ShardFilter::All).await.unwrap();
    assert_eq!(
        shards.iter().map(|shard| shard.id.clone()).collect::<Vec<_>>(),
        (0..1100).map(shard_id).collect::<Vec<_>>()
    );
    assert_eq!(bench.requests("ListShards"), 4);

    bench.emulator.faults().clear();
    bench.emulator.faults().add(fault("ListShards", custom("ExpiredNextTokenException")));
    let error = bench.api().list_shards(&bench.stream, ShardFilter::All).await.unwrap_err();
    assert_eq!(error.kind(), ApiErrorKind::ExpiredToken);
}

#[tokio::test(start_paused = true)]
async fn filters_choose_the_shards() {
    let bench = Bench::new(1).await;
    bench.pass(60).await;
    bench.split(0).await;
    let middle = bench.clock.wall();
    bench.pass(60).await;
    bench.split(1).await;
    let table = [
        (ShardFilter::All, vec![0, 1, 2, 3, 4]),
        (ShardFilter::AtLatest, vec![2, 3, 4]),
        (ShardFilter::AtTrimHorizon, vec![0]),
        (ShardFilter::AtTimestamp(middle + Duration::from_secs(30)), vec![1, 2]),
    ];
    for (filter, expected) in table {
        let shards = bench.api().list_shards(&bench.stream, filter).await.unwrap();
        let ids: Vec<ShardId> = shards.into_iter().map(|shard| shard.id).collect();
        assert_eq!(ids, expected.into_iter().map(shard_id).collect::<Vec<_>>(), "{filter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_shows_no_payload() {
    let bench = Bench::new(1).await;
    bench.put(7_777_777..7_777_778, 3000).await;
    let api = bench.api();
    let from = StartingPosition::TrimHorizon;
    let iterator = api.shard_iterator(&bench.stream, &shard_id(0), &from).await.unwrap();
    bench.emulator.faults().add(fault("GetRecords", Fault::CutBody { at: 1000 }));
    let error = api.get_records(&bench.stream, &iterator, 10).await.unwrap_err();
    assert_eq!(error.kind(), ApiErrorKind::Unavailable);
    let source = std::error::Error::source(&error).unwrap();
    for text in
        [format!("{error}"), format!("{error:?}"), format!("{source}"), format!("{source:?}")]
    {
        // The payload's first bytes in base64, and the partition key.
        assert!(!text.contains("Nzc3Nzc3") && !text.contains("7777777"), "{text}");
    }
    bench.emulator.faults().clear();
    let foreign = ShardIterator("foreign".to_owned());
    let error = api.get_records(&bench.stream, &foreign, 10).await.unwrap_err();
    assert_eq!(error.kind(), ApiErrorKind::InvalidArgument);
}
