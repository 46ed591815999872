//! JSON 1.1, the protocol of most AWS SDKs.

use std::collections::vec_deque;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::kinesis::{Code, Error, Record, SequenceNumber};

/// Reads a request.
///
/// # Errors
/// `SerializationException` when the body is no JSON, or a member has the wrong type.
pub(crate) fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    // A derived shape would also read a list, member by member.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::new(Code::Serialization, "request body is no JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| {
        // Serde's own text would quote the value, which may be a payload.
        let what = if error.is_data() { "member of the wrong type" } else { "invalid JSON" };
        Error::new(
            Code::Serialization,
            format!("{what} at line {} column {}", error.line(), error.column()),
        )
    })
}

/// Writes a reply.
pub(crate) fn encode<T: Serialize>(reply: &T) -> Bytes {
    // A reply has string keys and finite numbers only, so this cannot fail; an empty body would say so loudly.
    serde_json::to_vec(reply).unwrap_or_default().into()
}

/// Joins what [`Rendered`] prepared and the members of `tail`, which has at least one.
pub(crate) fn encode_records<T: Serialize>(
    records: vec_deque::Iter<'_, Record>,
    tail: &T,
) -> Bytes {
    let tail = encode(tail);
    let length: usize = records.clone().map(|record| record.rendered().text.len() + 1).sum();
    let mut out = Vec::with_capacity(HEAD.len() + length + 2 + tail.len());
    out.put_slice(HEAD);
    for (nth, record) in records.enumerate() {
        if nth > 0 {
            out.put_u8(b',');
        }
        out.put_slice(&record.rendered().text);
    }
    out.put_slice(b"],");
    out.put_slice(&tail[1..]);
    out.into()
}

const HEAD: &[u8] = br#"{"Records":["#;
const DATA: &[u8] = br#"{"Data":""#;

/// A record as `GetRecords` writes it, made once when the record is put.
#[derive(Clone)]
pub(crate) struct Rendered {
    text: Bytes,
    data_len: usize,
}

impl Rendered {
    /// Writes a record at the end of `buffer` and splits it off: records of one buffer share its allocation.
    pub(crate) fn new(
        buffer: &mut BytesMut,
        data: &[u8],
        partition_key: &str,
        arrival_millis: u64,
        sequence: SequenceNumber,
    ) -> Self {
        let encoded = encoded_len(data.len());
        buffer.reserve(encoded + partition_key.len() + 180);
        buffer.put_slice(DATA);
        let start = buffer.len();
        buffer.put_bytes(0, encoded);
        // The slice has exactly the length of the encoding, the only thing that could fail.
        let _ = STANDARD.encode_slice(data, &mut buffer[start..]);
        buffer.put_slice(br#"","PartitionKey":"#);
        // Writing a string into a growing buffer cannot fail, nor can formatting numbers below.
        let _ = serde_json::to_writer(buffer.writer(), partition_key);
        let (secs, millis) = (arrival_millis / 1000, arrival_millis % 1000);
        let _ = write!(
            buffer,
            r#","ApproximateArrivalTimestamp":{secs}.{millis:03},"SequenceNumber":"{sequence}"}}"#
        );
        Self { text: buffer.split().freeze(), data_len: data.len() }
    }

    /// The record's data, decoded again.
    pub(crate) fn data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.data_len);
        self.append_data(&mut data);
        data
    }

    /// Decodes the record's data again, at the end of `out`.
    pub(crate) fn append_data(&self, out: &mut Vec<u8>) {
        let end = out.len();
        out.resize(end + self.data_len, 0);
        let encoded = &self.text[DATA.len()..DATA.len() + encoded_len(self.data_len)];
        // Both lengths are known from when this was written, the only things that could fail.
        let _ = STANDARD.decode_slice(encoded, &mut out[end..]);
    }

    /// Bytes of the data before encoding.
    pub(crate) fn data_len(&self) -> usize {
        self.data_len
    }
}

fn encoded_len(data: usize) -> usize {
    data.div_ceil(3) * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rendered_record_is_json_and_gives_its_data_back() {
        let sequence =
            SequenceNumber::parse("49590338271490256608559692538361571095921575989136588898")
                .unwrap();
        let mut buffer = BytesMut::new();
        for data in [&b""[..], b"a", b"ab", b"abc", &[0xff; 1000]] {
            let rendered =
                Rendered::new(&mut buffer, data, "k\"\\\u{1}é", 1_459_799_926_048, sequence);
            assert_eq!(rendered.data(), data);
            let json: serde_json::Value = serde_json::from_slice(&rendered.text).unwrap();
            assert_eq!(json["Data"], STANDARD.encode(data));
            assert_eq!(json["PartitionKey"], "k\"\\\u{1}é");
            assert_eq!(json["ApproximateArrivalTimestamp"], 1_459_799_926.048);
            assert_eq!(json["SequenceNumber"], sequence.to_string());
        }
    }

    #[test]
    fn tells_broken_json_from_a_wrong_type() {
        #[derive(Debug, Deserialize)]
        struct Shape {
            #[expect(dead_code, reason = "only its type matters")]
            n: Option<i64>,
        }
        for body in [&b""[..], b"{", b"[", b"{\"n\":\"x\"}", b"{\"n\":true}", b"7", b"[7]"] {
            assert_eq!(decode::<Shape>(body).unwrap_err().code(), Code::Serialization);
        }
        assert!(decode::<Shape>(b"{\"n\":null,\"other\":[1]}").is_ok());
    }
}
