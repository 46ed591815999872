//! Enhanced fan-out by the real SDK, in virtual time and over a socket.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};
use kcl_emulator::{Emulator, Fault, Rule};

use crate::over_a_socket;

const STREAM: &str = "orders";
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
const SHARD: &str = "shardId-000000000000";
const SECOND: Duration = Duration::from_secs(1);

type Events = EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>;

/// How a stream of events went on.
#[derive(Debug)]
enum Next {
    Event(SubscribeToShardEvent),
    Exception(String),
    Broken,
    End,
}

impl Next {
    fn data(&self) -> Vec<&[u8]> {
        match self {
            Self::Event(event) => event.records().iter().map(|r| r.data().as_ref()).collect(),
            other => panic!("{other:?}"),
        }
    }
}

/// A stream of one shard with an active consumer, and its ARN.
async fn consumer(client: &Client) -> String {
    client.create_stream().stream_name(STREAM).shard_count(1).send().await.unwrap();
    let register = client.register_stream_consumer().stream_arn(ARN).consumer_name("c");
    let consumer = register.send().await.unwrap().consumer.unwrap();
    assert_eq!(consumer.consumer_status, ConsumerStatus::Creating);
    loop {
        let describe = client.describe_stream_consumer().consumer_arn(&consumer.consumer_arn);
        let described = describe.send().await.unwrap().consumer_description.unwrap();
        if described.consumer_status == ConsumerStatus::Active {
            return consumer.consumer_arn;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn subscribe(
    client: &Client,
    consumer: &str,
    kind: ShardIteratorType,
) -> Result<Events, SubscribeToShardError> {
    let position = StartingPosition::builder().r#type(kind).build().unwrap();
    let subscribe = client.subscribe_to_shard().consumer_arn(consumer).shard_id(SHARD);
    let output = subscribe.starting_position(position).send().await;
    output
        .map(|output| output.event_stream)
        .map_err(aws_sdk_kinesis::error::SdkError::into_service_error)
}

async fn latest(client: &Client, consumer: &str) -> Result<Events, SubscribeToShardError> {
    subscribe(client, consumer, ShardIteratorType::Latest).await
}

async fn next(events: &mut Events) -> Next {
    match events.recv().await {
        Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Next::Event(event),
        Ok(None) => Next::End,
        Ok(Some(other)) => panic!("{other:?}"),
        Err(error) => match error.as_service_error() {
            Some(error) => Next::Exception(error.code().unwrap().to_owned()),
            None => Next::Broken,
        },
    }
}

async fn put(client: &Client, data: &str) {
    let put = client.put_record().stream_name(STREAM).partition_key("k").data(Blob::new(data));
    put.send().await.unwrap();
}

async fn split(client: &Client) {
    let split = client.split_shard().stream_name(STREAM).shard_to_split(SHARD);
    split.new_starting_hash_key("1000").send().await.unwrap();
}

fn hasty(emulator: &Emulator) -> Client {
    let config = emulator.sdk_config().into_builder().retry_config(RetryConfig::disabled());
    Client::new(&config.build())
}

fn since(emulator: &Emulator, start: SystemTime) -> Duration {
    emulator.clock().now().duration_since(start).unwrap()
}

/// Records, a put that is pushed, a takeover, a shard's end, a deregistration.
pub(crate) async fn life_of_a_consumer(client: &Client) {
    let arn = consumer(client).await;
    put(client, "a").await;
    let mut events = subscribe(client, &arn, ShardIteratorType::TrimHorizon).await.unwrap();
    let first = next(&mut events).await;
    assert_eq!(first.data(), [b"a"]);
    let Next::Event(first) = first else { panic!("{first:?}") };
    assert_eq!(first.continuation_sequence_number(), first.records()[0].sequence_number());
    assert_eq!(first.millis_behind_latest(), 0);
    let (pushed, ()) = tokio::join!(next(&mut events), put(client, "b"));
    assert_eq!(pushed.data(), [b"b"]);

    let refused = latest(client, &arn).await.unwrap_err();
    assert!(refused.is_resource_in_use_exception(), "{refused:?}");
    let (ended, ()) = tokio::join!(next(&mut events), split(client));
    let Next::Event(end) = ended else { panic!("{ended:?}") };
    assert_eq!(end.child_shards().len(), 2);
    // What is missing on the wire is empty in the SDK's type.
    assert_eq!(end.continuation_sequence_number(), "");
    assert!(matches!(next(&mut events).await, Next::End));

    client.deregister_stream_consumer().consumer_arn(&arn).send().await.unwrap();
    tokio::time::sleep(SECOND).await;
    let gone = latest(client, &arn).await.unwrap_err();
    assert!(gone.is_resource_not_found_exception(), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_lives_in_process() {
    let emulator = Emulator::builder().build();
    life_of_a_consumer(&Client::new(&emulator.sdk_config())).await;
}

#[tokio::test]
async fn a_consumer_lives_over_a_socket() {
    let emulator = Emulator::builder().build();
    let (server, config) = over_a_socket(&emulator).await;
    life_of_a_consumer(&Client::new(&config)).await;
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_subscription_beats_every_five_seconds_and_ends_after_five_minutes() {
    let emulator = Emulator::builder().build();
    let client = Client::new(&emulator.sdk_config());
    let arn = consumer(&client).await;
    let start = emulator.clock().now();
    let mut events = latest(&client, &arn).await.unwrap();
    let (mut beats, mut before) = (0, String::new());
    loop {
        match next(&mut events).await {
            Next::Event(event) => {
                beats += 1;
                assert_eq!(since(&emulator, start), 5 * SECOND * beats);
                assert!(event.continuation_sequence_number() > before.as_str());
                before = event.continuation_sequence_number;
            }
            Next::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((beats, since(&emulator, start)), (59, Duration::from_secs(300)));
}

#[tokio::test(start_paused = true)]
async fn a_put_is_pushed_at_once_or_after_the_delay() {
    for delay in [Duration::ZERO, Duration::from_millis(70)] {
        let emulator = Emulator::builder().push_delay(delay).build();
        let client = Client::new(&emulator.sdk_config());
        let arn = consumer(&client).await;
        let mut events = latest(&client, &arn).await.unwrap();
        let start = emulator.clock().now();
        let later = async {
            tokio::time::sleep(2 * SECOND).await;
            put(&client, "a").await;
        };
        let (event, ()) = tokio::join!(next(&mut events), later);
        assert_eq!(event.data(), [b"a"]);
        assert_eq!(since(&emulator, start), 2 * SECOND + delay);
    }
}

#[tokio::test(start_paused = true)]
async fn after_five_seconds_another_subscription_takes_over() {
    let emulator = Emulator::builder().build();
    let (client, hasty) = (Client::new(&emulator.sdk_config()), hasty(&emulator));
    let arn = consumer(&client).await;
    let mut old = latest(&client, &arn).await.unwrap();
    tokio::time::sleep(Duration::from_millis(4_900)).await;
    assert!(latest(&hasty, &arn).await.unwrap_err().is_resource_in_use_exception());
    tokio::time::sleep(SECOND).await;
    let take_over = async {
        assert!(matches!(next(&mut old).await, Next::Event(_)));
        let end = next(&mut old).await;
        assert!(
            matches!(&end, Next::End)
                || matches!(&end, Next::Exception(e) if e == "ResourceInUseException")
        );
        emulator.clock().now()
    };
    let (ended_at, new) = tokio::join!(take_over, latest(&client, &arn));
    assert_eq!(ended_at, emulator.clock().now());
    let mut new = new.unwrap();
    let (event, ()) = tokio::join!(next(&mut new), put(&client, "a"));
    assert_eq!(event.data(), [b"a"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_subscription_leaves_nothing_behind() {
    let emulator = Emulator::builder().build();
    let client = Client::new(&emulator.sdk_config());
    let arn = consumer(&client).await;
    let mut events = latest(&client, &arn).await.unwrap();
    let waiting = tokio::time::timeout(SECOND, next(&mut events)).await;
    assert!(waiting.is_err());
    drop(events);
    put(&client, "a").await;
    assert!(emulator.with_kinesis(|kinesis, _| kinesis.take_woken()).is_empty());
    tokio::time::sleep(5 * SECOND).await;
    latest(&client, &arn).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn faults_of_streams_have_their_faces() {
    let exception = Fault::StreamError {
        events: 1,
        error: "InternalFailureException".to_owned(),
        message: "an internal failure".to_owned(),
    };
    for (fault, kind) in [
        (Fault::CutStream { events: 1 }, "cut_stream"),
        (exception, "stream_error"),
        (Fault::Silence { events: 1 }, "silence"),
        (Fault::CutBody { at: 400 }, "cut_body"),
    ] {
        let emulator = Emulator::builder().build();
        let client = hasty(&emulator);
        let arn = consumer(&client).await;
        emulator
            .faults()
            .add(Rule::new(fault).operation("SubscribeToShard").body_contains(SHARD).nth(1));
        put(&client, "a").await;
        let mut events = subscribe(&client, &arn, ShardIteratorType::TrimHorizon).await.unwrap();
        put(&client, "b").await;
        if kind != "cut_body" {
            assert_eq!(next(&mut events).await.data(), [b"a", b"b"], "{kind}");
        }
        put(&client, "c").await;
        let after = tokio::time::timeout(Duration::from_secs(3600), next(&mut events)).await;
        match kind {
            "silence" => assert!(after.is_err()),
            "stream_error" => {
                assert!(matches!(after, Ok(Next::Exception(e)) if e == "InternalFailureException"));
                assert!(matches!(next(&mut events).await, Next::End));
            }
            _ => assert!(matches!(after, Ok(Next::Broken)), "{kind}"),
        }
        assert_eq!(emulator.faults().counts()[kind], 1);
        // The shard is free again five seconds after the call.
        tokio::time::sleep(5 * SECOND).await;
        let mut events = subscribe(&client, &arn, ShardIteratorType::TrimHorizon).await.unwrap();
        assert_eq!(next(&mut events).await.data(), [b"a", b"b", b"c"], "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_evicted_subscription_may_still_send_what_was_under_way() {
    let emulator = Emulator::builder().build();
    let client = Client::new(&emulator.sdk_config());
    let arn = consumer(&client).await;
    let late = Rule::new(Fault::LateEvents(10 * SECOND)).operation("SubscribeToShard").nth(1);
    emulator.faults().add(late);
    let mut old = latest(&client, &arn).await.unwrap();
    let sent = async {
        tokio::time::sleep(SECOND).await;
        put(&client, "a").await;
        tokio::time::sleep(5 * SECOND).await;
        let mut new = subscribe(&client, &arn, ShardIteratorType::TrimHorizon).await.unwrap();
        assert_eq!(next(&mut new).await.data(), [b"a"]);
        emulator.clock().now()
    };
    let record = async {
        loop {
            let event = next(&mut old).await;
            if !event.data().is_empty() {
                assert_eq!(event.data(), [b"a"]);
                return emulator.clock().now();
            }
        }
    };
    let (arrived, taken_over) = tokio::join!(record, sent);
    assert_eq!(arrived.duration_since(taken_over).unwrap(), 5 * SECOND);
}

#[tokio::test]
async fn faults_of_streams_look_the_same_over_a_socket() {
    let emulator = Emulator::builder().build();
    let (_server, config) = over_a_socket(&emulator).await;
    let client = Client::new(&config.into_builder().retry_config(RetryConfig::disabled()).build());
    let arn = consumer(&client).await;
    emulator.faults().add(Rule::new(Fault::CutStream { events: 1 }).operation("SubscribeToShard"));
    put(&client, "a").await;
    let mut events = subscribe(&client, &arn, ShardIteratorType::TrimHorizon).await.unwrap();
    assert_eq!(next(&mut events).await.data(), [b"a"]);
    assert!(matches!(next(&mut events).await, Next::Broken));
}

#[tokio::test]
async fn a_stopping_server_ends_its_streams() {
    let emulator = Emulator::builder().build();
    let (server, config) = over_a_socket(&emulator).await;
    let client = Client::new(&config);
    let arn = consumer(&client).await;
    let mut events = latest(&client, &arn).await.unwrap();
    let stopped =
        tokio::time::timeout(4 * SECOND, async { tokio::join!(next(&mut events), server.stop()) });
    assert!(matches!(stopped.await.unwrap().0, Next::End));
}
