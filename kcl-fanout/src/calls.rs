//! SubscribeToShard by the SDK, and its events as what the reader needs.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{
    ShardIteratorType, StartingPosition as SdkPosition, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};
use kcl_core::kinesis::{ApiError, ApiErrorKind, seam};
use kcl_core::retrieval::{BudgetPermit, OpenShard, is_complete};
use kcl_core::{ChildShard, RawRecord, SequenceNumber, ShardId, StartingPosition};

use crate::gate::{Admission, Gatekeeper};

pub(crate) const OPERATION: &str = "SubscribeToShard";

/// A subscription: its events, and under which permits they came.
#[derive(Debug)]
pub(crate) struct Subscription {
    events: EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>,
    pub(crate) admission: Arc<Admission>,
}

/// An event.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) records: Vec<RawRecord>,
    pub(crate) behind: Duration,
    /// Absent where the SDK has an empty string, which is what it makes of a number that was not sent.
    pub(crate) continuation: Option<SequenceNumber>,
    /// All children, or none.
    pub(crate) children: Vec<ChildShard>,
    pub(crate) permit: Option<BudgetPermit>,
}

/// A call is given up after this long: on AWS an answer comes within a second.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Opens a subscription; `advance` is the permit of its first message.
pub(crate) async fn subscribe(
    client: &Client,
    consumer_arn: &str,
    open: &OpenShard,
    from: &StartingPosition,
    advance: BudgetPermit,
) -> Result<Subscription, ApiError> {
    let admission = Arc::new(Admission::new(advance));
    let gate = Gatekeeper { budget: open.budget.clone(), admission: admission.clone() };
    let call = client
        .subscribe_to_shard()
        .consumer_arn(consumer_arn)
        .shard_id(open.shard.as_str())
        .set_starting_position(position(from))
        .customize()
        .interceptor(gate);
    tokio::select! {
        biased;
        // Boxed, because it is large and there is one in five minutes.
        output = Box::pin(call.send()) => {
            let output = output.map_err(|error| seam::failed(OPERATION, &error))?;
            admission.has_stirred(); // that was the initial response
            Ok(Subscription { events: output.event_stream, admission })
        }
        () = open.clock.sleep(ANSWER_LIMIT) => {
            admission.leave_connection();
            let reason = "no answer: more shards than the connection carries, see FanOut::shards_per_connection, or a dead connection";
            Err(ApiError::new(OPERATION, ApiErrorKind::Unavailable, reason))
        }
    }
}

impl Subscription {
    /// The next event of `shard`; `None` when the stream has ended. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self, shard: &ShardId) -> Result<Option<Delivery>, ApiError> {
        loop {
            let event = self.events.recv().await;
            let permit = self.admission.take();
            match event.map_err(|error| seam::broke(OPERATION, &error))? {
                Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => {
                    return delivery(shard, event, permit).map(Some);
                }
                Some(_) => {} // of a kind that came after this SDK
                None => return Ok(None),
            }
        }
    }
}

fn delivery(
    shard: &ShardId,
    event: SubscribeToShardEvent,
    mut permit: Option<BudgetPermit>,
) -> Result<Delivery, ApiError> {
    let malformed = |error| ApiError::new(OPERATION, ApiErrorKind::Malformed, error);
    let records = event.records.into_iter();
    // Converted in the SDK's own allocation.
    let records: Result<Vec<_>, _> = records.map(|sdk| seam::record(OPERATION, sdk)).collect();
    let records = records?;
    if let Some(permit) = &mut permit {
        permit.shrink_to(records.iter().map(RawRecord::size).sum());
    }
    let number = event.continuation_sequence_number;
    let continuation = (!number.is_empty()).then(|| SequenceNumber::new(number)).transpose();
    let children = event.child_shards.unwrap_or_default().into_iter();
    let children: Result<Vec<ChildShard>, ApiError> =
        children.map(|child| seam::child(OPERATION, child)).collect();
    let mut children = children?;
    if !is_complete(shard, &children) {
        children.clear();
    }
    Ok(Delivery {
        records,
        behind: Duration::from_millis(u64::try_from(event.millis_behind_latest).unwrap_or(0)),
        continuation: continuation.map_err(|error| malformed(error.to_string()))?,
        children,
        permit,
    })
}

fn position(from: &StartingPosition) -> Option<SdkPosition> {
    let position = SdkPosition::builder();
    let position = match from {
        StartingPosition::TrimHorizon => position.r#type(ShardIteratorType::TrimHorizon),
        StartingPosition::Latest => position.r#type(ShardIteratorType::Latest),
        StartingPosition::AtTimestamp(time) => {
            position.r#type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from(*time))
        }
        StartingPosition::AtSequenceNumber(number) => {
            position.r#type(ShardIteratorType::AtSequenceNumber).sequence_number(number.as_str())
        }
        StartingPosition::AfterSequenceNumber(number) => {
            position.r#type(ShardIteratorType::AfterSequenceNumber).sequence_number(number.as_str())
        }
    };
    position.build().ok() // fails without a type only
}
