//! A stream's life by the real SDK. Runs over both fronts.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType, StreamStatus};
use kcl_emulator::{Emulator, Fault, Rule};

use crate::over_a_socket;

const STREAM: &str = "orders";

async fn put(client: &Client, numbers: std::ops::Range<usize>) {
    let entry = |number: usize| {
        let entry = PutRecordsRequestEntry::builder().partition_key(number.to_string());
        entry.data(Blob::new(format!("record {number}"))).build().unwrap()
    };
    let entries = numbers.map(entry).collect();
    let put = client.put_records().stream_name(STREAM).set_records(Some(entries));
    assert_eq!(put.send().await.unwrap().failed_record_count(), Some(0));
}

async fn iterator(client: &Client, shard: &str) -> String {
    let iterator = client.get_shard_iterator().stream_name(STREAM).shard_id(shard);
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await;
    iterator.unwrap().shard_iterator.unwrap()
}

async fn page(client: &Client, iterator: &str) -> GetRecordsOutput {
    client.get_records().shard_iterator(iterator).send().await.unwrap()
}

async fn life_of_a_stream(client: &Client) {
    client.create_stream().stream_name(STREAM).shard_count(2).send().await.unwrap();
    let summary = client.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!(summary.stream_status, StreamStatus::Active);
    assert_eq!(summary.open_shard_count, 2);

    put(client, 0..100).await;
    let split = client.split_shard().stream_name(STREAM).shard_to_split("shardId-000000000000");
    split.new_starting_hash_key("1000").send().await.unwrap();
    put(client, 100..200).await;

    let shards = client.list_shards().stream_name(STREAM).send().await.unwrap().shards.unwrap();
    assert_eq!(shards.len(), 4);
    let (mut records, mut children) = (Vec::new(), 0);
    for shard in &shards {
        let mut next = Some(iterator(client, shard.shard_id()).await);
        while let Some(iterator) = next.take() {
            let page = page(client, &iterator).await;
            children += page.child_shards().len();
            let behind = page.millis_behind_latest.unwrap_or_default() > 0;
            if behind || !page.records.is_empty() {
                next = page.next_shard_iterator;
            }
            records.extend(page.records.into_iter().map(|record| record.data.into_inner()));
        }
    }
    let mut expected: Vec<_> = (0..200).map(|n| format!("record {n}").into_bytes()).collect();
    records.sort();
    expected.sort();
    assert_eq!(records, expected);
    assert_eq!(children, 2);

    client.delete_stream().stream_name(STREAM).send().await.unwrap();
    let gone = client.list_shards().stream_name(STREAM).send().await.unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn a_stream_lives_in_process() {
    let emulator = Emulator::builder().build();
    life_of_a_stream(&Client::new(&emulator.sdk_config())).await;
}

#[tokio::test]
async fn a_stream_lives_over_a_socket() {
    let emulator = Emulator::builder().build();
    let (_server, config) = over_a_socket(&emulator).await;
    life_of_a_stream(&Client::new(&config)).await;
}

/// AWS's limit of five reads a second, met by the SDK's retries and by nothing but virtual time.
#[tokio::test(start_paused = true)]
async fn reads_are_throttled_and_retried_in_virtual_time() {
    let emulator = Emulator::builder().build();
    let config = emulator.sdk_config();
    let hasty = config.to_builder().retry_config(RetryConfig::disabled()).build();
    let (client, hasty) = (Client::new(&config), Client::new(&hasty));
    client.create_stream().stream_name(STREAM).shard_count(1).send().await.unwrap();
    let iterator = iterator(&client, "shardId-000000000000").await;
    for _ in 0..5 {
        page(&hasty, &iterator).await;
    }
    let throttled = hasty.get_records().shard_iterator(&iterator).send().await.unwrap_err();
    assert_eq!(throttled.code(), Some("ProvisionedThroughputExceededException"));
    let before = emulator.clock().now();
    page(&client, &iterator).await;
    assert!(emulator.clock().now() > before);
}

/// A put whose reply is lost is put again by the SDK: the stream then holds it twice, as on AWS.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_doubles_a_record() {
    let emulator = Emulator::builder().build();
    let client = Client::new(&emulator.sdk_config());
    client.create_stream().stream_name(STREAM).shard_count(1).send().await.unwrap();
    emulator.faults().add(Rule::new(Fault::LostAfter).operation("PutRecords").nth(1));
    put(&client, 0..1).await;
    let iterator = iterator(&client, "shardId-000000000000").await;
    assert_eq!(page(&client, &iterator).await.records().len(), 2);
    assert_eq!(emulator.counts()["kinesis:PutRecords"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_fault_finds_a_shard_behind_its_iterator() {
    let emulator = Emulator::builder().build();
    let config = emulator.sdk_config().into_builder().retry_config(RetryConfig::disabled());
    let client = Client::new(&config.build());
    client.create_stream().stream_name(STREAM).shard_count(2).send().await.unwrap();
    let read = async |shard: &str| {
        let iterator = iterator(&client, shard).await;
        client.get_records().shard_iterator(iterator).send().await
    };
    let rule = Rule::new(Fault::Throttle).operation("GetRecords");
    emulator.faults().add(rule.body_contains("shardId-000000000001"));
    read("shardId-000000000000").await.unwrap();
    read("shardId-000000000001").await.unwrap_err();
}
