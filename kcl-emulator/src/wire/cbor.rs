//! CBOR 1.1, the protocol of AWS's SDKs for Java: the members of JSON 1.1 with raw bytes, and times in milliseconds.

use std::collections::vec_deque;
use std::fmt;

use bytes::Bytes;
use ciborium::tag::Accepted;
use ciborium::value::Value;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::Serialize;

use crate::kinesis::{Code, Error, Record};

/// The tag of a time.
pub(crate) const TIME_TAG: u64 = 1;

/// Reads a request. Its map may be of known or unknown length, as Java writes it.
///
/// # Errors
/// `SerializationException` when the body is no CBOR, or a member has the wrong type.
pub(crate) fn decode<'a, T: Deserialize<'a>>(body: &[u8]) -> Result<T, Error> {
    let refuse = |what| Error::new(Code::Serialization, what);
    let mut rest = body;
    let value: Value =
        ciborium::from_reader(&mut rest).map_err(|_| refuse("request body is no CBOR"))?;
    if !value.is_map() || !rest.is_empty() {
        return Err(refuse("request body is no CBOR map"));
    }
    // The codec's own text would quote the value, which may be a payload.
    value.deserialized().map_err(|_| refuse("member of the wrong type"))
}

/// Writes a reply.
pub(crate) fn encode<T: Serialize>(reply: &T) -> Bytes {
    let mut out = Vec::new();
    // Writing to memory cannot fail; an empty body would say so loudly.
    let _ = ciborium::into_writer(reply, &mut out);
    out.into()
}

/// Writes records from what they are kept as, and the members of `tail`, a struct of fewer than 24 members.
pub(crate) fn encode_records<T: Serialize>(
    records: vec_deque::Iter<'_, Record>,
    tail: &T,
) -> Bytes {
    let tail = encode(tail);
    let length: usize = records.clone().map(|record| record.size() + RECORD_OVERHEAD).sum();
    let mut out = Vec::with_capacity(32 + length + tail.len());
    out.push(MAP_OF_UNKNOWN_LENGTH);
    text(&mut out, "Records");
    head(&mut out, ARRAY, records.len());
    for record in records {
        head(&mut out, MAP, 4);
        text(&mut out, "Data");
        head(&mut out, BYTES, record.rendered().data_len());
        record.rendered().append_data(&mut out);
        text(&mut out, "PartitionKey");
        text(&mut out, record.partition_key());
        text(&mut out, "ApproximateArrivalTimestamp");
        out.push(TIME);
        head(&mut out, UNSIGNED, record.arrival_millis());
        text(&mut out, "SequenceNumber");
        text(&mut out, &record.sequence_number().to_string());
    }
    // A map's own head is its first byte.
    out.extend_from_slice(&tail[1..]);
    out.push(BREAK);
    out.into()
}

/// Reads a time, tagged or not, whole or not.
pub(super) fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let Accepted(Number(millis)) = Accepted::<_, TIME_TAG>::deserialize(deserializer)?;
    Ok(millis)
}

struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        #[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years in milliseconds")]
        impl Visitor<'_> for Any {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Number, E> {
                Ok(Number(number))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

const UNSIGNED: u8 = 0;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;
const TIME: u8 = 6 << 5 | 1;
const MAP_OF_UNKNOWN_LENGTH: u8 = MAP | 31;
const BREAK: u8 = 0xff;
/// What surrounds a record's data and key, at most.
const RECORD_OVERHEAD: usize = 160;

fn text(out: &mut Vec<u8>, text: &str) {
    head(out, TEXT, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// The head of an item: its kind and its length or value, in the fewest bytes.
fn head<N: TryInto<u64>>(out: &mut Vec<u8>, kind: u8, number: N) {
    let number = number.try_into().unwrap_or(u64::MAX);
    let bytes = number.to_be_bytes();
    match number {
        0..=23 => out.push(kind | bytes[7]),
        24..=0xff => out.extend_from_slice(&[kind | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(kind | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(kind | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(kind | 27);
            out.extend_from_slice(&bytes);
        }
    }
}
