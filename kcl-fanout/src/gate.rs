//! Lets the events of a subscription in one at a time, each under the byte budget.
//!
//! ```text
//!  HTTP body ──frames──> Gate ──one message──> the SDK's decoder ──event──> Reader
//!                         │  ^ its length stands in the first four bytes
//!                         └──┴── takes a permit of that size before the rest is read
//! ```
//!
//! A thousand idle shards wait for events that may have 2 MiB each: a permit for the largest event, taken before it comes, would
//! pin gigabytes for nothing. The length that each message of an event stream begins with makes it exact: what waits at the gate
//! is a frame of the transport, and the rest stays in the connection's window, which is Kinesis's to slow down by.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use aws_sdk_kinesis::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_types::body::SdkBody;
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame};
use kcl_core::retrieval::{BudgetPermit, ByteBudget};

/// The bytes of a message's length.
const LENGTH: usize = 4;

/// No message is shorter, or longer (event stream encoding): what claims to be is left to the decoder, which refuses it.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=24 * 1024 * 1024;

/// What gate and reader share.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Taken before the call; the first message comes in under it.
    advance: Option<BudgetPermit>,
    /// Of the message that was let in last.
    permit: Option<BudgetPermit>,
    /// Whether a message waits for the budget.
    waiting: bool,
    /// What the messages come by.
    connection: Option<CaptureSmithyConnection>,
    /// Whether bytes of a message have come since the last one was complete, or since somebody asked.
    stirred: bool,
}

impl Admission {
    /// The first message comes in under `advance`, because the caller holds it while it waits for that message.
    pub(crate) fn new(advance: BudgetPermit) -> Self {
        let state = State { advance: Some(advance), ..State::default() };
        Self { state: Mutex::new(state) }
    }

    /// The permit of the newest event.
    pub(crate) fn take(&self) -> Option<BudgetPermit> {
        let mut state = self.lock();
        state.advance = None;
        state.stirred = false;
        state.permit.take()
    }

    /// Whether an event is there and waits for the budget: then the silence is ours.
    pub(crate) fn is_waiting(&self) -> bool {
        self.lock().waiting
    }

    /// Whether more of a message has come since this was asked last: a large one on a slow network is no silence.
    pub(crate) fn has_stirred(&self) -> bool {
        std::mem::take(&mut self.lock().stirred)
    }

    /// No new call uses the connection: it brings nothing, and nothing else tells one that is half open. What else it carries
    /// may go on. An HTTP client that cannot be told so is not.
    pub(crate) fn leave_connection(&self) {
        let connection = self.lock().connection.take();
        if let Some(connection) = connection.and_then(|connection| connection.get()) {
            connection.poison();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a gate into the reply of one SubscribeToShard.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    pub(crate) budget: ByteBudget,
    pub(crate) admission: Arc<Admission>,
}

impl Intercept for Gatekeeper {
    fn name(&self) -> &'static str {
        "Gatekeeper"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The SDK puts it there for itself: it leaves connections after errors of the server, and not after silence.
        self.admission.lock().connection = config.load::<CaptureSmithyConnection>().cloned();
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        if response.status().is_success() {
            let gate = Gate {
                body: response.take_body(),
                budget: self.budget.clone(),
                admission: self.admission.clone(),
                unread: Bytes::new(),
                open: 0,
                waiting: None,
            };
            *response.body_mut() = SdkBody::from_body_1_x(gate);
        }
        Ok(())
    }
}

struct Gate {
    body: SdkBody,
    budget: ByteBudget,
    admission: Arc<Admission>,
    /// What has come and was not let in.
    unread: Bytes,
    /// How much more may pass.
    open: usize,
    waiting: Option<Taking>,
}

type Taking = Pin<Box<dyn Future<Output = BudgetPermit> + Send + Sync>>;

impl Gate {
    /// Opens for the message whose length has come.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let length = self.unread.first_chunk().map_or(0, |length| u32::from_be_bytes(*length));
        let length = length as usize;
        if !LENGTHS.contains(&length) {
            self.open = self.unread.len();
            return Poll::Ready(());
        }
        // Too little of it goes back before more is asked for: two who hold some and wait for more would wait for ever.
        let advance = self.admission.lock().advance.take();
        let permit = match advance.filter(|advance| advance.bytes() >= length) {
            Some(mut permit) => {
                permit.shrink_to(length);
                permit
            }
            None => {
                let budget = &self.budget;
                let waiting = self.waiting.get_or_insert_with(|| {
                    let budget = budget.clone();
                    Box::pin(async move { budget.take(length).await })
                });
                let polled = waiting.as_mut().poll(context);
                self.admission.lock().waiting = polled.is_pending();
                ready!(polled)
            }
        };
        self.waiting = None;
        self.admission.lock().permit = Some(permit);
        self.open = length;
        Poll::Ready(())
    }
}

impl Body for Gate {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if this.open == 0 && this.unread.len() >= LENGTH {
                ready!(this.poll_open(context));
            }
            if this.open > 0 && this.unread.has_remaining() {
                let passing = this.unread.split_to(this.open.min(this.unread.len()));
                this.open -= passing.len();
                this.admission.lock().stirred = true;
                return Poll::Ready(Some(Ok(Frame::data(passing))));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        this.unread = joined(&this.unread, data);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if this.unread.is_empty() => return Poll::Ready(None),
                // Cut within a length; the decoder says so.
                None => this.open = this.unread.len(),
            }
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("open", &self.open).finish_non_exhaustive()
    }
}

/// At most three bytes are ever left over.
fn joined(left: &Bytes, data: Bytes) -> Bytes {
    if left.is_empty() {
        return data;
    }
    let mut joined = BytesMut::with_capacity(left.len() + data.len());
    joined.extend_from_slice(left);
    joined.extend_from_slice(&data);
    joined.freeze()
}

#[cfg(test)]
mod tests;
