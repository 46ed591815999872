//! Live subscriptions: which event comes next, and when to ask again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;

use super::Kinesis;
use super::bucket::Bucket;
use super::consumer::ConsumerStatus;
use super::consumers::no_consumer;
use super::error::Error;
use super::read::{ChildShard, millis_behind};
use super::sequence::SequenceNumber;
use super::stream::Stream;
use super::target::{self, no_shard};
use super::time::Time;
use crate::Protocol;
use crate::wire::event_stream;

/// A subscription ends after this long.
const LIFE: Duration = Duration::from_secs(300);
/// Something is sent at least this often.
const SILENCE: Duration = Duration::from_secs(5);
const BYTES_PER_SECOND: u64 = 2 << 20;
/// Data and keys in one event, unless one record alone is larger.
const MAX_BYTES: usize = 1 << 20;

/// Names a subscription that [`Kinesis::subscribe`] opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub(super) u64);

/// What a subscription does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this frame of the event stream.
    Send(Bytes),
    /// Nothing to send. Ask again at this time, or earlier if [`Kinesis::take_woken`] names the subscription.
    Wait(SystemTime),
    /// The stream has ended; the subscription is gone.
    End,
}

/// One subscription.
///
/// ```text
///  SubscribeToShard ─> Opening ──initial-response──> Live ──shard's end, 5 minutes, eviction, gone──> Ending ──[exception]──> (gone)
/// ```
#[derive(Debug)]
pub(super) struct Subscription {
    protocol: Protocol,
    stream: String,
    generation: u64,
    consumer_arn: String,
    shard: u32,
    /// Records below this index are behind the subscriber.
    index: u64,
    ends_at: Time,
    last_event: Time,
    bytes: Bucket,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Opening,
    Live,
    /// The end follows, after this exception if there is one.
    Ending(Option<Error>),
}

/// All subscriptions of an account, and which of them have something to do.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    last_id: u64,
    all: BTreeMap<u64, Subscription>,
    woken: BTreeSet<u64>,
}

/// What follows the records of an event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tail {
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_sequence_number: Option<String>,
    millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<ChildShard>,
}

impl Kinesis {
    /// What a subscription does next. Its first frame is the `initial-response`; the others are events, or the
    /// exception with which it ends.
    pub fn next_event(&mut self, now: SystemTime, id: SubscriptionId) -> Step {
        let now = Time::from(now);
        self.settle(now);
        let Some(mut subscription) = self.subscriptions.all.remove(&id.0) else {
            return Step::End;
        };
        let step = self.step(now, &mut subscription);
        self.subscriptions.all.insert(id.0, subscription);
        if step == Step::End {
            self.unsubscribe(id);
        }
        step
    }

