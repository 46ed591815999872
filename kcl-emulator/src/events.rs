//! A stream of events on its way to the subscriber. It waits and carries; what is sent, and when, the state decides.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep};

use crate::front::connection_lost;
use crate::kinesis::{Step, SubscriptionId};
use crate::wire::event_stream;
use crate::{Emulator, Fault, Protocol};

/// Frames that are late are kept up to this many.
const MAX_LATE: usize = 64;

/// The body of a reply to `SubscribeToShard`. Dropping it is a connection that closes.
///
/// Nothing is spawned: it is polled by whoever reads it, and wakes for a put at once.
#[derive(Debug)]
pub struct EventStream {
    emulator: Emulator,
    id: SubscriptionId,
    protocol: Protocol,
    /// Frames that are under way, and when they arrive.
    frames: VecDeque<(SystemTime, Bytes)>,
    delay: Duration,
    trouble: Option<Fault>,
    /// Frames and bytes that have arrived.
    arrived: usize,
    arrived_bytes: usize,
    source: Source,
    end: Option<End>,
    sleep: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Open,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    /// To break, once what came before it is sent: a server drops what it has not flushed.
    Cut,
    /// To break now.
    Break,
    /// Never to say anything again.
    Silent,
}

impl EventStream {
    pub(crate) fn new(emulator: Emulator, id: SubscriptionId, protocol: Protocol) -> Self {
        Self {
            emulator,
            id,
            protocol,
            frames: VecDeque::new(),
            delay: Duration::ZERO,
            trouble: None,
            arrived: 0,
            arrived_bytes: 0,
            source: Source::Open,
            end: None,
            sleep: None,
        }
    }

    pub(crate) fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(crate) fn with_trouble(mut self, fault: Fault) -> Self {
        self.trouble = Some(fault);
        self
    }

    /// Takes frames from the state while it has some; returns when to ask again.
    fn pull(&mut self, context: &Context<'_>, now: SystemTime) -> Option<SystemTime> {
        // A subscriber that does not read holds up what it is sent, unless it is the network that does.
        let room = if self.delay.is_zero() { 1 } else { MAX_LATE };
        while self.source == Source::Open && self.frames.len() < room {
            match self.emulator.next_event(self.id, context.waker()) {
                Step::Send(frame) => self.frames.push_back((now + self.delay, frame)),
                Step::Wait(until) => return Some(until),
                Step::End => self.source = Source::Ended,
            }
        }
        None
    }

    /// Lets a frame arrive, with what befalls the stream there.
    fn arrive(&mut self, mut frame: Bytes, now: SystemTime) -> Bytes {
        self.arrived += 1;
        // The initial response is no event.
        let events = self.arrived - 1;
        match &self.trouble {
            Some(Fault::CutBody { at }) => {
                let left = at.saturating_sub(self.arrived_bytes);
                if frame.len() >= left {
                    frame.truncate(left);
                    self.end = Some(End::Cut);
                }
            }
            Some(Fault::CutStream { events: last }) if events >= *last => {
                self.end = Some(End::Cut);
            }
            Some(Fault::Silence { events: last }) if events >= *last => {
                self.end = Some(End::Silent);
            }
            Some(Fault::StreamError { events: last, error, message }) if events >= *last => {
                let exception = event_stream::exception(self.protocol, error, message);
                self.frames.clear();
                self.frames.push_back((now, exception));
                self.source = Source::Ended;
                self.trouble = None;
            }
            _ => {}
        }
        self.arrived_bytes += frame.len();
        frame
    }

    fn poll_end(
        &mut self,
        end: End,
        context: &Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match end {
            End::Clean => Poll::Ready(None),
            End::Silent => Poll::Pending,
            End::Cut => {
                self.end = Some(End::Break);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Break => {
                self.end = Some(End::Clean);
                Poll::Ready(Some(Err(connection_lost())))
            }
        }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        loop {
            if let Some(end) = this.end {
                return this.poll_end(end, context);
            }
            let now = this.emulator.clock().now();
            let ask_at = this.pull(context, now);
            let due = this.frames.front().map(|(due, _)| *due);
            if due.is_some_and(|due| due <= now)
                && let Some((_, frame)) = this.frames.pop_front()
            {
                let frame = this.arrive(frame, now);
                if frame.is_empty() {
                    continue;
                }
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            let Some(until) = due.into_iter().chain(ask_at).min() else {
                let cut = matches!(this.trouble, Some(Fault::CutBody { .. }));
                this.end = Some(if cut { End::Cut } else { End::Clean });
                continue;
            };
            let wait = until.duration_since(now).unwrap_or_default();
            let mut timer = Box::pin(sleep(wait));
            if timer.as_mut().poll(context).is_pending() {
                this.sleep = Some(timer);
                return Poll::Pending;
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.emulator.unsubscribe(self.id);
    }
}
