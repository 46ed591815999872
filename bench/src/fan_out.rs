//! Enhanced fan-out by hand, as one would write it: a subscription for each shard, nothing else.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{
    ConsumerStatus, Record, ShardIteratorType, StartingPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Failure;

/// What is done with the records of an event.
pub(crate) type Take = Arc<dyn Fn(&[Record]) + Send + Sync>;

/// How an event is handled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Handling {
    /// By another task, while this one receives the next.
    pub(crate) ahead: bool,
    /// What it waits for.
    pub(crate) wait: Wait,
}

/// What the handling of some records waits for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wait {
    /// `None`: nothing; 0: it yields.
    pub(crate) millis: Option<u64>,
}

impl Wait {
    pub(crate) async fn over(self) {
        match self.millis {
            Some(0) => tokio::task::yield_now().await,
            Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            None => {}
        }
    }
}

/// Registers a consumer and waits until it can be used.
pub(crate) async fn register(client: &Client, stream: &str, name: &str) -> Result<String, Failure> {
    let described = client.describe_stream_summary().stream_name(stream).send().await?;
    let arn = described.stream_description_summary.ok_or("no description")?.stream_arn;
    let register = client.register_stream_consumer().stream_arn(&arn).consumer_name(name);
    let consumer = register.send().await?.consumer.ok_or("no consumer")?.consumer_arn;
    loop {
        let described = client.describe_stream_consumer().consumer_arn(&consumer).send().await?;
        let described = described.consumer_description.ok_or("no description")?;
        if described.consumer_status == ConsumerStatus::Active {
            return Ok(consumer);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Reads all shards of a stream from `from`, until `stop`.
pub(crate) async fn read(
    client: &Client,
    stream: &str,
    consumer: &str,
    from: ShardIteratorType,
    take: Take,
    handling: Handling,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let shards = client.list_shards().stream_name(stream).send().await?;
    let mut loops = JoinSet::new();
    for shard in shards.shards() {
        let (client, take, from) = (client.clone(), take.clone(), from.clone());
        let (consumer, shard) = (consumer.to_owned(), shard.shard_id().to_owned());
        loops.spawn(async move {
            let (events_out, mut events_in) = mpsc::channel::<SubscribeToShardEvent>(1);
            let task_takes = take.clone();
            let mut taker = JoinSet::new();
            taker.spawn(async move {
                while let Some(event) = events_in.recv().await {
                    handling.wait.over().await;
                    task_takes(event.records());
                }
            });
            let mut position = StartingPosition::builder().r#type(from).build()?;
            loop {
                let subscribe = client.subscribe_to_shard().consumer_arn(&consumer);
                let subscribe = subscribe.shard_id(&shard).starting_position(position.clone());
                let mut events = subscribe.send().await?.event_stream;
                while let Some(event) = events.recv().await? {
                    let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event else {
                        continue;
                    };
                    let after = StartingPosition::builder()
                        .r#type(ShardIteratorType::AfterSequenceNumber)
                        .sequence_number(event.continuation_sequence_number());
                    position = after.build()?;
                    if handling.ahead {
                        events_out.send(event).await?;
                    } else {
                        handling.wait.over().await;
                        take(event.records());
                    }
                }
            }
            #[expect(unreachable_code, reason = "the type of what the loop may fail with")]
            Ok::<(), Failure>(())
        });
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        Some(ended) = loops.join_next() => ended?,
    }
}