    /// Ends a subscription whose subscriber has gone. The shard stays taken until its five seconds are over.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        let SubscriptionId(id) = id;
        let Some(subscription) = self.subscriptions.all.remove(&id) else { return };
        self.subscriptions.woken.remove(&id);
        let Some(stream) = self.streams.get_mut(&subscription.stream) else { return };
        if stream.generation != subscription.generation {
            return;
        }
        stream.leave(&subscription.consumer_arn, subscription.shard, id);
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.all.len()
    }

    /// The subscriptions that have had something to do since the last call, before the time they waited for.
    pub fn take_woken(&mut self) -> Vec<SubscriptionId> {
        let woken = &mut self.subscriptions.woken;
        if woken.is_empty() {
            return Vec::new();
        }
        std::mem::take(woken).into_iter().map(SubscriptionId).collect()
    }

    fn step(&mut self, now: Time, subscription: &mut Subscription) -> Step {
        let protocol = subscription.protocol;
        match &mut subscription.stage {
            Stage::Opening => {
                subscription.stage = Stage::Live;
                Step::Send(event_stream::initial_response(protocol))
            }
            Stage::Ending(error) => match error.take() {
                Some(error) => Step::Send(event_stream::exception(
                    protocol,
                    error.code().name(),
                    error.message(),
                )),
                None => Step::End,
            },
            Stage::Live if now >= subscription.ends_at => Step::End,
            Stage::Live => match self.live(now, subscription) {
                Ok(step) => step,
                Err(error) => {
                    subscription.stage = Stage::Ending(Some(error));
                    self.step(now, subscription)
                }
            },
        }
    }

    fn live(&mut self, now: Time, subscription: &mut Subscription) -> Result<Step, Error> {
        let Self { streams, account, limits, rng, push_delay, event_records, .. } = self;
        let Subscription { stream: name, shard: number, index, .. } = subscription;
        let (number, index) = (*number, *index);
        let stream = target::serving(streams, name, account)?;
        let until = stream.status.until();
        let consumer = target::consumer_parts(&subscription.consumer_arn).map(|(_, name)| name);
        let consumer_name = consumer.unwrap_or_default();
        let consumer = stream.consumers(now).get(consumer_name);
        let active = consumer.is_some_and(|consumer| {
            consumer.arn == subscription.consumer_arn
                && consumer.status(now) == ConsumerStatus::Active
        });
        if !active {
            return Err(no_consumer(consumer_name, account));
        }
        stream.shard(now, number).ok_or_else(|| no_shard(number, name, account))?;
        let stream: &Stream = stream;
        let shard = stream.shards().get(&number).ok_or_else(|| no_shard(number, name, account))?;

        let heartbeat = subscription.last_event.plus(SILENCE);
        let mut ask_at = heartbeat.min(subscription.ends_at).min(until.unwrap_or(heartbeat));
        let throttled = limits.subscriptions && !subscription.bytes.has_any(now);
        let visible = shard.arrived_by(index, now.minus(*push_delay).millis());
        let limit = if throttled { 0 } else { visible.min(*event_records) };
        let slice = shard.page(index, limit, MAX_BYTES);
        let count = slice.records.len();
        if throttled {
            ask_at = ask_at.min(subscription.bytes.has_any_at());
        } else if let (0, Some(next)) = (count, slice.unread) {
            ask_at = ask_at.min(Time::from_millis(next.arrival_millis).plus(*push_delay));
        }
        let all_read = shard.closed.is_some() && slice.unread.is_none();
        // AWS ends a closed shard with its last records or with an empty event after them: both occur.
        let ended = all_read && (count == 0 || rng.bool());
        if count == 0 && !ended && now < heartbeat {
            return Ok(Step::Wait(ask_at.into()));
        }

        let continuation = slice.records.clone().next_back().map_or_else(
            // Grows with time also where nothing is put.
            || SequenceNumber {
                index: index.saturating_sub(1),
                secs: now.secs().max(shard.created_secs()),
                ..shard.starting()
            },
            |last| last.sequence,
        );
        let child = |number| stream.shards().get(number).map(ChildShard::of);
        let tail = Tail {
            continuation_sequence_number: (!ended).then(|| continuation.to_string()),
            millis_behind_latest: millis_behind(now, &slice, shard),
            child_shards: match ended {
                true => shard.children.iter().filter_map(child).collect(),
                false => Vec::new(),
            },
        };
        subscription.bytes.take(now, slice.bytes as u64);
        subscription.index = slice.next_index;
        subscription.last_event = now;
        if ended {
            subscription.stage = Stage::Ending(None);
        }
        let payload = subscription.protocol.encode_records(slice.records, &tail);
        Ok(Step::Send(event_stream::event(subscription.protocol, payload)))
    }
}

impl Subscription {
    pub(super) fn new(
        protocol: Protocol,
        now: Time,
        (stream, generation): (String, u64),
        consumer_arn: String,
        shard: u32,
        index: u64,
    ) -> Self {
        Self {
            protocol,
            stream,
            generation,
            consumer_arn,
            shard,
            index,
            ends_at: now.plus(LIFE),
            last_event: now,
            bytes: Bucket::full(BYTES_PER_SECOND),
            stage: Stage::Opening,
        }
    }
}

impl Subscriptions {
    pub(super) fn insert(&mut self, subscription: Subscription) -> u64 {
        self.all.insert(self.last_id, subscription);
        self.last_id
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Ends a subscription whose shard another one has.
    pub(super) fn evict(&mut self, id: u64, error: Option<Error>) {
        if let Some(subscription) = self.all.get_mut(&id) {
            subscription.stage = Stage::Ending(error);
            self.woken.insert(id);
        }
    }

    pub(super) fn wake(&mut self, ids: impl IntoIterator<Item = u64>) {
        self.woken.extend(ids);
    }

    /// Wakes all subscriptions of a stream, whose state has changed.
    pub(super) fn wake_stream(&mut self, stream: &str) {
        let of_stream = self.all.iter().filter(|(_, subscription)| subscription.stream == stream);
        self.woken.extend(of_stream.map(|(id, _)| *id));
    }
}
