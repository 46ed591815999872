//! `PutRecords` that keeps the order of each partition key, whatever fails.

use std::collections::{BTreeSet, VecDeque};
use std::mem;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::operation::put_records::PutRecordsError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_core::StreamAddress;

/// AWS's cap on the entries of a request.
const MAX_ENTRIES: usize = 500;

/// AWS's cap on the payloads and keys of a request, in bytes.
const MAX_BYTES: usize = 5 << 20;

/// Records on their way into a stream.
///
/// A request of `PutRecords` may take some entries and refuse others, so two entries of one key in one request can change
/// places. Hence a request carries one entry of each key, the oldest, and the next one follows when that one is in.
pub(crate) struct OrderedPuts {
    client: Client,
    stream: StreamAddress,
    pending: VecDeque<Put>,
    bytes: usize,
}

/// A Kinesis record to put.
pub(crate) struct Put {
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
    /// How many records the payload stands for: more than 1 in an aggregate.
    pub(crate) user_records: u64,
}

/// What a request did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    /// User records that are in the stream now.
    pub(crate) records: u64,
    /// Payload bytes that are in the stream now.
    pub(crate) bytes: u64,
    /// Entries that Kinesis refused, throttled as a rule. They are first in the next request.
    pub(crate) refused: usize,
}

impl OrderedPuts {
    pub(crate) fn new(client: Client, stream: StreamAddress) -> Self {
        Self { client, stream, pending: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn push(&mut self, put: Put) {
        self.bytes += put.data.len();
        self.pending.push_back(put);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// True when there is enough for a full request.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_ENTRIES || self.bytes >= MAX_BYTES
    }

    /// One request. After an error, all its entries wait for the next one.
    pub(crate) async fn send(&mut self) -> Result<Sent, SdkError<PutRecordsError>> {
        let chosen = self.choose();
        if chosen.is_empty() {
            return Ok(Sent::default());
        }
        let request = self.client.put_records();
        let request = match &self.stream {
            StreamAddress::Name(name) => request.stream_name(name.as_str()),
            StreamAddress::Arn(arn) => request.stream_arn(&**arn),
        };
        let entry = |put: &Put| {
            let entry = PutRecordsRequestEntry::builder().partition_key(&put.key);
            entry.data(Blob::new(put.data.as_slice())).build()
        };
        let entries: Result<Vec<_>, _> = chosen.iter().map(|i| entry(&self.pending[*i])).collect();
        let entries = entries.map_err(SdkError::construction_failure)?;
        let reply = request.set_records(Some(entries)).send().await?;

        let mut taken = BTreeSet::new();
        let mut sent = Sent::default();
        for (index, result) in chosen.iter().zip(reply.records()) {
            if result.error_code().is_none() {
                taken.insert(*index);
                let put = &self.pending[*index];
                sent.records += put.user_records;
                sent.bytes += put.data.len() as u64;
            }
        }
        sent.refused = chosen.len() - taken.len();
        let pending = mem::take(&mut self.pending).into_iter().enumerate();
        self.pending =
            pending.filter_map(|(index, put)| (!taken.contains(&index)).then_some(put)).collect();
        self.bytes = self.pending.iter().map(|put| put.data.len()).sum();
        Ok(sent)
    }

    /// The oldest entry of each key, as many as fit into a request.
    fn choose(&self) -> Vec<usize> {
        let mut keys = BTreeSet::new();
        let mut bytes = 0;
        let mut chosen = Vec::new();
        for (index, put) in self.pending.iter().enumerate() {
            if !keys.insert(&put.key) {
                continue;
            }
            bytes += put.data.len() + put.key.len();
            if chosen.len() == MAX_ENTRIES || (bytes > MAX_BYTES && !chosen.is_empty()) {
                break;
            }
            chosen.push(index);
        }
        chosen
    }
}
