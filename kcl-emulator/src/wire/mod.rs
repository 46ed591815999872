//! Codecs: how requests and replies look on the wire.
//!
//! Operations of [`crate::kinesis`] know typed shapes only. A codec reads a request's shape and writes a reply's;
//! [`json`] is JSON 1.1, [`cbor`] is CBOR 1.1, and [`Protocol`] chooses. The scalars here ([`Blob`], [`Timestamp`])
//! hide what differs between codecs.

mod cbor;
pub(crate) mod event_stream;
pub(crate) mod json;

use std::borrow::Cow;
use std::collections::vec_deque;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ciborium::tag::Required;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::kinesis::{Error, Record};

/// How a request to Kinesis and its reply are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `application/x-amz-json-1.1`: what most SDKs speak.
    Json,
    /// `application/x-amz-cbor-1.1`: what AWS's SDKs for Java speak.
    Cbor,
}

impl Protocol {
    /// The content type of requests, replies and events.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// `SerializationException` when the body is not of this protocol, or a member has the wrong type.
    pub(crate) fn decode<'a, T: Deserialize<'a>>(self, body: &'a [u8]) -> Result<T, Error> {
        match self {
            Self::Json => json::decode(body),
            Self::Cbor => cbor::decode(body),
        }
    }

    /// An event of a subscription that has this payload, as a frame.
    ///
    /// For a caller that makes events of its own out of those of an [`EventStream`](crate::EventStream).
    #[must_use]
    pub fn event(self, payload: Bytes) -> Bytes {
        event_stream::event(self, payload)
    }

    /// An exception, after which a subscription ends, as a frame.
    #[must_use]
    pub fn exception(self, name: &str, message: &str) -> Bytes {
        event_stream::exception(self, name, message)
    }

    /// Writes a reply.
    pub(crate) fn encode<T: Serialize>(self, reply: &T) -> Bytes {
        match self {
            Self::Json => json::encode(reply),
            Self::Cbor => cbor::encode(reply),
        }
    }

    /// Writes an error's body.
    pub(crate) fn encode_error(self, name: &str, message: Option<&str>) -> Bytes {
        self.encode(&ErrorBody { name, message })
    }

    /// Writes `Records` and after them the members of `tail`, which has at least one.
    pub(crate) fn encode_records<T: Serialize>(
        self,
        records: vec_deque::Iter<'_, Record>,
        tail: &T,
    ) -> Bytes {
        match self {
            Self::Json => json::encode_records(records, tail),
            Self::Cbor => cbor::encode_records(records, tail),
        }
    }
}

struct ErrorBody<'a> {
    name: &'a str,
    message: Option<&'a str>,
}

impl Serialize for ErrorBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + usize::from(self.message.is_some())))?;
        map.serialize_entry("__type", self.name)?;
        if let Some(message) = self.message {
            map.serialize_entry("message", message)?;
        }
        map.end()
    }
}

/// Bytes; base64 in JSON. `Debug` shows the length only.
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
                STANDARD
                    .decode(text)
                    .map(Blob)
                    .map_err(|_| E::custom("can not be converted to a Blob"))
            }
        }
        struct Raw;
        impl Visitor<'_> for Raw {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Base64)
        } else {
            deserializer.deserialize_bytes(Raw)
        }
    }
}

/// Text that is borrowed from the request where it can be. `Debug` shows the length only.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

/// Milliseconds since the Unix epoch: seconds with a fraction in JSON, whole milliseconds with tag 1 in CBOR, where
/// AWS departs from the standard's seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(pub(crate) u64);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return Required::<_, { cbor::TIME_TAG }>(self.0).serialize(serializer);
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact to the millisecond for 285,000 years"
        )]
        serializer.serialize_f64(self.0 as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis = if deserializer.is_human_readable() {
            f64::deserialize(deserializer)? * 1000.0
        } else {
            cbor::millis(deserializer)?
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates; before 1970 is 1970"
        )]
        Ok(Self(millis.round() as u64))
    }
}

#[cfg(test)]
mod tests;
