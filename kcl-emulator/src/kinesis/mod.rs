//! Kinesis Data Streams as a pure state machine: requests and the present time in, replies out.
//!
//! ```text
//!  body ──wire::Protocol──> typed operation (streams, reshard_requests, put, iterators, read, …) ──> Stream ──> Shard ──> Record
//!                                │                                                         settings    rates      pre-encoded
//!                                └── now is an argument; chance comes from the seed
//! ```
//!
//! Records are encoded as JSON once, when they are put; a page is their concatenation. A page in CBOR is made from the
//! same when it is read.
//!
//! `SubscribeToShard` is answered by more than a reply: [`Kinesis::subscribe`] opens a subscription,
//! [`Kinesis::next_event`] says what it sends next or when to ask again, and [`Kinesis::take_woken`] names those that
//! need not wait so long.
//!
//! Not here: encryption, channels, resource policies, enhanced monitoring. Their
//! operations are answered with `UnknownOperationException`.

mod bucket;
mod consumer;
mod consumers;
mod describe;
mod dispatch;
mod error;
mod hash_range;
mod iterators;
mod list_shards;
mod put;
mod put_requests;
mod read;
mod record;
mod reshard;
mod resharding;
mod sequence;
mod settings;
mod shard;
mod stream;
mod streams;
mod subscribe;
mod subscription;
mod tags;
mod target;
#[cfg(test)]
mod tests;
mod time;
mod token;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fastrand::Rng;

#[cfg(test)]
pub(crate) use dispatch::OPERATIONS;
pub use error::{Code, Error};
pub use hash_range::HashRange;
pub use iterators::Start;
pub use put::{Entry, Put};
pub use read::{ChildShard, Page};
pub use record::Record;
pub use sequence::SequenceNumber;
pub use subscription::{Step, SubscriptionId};

use crate::{Limits, Protocol};
use dispatch::Request;
use stream::{Status, Stream};
use subscription::Subscriptions;
use time::Time;
use token::Sealer;

const CONSUMER_TRANSITION: Duration = Duration::from_millis(500);

/// An HTTP reply of the service: what a front writes to the wire.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    /// `x-amzn-ErrorType` of an error reply (AWS's error name), else `None`.
    pub error: Option<String>,
    /// The body.
    pub body: Bytes,
    /// How the body is written, as a content type.
    pub content_type: &'static str,
}

impl Reply {
    fn refusal(protocol: Protocol, error: &Error) -> Self {
        let name = error.code().name();
        Self {
            status: 400,
            error: Some(name.to_owned()),
            body: protocol.encode_error(name, Some(error.message())),
            content_type: protocol.content_type(),
        }
    }
}

/// The whole state of the service for one account and region.
///
/// # Example
///
/// ```
/// use std::time::SystemTime;
///
/// use kcl_emulator::{Kinesis, Limits};
///
/// let mut kinesis = Kinesis::new("000000000000", "us-east-1", Limits::aws(), 7);
/// let reply = kinesis.call(SystemTime::UNIX_EPOCH, "CreateStream", br#"{"StreamName":"orders","ShardCount":2}"#);
/// assert_eq!(reply.status, 200);
/// ```
#[derive(Debug)]
pub struct Kinesis {
    account: String,
    region: String,
    limits: Limits,
    rng: Rng,
    sealer: Sealer,
    transition: Duration,
    streams: BTreeMap<String, Stream>,
    /// When which stream's transition ends.
    transitions: BTreeSet<(Time, String)>,
    consumer_transition: Duration,
    push_delay: Duration,
    event_records: usize,
    subscriptions: Subscriptions,
    generations: u64,
}

/// The most records of one event of a subscription, on AWS.
pub(crate) const EVENT_RECORDS: usize = 10_000;

impl Kinesis {
    /// An empty account in `region`. `seed` feeds every choice that AWS makes at random: gaps between sequence
    /// numbers, the secret of tokens, and whether a closed shard ends with its last records or one page later.
    #[must_use]
    pub fn new(account: &str, region: &str, limits: Limits, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let sealer = Sealer::new(rng.u128(..));
        Self {
            account: account.to_owned(),
            region: region.to_owned(),
            limits,
            rng,
            sealer,
            transition: Duration::ZERO,
            streams: BTreeMap::new(),
            transitions: BTreeSet::new(),
            consumer_transition: CONSUMER_TRANSITION,
            push_delay: Duration::ZERO,
            event_records: EVENT_RECORDS,
            subscriptions: Subscriptions::default(),
            generations: 0,
        }
    }

    /// How long a stream stays `CREATING`, `UPDATING` or `DELETING`. Default: zero, so that the next call sees the
    /// stream `ACTIVE` or gone. AWS takes some tens of seconds.
    #[must_use]
    pub fn with_transition(mut self, delay: Duration) -> Self {
        self.transition = delay;
        self
    }

    /// How long a consumer stays `CREATING` or `DELETING`. Default: half a second.
    #[must_use]
    pub fn with_consumer_transition(mut self, delay: Duration) -> Self {
        self.consumer_transition = delay;
        self
    }

    /// How long a record is in its shard before a subscription sends it. Default: zero. AWS takes some 70 ms.
    #[must_use]
    pub fn with_push_delay(mut self, delay: Duration) -> Self {
        self.push_delay = delay;
        self
    }

    /// The most records of one event of a subscription; at least one. Default: 10,000.
    #[must_use]
    pub fn with_event_records(mut self, most: usize) -> Self {
        self.event_records = most.max(1);
        self
    }

    /// Answers one request. `operation` is the part of `X-Amz-Target` after the dot; `body` is JSON 1.1.
    pub fn call(&mut self, now: SystemTime, operation: &str, body: &[u8]) -> Reply {
        self.call_in(Protocol::Json, now, operation, body)
    }

    /// Answers one request whose `body` is written in `protocol`, in the same.
    pub fn call_in(
        &mut self,
        protocol: Protocol,
        now: SystemTime,
        operation: &str,
        body: &[u8],
    ) -> Reply {
        let now = Time::from(now);
        self.settle(now);
        match self.dispatch(now, operation, Request { protocol, body }) {
            Ok(body) => {
                Reply { status: 200, error: None, body, content_type: protocol.content_type() }
            }
            Err(error) => Reply::refusal(protocol, &error),
        }
    }

    /// Ends the transitions that are due, in their order.
    fn settle(&mut self, now: Time) {
        while let Some((until, _)) = self.transitions.first()
            && *until <= now
            && let Some((until, name)) = self.transitions.pop_first()
        {
            let Some(stream) = self.streams.get_mut(&name) else {
                continue;
            };
            // DeleteStream may have overtaken another transition.
            if stream.status.until() != Some(until) {
                continue;
            }
            match stream.status {
                Status::Deleting { .. } => {
                    self.streams.remove(&name);
                }
                Status::Creating { .. } | Status::Updating { .. } | Status::Active => {
                    stream.settle(until);
                }
            }
        }
    }

    /// Puts a stream into a transition and ends it at once if there is no delay.
    fn begin(&mut self, now: Time, name: &str, status: impl FnOnce(Time) -> Status) {
        let until = now.plus(self.transition);
        if let Some(stream) = self.streams.get_mut(name) {
            stream.status = status(until);
            self.transitions.insert((until, name.to_owned()));
            self.subscriptions.wake_stream(name);
        }
        self.settle(now);
    }
}
