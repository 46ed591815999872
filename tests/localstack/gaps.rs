//! What AWS promises and emulators are known to leave out, one by one and without the library.

use std::time::{Duration, Instant, SystemTime};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::subscribe_to_shard::{
    SubscribeToShardError, SubscribeToShardOutput,
};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    ConsumerStatus, PutRecordsRequestEntry, ShardFilter, ShardFilterType, ShardIteratorType,
    StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};

use crate::differences::Difference;
use crate::loopback::world::World;
use crate::place::{Place, on_endpoint};

const FIRST: &str = "shardId-000000000000";

/// A stream, and a consumer of it.
struct Probe {
    world: World,
    kinesis: Client,
    consumer: String,
}

impl Probe {
    async fn new(place: &Place, shards: i32) -> Self {
        let world = place.stream(shards).await;
        let kinesis = Client::new(&place.aws);
        let described = kinesis.describe_stream_summary().stream_name(&world.stream).send().await;
        let stream = described.unwrap().stream_description_summary.unwrap().stream_arn;
        let register = kinesis.register_stream_consumer().stream_arn(stream).consumer_name("probe");
        let consumer = register.send().await.unwrap().consumer.unwrap().consumer_arn;
        loop {
            let described = kinesis.describe_stream_consumer().consumer_arn(&consumer).send().await;
            let described = described.unwrap().consumer_description.unwrap();
            if described.consumer_status == ConsumerStatus::Active {
                return Self { world, kinesis, consumer };
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn subscribe(&self) -> Result<SubscribeToShardOutput, SubscribeToShardError> {
        let from = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon);
        let call = self.kinesis.subscribe_to_shard().consumer_arn(&self.consumer).shard_id(FIRST);
        let call = call.starting_position(from.build().unwrap());
        call.send().await.map_err(SdkError::into_service_error)
    }
}

/// The next event; `Ok(None)` at the end, and an error where the connection breaks.
async fn next(
    subscription: &mut SubscribeToShardOutput,
) -> Result<Option<SubscribeToShardEvent>, ()> {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), subscription.event_stream.recv());
        match event.await.expect("an event, or its end, within 20 s") {
            Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => {
                return Ok(Some(event));
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(_) => return Err(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_ends_with_the_child_shards() {
    on_endpoint(|place| async move {
        let probe = Probe::new(&place, 1).await;
        probe.world.put(5).await;
        probe.world.split(&mut fastrand::Rng::new()).await;
        let mut subscription = probe.subscribe().await.unwrap();
        let (mut records, mut children) = (0, 0);
        let end = loop {
            match next(&mut subscription).await {
                Ok(Some(event)) => {
                    records += event.records().len();
                    children = children.max(event.child_shards().len());
                }
                Ok(None) => break "end",
                Err(()) => break "broken connection",
            }
        };
        assert_eq!(records, 5);
        let seen = format!("{children} child shards, {end}");
        Difference::NoChildShards.judge(&place, &seen);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_has_one_subscription_to_a_shard() {
    on_endpoint(|place| async move {
        let probe = Probe::new(&place, 1).await;
        probe.world.put(1).await; // an event comes at once, within the five seconds
        let mut older = probe.subscribe().await.unwrap();
        next(&mut older).await.unwrap().unwrap();
        let seen = match probe.subscribe().await {
            Ok(_) => "two subscriptions".to_owned(),
            Err(error) => error.code().unwrap_or_default().to_owned(),
        };
        Difference::SharedSubscriptions.judge(&place, &seen);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_subscription_ends_the_older_one() {
    on_endpoint(|place| async move {
        let probe = Probe::new(&place, 1).await;
        let mut older = probe.subscribe().await.unwrap();
        next(&mut older).await.unwrap().unwrap();
        // Before that it is refused.
        tokio::time::sleep(Duration::from_millis(5_500)).await;
        let mut newer = probe.subscribe().await.unwrap();
        next(&mut newer).await.unwrap().unwrap();
        probe.world.put(1).await;
        let begin = Instant::now();
        let seen = loop {
            match next(&mut older).await {
                Ok(Some(event)) if !event.records().is_empty() => break "both go on",
                Ok(Some(_)) if begin.elapsed() > Duration::from_secs(10) => break "silence",
                Ok(Some(_)) => {}
                Ok(None) | Err(()) => break "the older ends",
            }
        };
        Difference::NoTakeover.judge(&place, seen);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_has_a_limit_and_says_how_far_it_is_behind() {
    on_endpoint(|place| async move {
        let probe = Probe::new(&place, 1).await;
        for _ in 0..4 {
            let put = probe.kinesis.put_record().stream_name(&probe.world.stream);
            let put = put.partition_key("large").data(Blob::new(vec![0; 1_000_000]));
            put.send().await.unwrap();
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        let mut subscription = probe.subscribe().await.unwrap();
        let event = loop {
            let event = next(&mut subscription).await.unwrap().unwrap();
            if !event.records().is_empty() {
                break event;
            }
        };
        let seen = match (event.records().len(), event.millis_behind_latest()) {
            (4, _) => "4 MB in one event",
            (_, 0) => "some of it, and at the tip",
            _ => "some of it, and behind",
        };
        Difference::LargeEvents.judge(&place, seen);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_is_read_five_times_a_second() {
    on_endpoint(|place| async move {
        let world = place.stream(1).await;
        // Its own retries would hide it.
        let config = aws_sdk_kinesis::config::Builder::from(&place.aws)
            .retry_config(aws_sdk_kinesis::config::retry::RetryConfig::disabled());
        let kinesis = Client::from_conf(config.build());
        let open = kinesis.get_shard_iterator().stream_name(&world.stream).shard_id(FIRST);
        let open = open.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
        let iterator = open.shard_iterator.unwrap();
        let reads = (0..20).map(|_| kinesis.get_records().shard_iterator(&iterator).send());
        let mut seen = "no throttle".to_owned();
        for reply in futures_util::future::join_all(reads).await {
            if let Err(error) = reply {
                seen = error.code().unwrap_or_default().to_owned();
            }
        }
        Difference::NoThrottles.judge(&place, &seen);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_are_listed_as_of_a_time() {
    on_endpoint(|place| async move {
        let world = place.stream(2).await;
        world.put(10).await;
        world.split(&mut fastrand::Rng::new()).await;
        let kinesis = Client::new(&place.aws);
        let list = async |filter: ShardFilter| {
            let list = kinesis.list_shards().stream_name(&world.stream).shard_filter(filter);
            list.send().await.unwrap().shards.unwrap().len()
        };
        let filter = |kind| ShardFilter::builder().r#type(kind);
        assert_eq!(list(filter(ShardFilterType::AtLatest).build().unwrap()).await, 3);
        let oldest = list(filter(ShardFilterType::AtTrimHorizon).build().unwrap()).await;
        Difference::TrimHorizonFilter.judge(&place, &format!("{oldest} shards"));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = aws_sdk_kinesis::primitives::DateTime::from(SystemTime::now());
        let now = filter(ShardFilterType::AtTimestamp).timestamp(now).build().unwrap();
        assert_eq!(list(now).await, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_iterator_is_refused() {
    on_endpoint(|place| async move {
        let kinesis = Client::new(&place.aws);
        let refused = kinesis.get_records().shard_iterator("garbage").send().await.unwrap_err();
        Difference::IteratorErrors.judge(&place, refused.code().unwrap_or_default());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_has_five_hundred_records() {
    on_endpoint(|place| async move {
        let world = place.stream(1).await;
        let entry = PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new("v"));
        let entries = vec![entry.build().unwrap(); 501];
        let put = Client::new(&place.aws).put_records().stream_name(&world.stream);
        let put = put.set_records(Some(entries)).send().await;
        let seen = if put.is_ok() { "taken" } else { "refused" };
        Difference::LongPuts.judge(&place, seen);
    })
    .await;
}
