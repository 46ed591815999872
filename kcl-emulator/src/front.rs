//! What both fronts share: from the parts of an HTTP request to an HTTP response.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::wire::event_stream;
use crate::{Delivery, Emulator, EventStream, Protocol, Reply, Service};

/// The headers of a request that decide how it is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    content_type: Option<&'a str>,
    target: Option<&'a str>,
    authorization: Option<&'a str>,
}

impl<'a> Head<'a> {
    /// Picks them out of a front's own kind of headers.
    pub(crate) fn new(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self {
            content_type: header(CONTENT_TYPE.as_str()),
            target: header("x-amz-target"),
            authorization: header(AUTHORIZATION.as_str()),
        }
    }

    /// The access key id in `AWS4-HMAC-SHA256 Credential=<id>/<date>/…`.
    fn caller(self) -> Option<&'a str> {
        self.authorization?.split_once("Credential=")?.1.split('/').next()
    }
}

/// Answers one request.
///
/// # Errors
/// If a fault broke the connection before there was a reply.
pub(crate) async fn respond(
    emulator: &Emulator,
    head: Head<'_>,
    body: &[u8],
) -> io::Result<Response<ReplyBody>> {
    let service = head.target.and_then(Service::parse_target).map(|(service, _)| service);
    let service = service.unwrap_or(Service::Kinesis);
    let delivery = match (protocol_of(head.content_type), head.target) {
        (Some(Protocol::Cbor), _) if service == Service::DynamoDb => {
            Delivery::Whole(error(service, 415, "UnsupportedMediaTypeException", None))
        }
        (Some(protocol), Some(target)) => {
            emulator.call_as(protocol, head.caller(), target, body).await
        }
        (Some(protocol), None) => Delivery::Whole(unknown_operation(protocol, service)),
        (None, _) => Delivery::Whole(unknown_operation(Protocol::Json, service)),
    };
    hand_over(emulator, delivery)
}

/// The HTTP response that a delivery is.
///
/// # Errors
/// If the connection broke before there was a reply.
pub(crate) fn hand_over(
    emulator: &Emulator,
    delivery: Delivery,
) -> io::Result<Response<ReplyBody>> {
    let (reply, body): (_, fn(Bytes) -> ReplyBody) = match delivery {
        Delivery::Whole(reply) => (reply, ReplyBody::whole),
        Delivery::Cut(reply) => (reply, ReplyBody::cut),
        Delivery::Stream(events) => {
            let head = Reply {
                status: 200,
                error: None,
                body: Bytes::new(),
                content_type: event_stream::CONTENT_TYPE,
            };
            let response = response(emulator.request_id(), head);
            return Ok(response.map(|_| ReplyBody::events(events)));
        }
        Delivery::Lost => return Err(connection_lost()),
    };
    Ok(response(emulator.request_id(), reply).map(body))
}

/// AWS's answer to an operation or a service that it does not know.
pub(crate) fn unknown_operation(protocol: Protocol, service: Service) -> Reply {
    error_in(protocol, service, 400, "UnknownOperationException", None)
}

/// An error as `service` writes it in JSON.
pub(crate) fn error(service: Service, status: u16, name: &str, message: Option<&str>) -> Reply {
    error_in(Protocol::Json, service, status, name, message)
}

/// An error as `service` writes it. Only Kinesis speaks CBOR.
pub(crate) fn error_in(
    protocol: Protocol,
    service: Service,
    status: u16,
    name: &str,
    message: Option<&str>,
) -> Reply {
    let namespace = match (service, name) {
        (Service::Kinesis, _) => "",
        (Service::DynamoDb, "UnknownOperationException" | "ServiceUnavailable") => {
            "com.amazon.coral.service#"
        }
        (Service::DynamoDb, _) => "com.amazonaws.dynamodb.v20120810#",
    };
    Reply {
        status,
        error: Some(name.to_owned()),
        body: protocol.encode_error(&format!("{namespace}{name}"), message),
        content_type: service.content_type(protocol),
    }
}

fn response(request_id: String, reply: Reply) -> Response<Bytes> {
    let mut response = Response::new(reply.body);
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    if let Some(Ok(error)) = reply.error.map(HeaderValue::try_from) {
        headers.insert("x-amzn-errortype", error);
    }
    response
}

pub(crate) fn connection_lost() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection lost by an injected fault")
}

/// How a request's body is written; `None` if nobody knows.
fn protocol_of(content_type: Option<&str>) -> Option<Protocol> {
    let essence = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    match essence {
        None
        | Some("application/x-amz-json-1.0" | "application/x-amz-json-1.1" | "application/json") => {
            Some(Protocol::Json)
        }
        Some("application/x-amz-cbor-1.1" | "application/cbor") => Some(Protocol::Cbor),
        Some(_) => None,
    }
}

/// A reply's body: one frame, and after it an error if the reply was cut; or a stream of events.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    Page { bytes: Option<Bytes>, end: End },
    Events { events: Box<EventStream>, stop: Option<Stopped> },
}

/// Resolves when the server stops.
type Stopped = Pin<Box<WaitForCancellationFutureOwned>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    /// To break, once what came before it is sent: a server drops what it has not flushed.
    Cut,
    /// To break now.
    Break,
}

impl ReplyBody {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Page { bytes: Some(bytes.into()), end: End::Whole }
    }

    pub(crate) fn cut(bytes: Bytes) -> Self {
        Self::Page { bytes: Some(bytes), end: End::Cut }
    }

    fn events(events: EventStream) -> Self {
        Self::Events { events: Box::new(events), stop: None }
    }

    /// Ends a stream of events when `token` is cancelled.
    pub(crate) fn until(mut self, token: CancellationToken) -> Self {
        if let Self::Events { stop, .. } = &mut self {
            *stop = Some(Box::pin(token.cancelled_owned()));
        }
        self
    }

    /// The bytes of a whole body, or the body to be read frame by frame.
    pub(crate) fn into_bytes(self) -> Result<Bytes, Self> {
        match self {
            Self::Page { bytes, end: End::Whole } => Ok(bytes.unwrap_or_default()),
            Self::Page { .. } | Self::Events { .. } => Err(self),
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let (bytes, end) = match &mut *self {
            Self::Page { bytes, end } => (bytes, end),
            Self::Events { events, stop } => {
                if stop.as_mut().is_some_and(|stop| stop.as_mut().poll(context).is_ready()) {
                    return Poll::Ready(None);
                }
                return Pin::new(&mut **events).poll_frame(context);
            }
        };
        if let Some(bytes) = bytes.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match end {
            End::Whole => Poll::Ready(None),
            End::Cut => {
                *end = End::Break;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Break => {
                *end = End::Whole;
                Poll::Ready(Some(Err(connection_lost())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Page { bytes, end: End::Whole } if bytes.as_ref().is_none_or(Bytes::is_empty))
    }

    fn size_hint(&self) -> SizeHint {
        let Self::Page { bytes, end } = self else { return SizeHint::default() };
        let left = bytes.as_ref().map_or(0, Bytes::len) as u64;
        match end {
            End::Whole => SizeHint::with_exact(left),
            // More than will come, so that no client takes the cut for the end.
            End::Cut | End::Break => SizeHint::with_exact(left + 1),
        }
    }
}
