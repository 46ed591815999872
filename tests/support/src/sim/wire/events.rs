//! The events of a subscription on their way: each gets its fate from the weather, as a request does.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame};
use kcl_core::ShardId;
use kcl_emulator::Protocol;
use serde_json::Value;
use tokio::time::{Sleep, sleep};

use super::line::Line;
use crate::sim::history::What;
use crate::sim::weather::Fate;

/// An event stands for so many polls, each of which may be answered strangely.
const POLLS: u32 = 4;

/// What the weather calls an event.
const EVENT: &str = "SubscribeToShardEvent";

/// The body of a reply to SubscribeToShard, as it arrives.
pub(super) struct Events {
    sent: SdkBody,
    line: Line,
    shard: Option<ShardId>,
    state: State,
}

enum State {
    /// The initial response has not come.
    Opening,
    Open,
    Late(Pin<Box<Sleep>>, Bytes),
    /// The connection is there, and nothing comes any more.
    Silent,
    /// The connection breaks.
    Broken,
    Ended,
}

impl Events {
    pub(super) fn new(sent: SdkBody, line: Line, shard: Option<ShardId>) -> Self {
        Self { sent, line, shard, state: State::Opening }
    }

    /// What becomes of an event: what arrives of it now, if anything does.
    fn arrive(&mut self, event: Bytes) -> Option<Bytes> {
        let weather = &self.line.world.weather;
        let fate = weather.fate(self.line.life, EVENT, self.line.world.log.elapsed());
        match fate {
            Fate::Clear | Fate::Refused | Fate::Expired => return Some(self.oddly(event)),
            Fate::Throttled => {
                let names = ["InternalFailureException", "LimitExceededException"];
                let name = names[usize::from(weather.coin())];
                return Some(self.exception("Kinesis ends the subscription", name));
            }
            Fate::Before => {
                self.fault("the subscription breaks");
                self.state = State::Broken;
            }
            Fate::After => {
                self.fault("the subscription breaks within an event");
                self.state = State::Broken;
                return Some(event.slice(..event.len() / 2));
            }
            Fate::HangBefore | Fate::HangAfter => {
                self.fault("the subscription falls silent");
                self.state = State::Silent;
            }
            Fate::Late(delay) => {
                self.fault("an event is late");
                self.state = State::Late(Box::pin(sleep(delay)), event);
            }
        }
        None
    }

    /// An event that arrives, though it may not say what it should.
    fn oddly(&mut self, event: Bytes) -> Bytes {
        let weather = &self.line.world.weather;
        let odd = || (0..POLLS).any(|_| weather.odd());
        if odd() {
            return self.exception("Kinesis does not find the shard", "ResourceNotFoundException");
        }
        let lie = || {
            let lies = odd();
            if lies {
                self.fault("Kinesis leaves out the continuation or children");
            }
            lies
        };
        if self.line.lies.false_end(self.shard.as_ref(), lie, || weather.coin()) {
            return without_end(&event);
        }
        event
    }

    fn exception(&mut self, word: &'static str, name: &str) -> Bytes {
        self.fault(word);
        self.state = State::Ended;
        Protocol::Json.exception(name, "simulated")
    }

    fn fault(&self, word: &'static str) {
        self.line.world.log.note(What::Fault(self.line.life, word));
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Silent => return Poll::Pending,
                State::Ended => return Poll::Ready(None),
                State::Broken => {
                    this.state = State::Ended;
                    let error = io::Error::new(io::ErrorKind::ConnectionReset, "simulated");
                    return Poll::Ready(Some(Err(error.into())));
                }
                State::Late(due, event) => {
                    ready!(due.as_mut().poll(context));
                    let event = std::mem::take(event);
                    this.state = State::Open;
                    return Poll::Ready(Some(Ok(Frame::data(event))));
                }
                State::Opening | State::Open => {}
            }
            let frame = match ready!(Pin::new(&mut this.sent).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            let Ok(event) = frame.into_data() else { continue };
            let arrives = match this.state {
                State::Opening => {
                    this.state = State::Open;
                    Some(event)
                }
                _ => this.arrive(event),
            };
            if let Some(event) = arrives {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
        }
    }
}

/// Also where records are left: an event that lies about the end.
fn without_end(event: &Bytes) -> Bytes {
    let Some(mut said) = payload(event) else { return event.clone() };
    if let Some(said) = said.as_object_mut() {
        said.remove("ContinuationSequenceNumber");
    }
    if let Some(children) = said["ChildShards"].as_array_mut() {
        children.truncate(usize::from(children.len() > 1));
    }
    Protocol::Json.event(said.to_string().into())
}

/// What an event says (event stream encoding: two lengths and a checksum, headers, payload, checksum).
fn payload(event: &Bytes) -> Option<Value> {
    let headers = u32::from_be_bytes(event.get(4..8)?.try_into().ok()?) as usize;
    let payload = event.get(12 + headers..event.len().checked_sub(4)?)?;
    serde_json::from_slice(payload).ok()
}
