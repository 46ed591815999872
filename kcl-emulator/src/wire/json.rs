//! JSON 1.1, the protocol of the AWS SDKs.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::kinesis::{Code, Error, Page, SequenceNumber};

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

/// Writes an error's body.
pub(crate) fn encode_error(error: &Error) -> Bytes {
    encode(&serde_json::json!({ "__type": error.code().name(), "message": error.message() }))
}

/// Writes the reply of `GetRecords` by joining what [`Rendered`] prepared.
pub(crate) fn encode_page(page: &Page<'_>) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Tail<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        next_shard_iterator: Option<&'a str>,
        millis_behind_latest: u64,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        child_shards: &'a [crate::kinesis::ChildShard],
    }
    let tail = encode(&Tail {
        next_shard_iterator: page.next_shard_iterator(),
        millis_behind_latest: page.millis_behind_latest(),
        child_shards: page.child_shards(),
    });
    let records: usize = page.records().map(|record| record.rendered().text.len() + 1).sum();
    let mut out = Vec::with_capacity(HEAD.len() + records + 2 + tail.len());
    out.put_slice(HEAD);
    for (nth, record) in page.records().enumerate() {
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
        let start = DATA.len();
        STANDARD.decode(&self.text[start..start + encoded_len(self.data_len)]).unwrap_or_default()
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
