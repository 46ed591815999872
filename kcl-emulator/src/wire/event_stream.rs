//! `application/vnd.amazon.eventstream`: frames with headers, payload and checksums.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;

use crate::Protocol;

/// The content type of a reply that is a stream of events. Each event has one of its own.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// The first frame: the members of the reply beside its events, of which there are none.
pub(crate) fn initial_response(protocol: Protocol) -> Bytes {
    let payload = match protocol {
        Protocol::Json => &b"{}"[..],
        Protocol::Cbor => &b"\xa0"[..],
    };
    frame(protocol, "event", ":event-type", "initial-response", Bytes::from_static(payload))
}

/// A `SubscribeToShardEvent`.
pub(crate) fn event(protocol: Protocol, payload: Bytes) -> Bytes {
    frame(protocol, "event", ":event-type", "SubscribeToShardEvent", payload)
}

/// An error after which the stream ends.
pub(crate) fn exception(protocol: Protocol, name: &str, message: &str) -> Bytes {
    let payload = protocol.encode_error(name, Some(message));
    frame(protocol, "exception", ":exception-type", name, payload)
}

fn frame(protocol: Protocol, kind: &str, type_header: &str, name: &str, payload: Bytes) -> Bytes {
    let header = |name: &str, value: &str| {
        Header::new(name.to_owned(), HeaderValue::String(value.to_owned().into()))
    };
    let mut buffer = Vec::with_capacity(payload.len() + 256);
    let message = Message::new(payload)
        .add_header(header(":message-type", kind))
        .add_header(header(type_header, name))
        .add_header(header(":content-type", protocol.content_type()));
    // It fails for more than 16 MiB only, and an event holds one record of 10 MiB at most.
    let _ = write_message_to(&message, &mut buffer);
    buffer.into()
}
