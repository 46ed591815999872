//! `PutRecord` and `PutRecords` as requests.

use serde::{Deserialize, Serialize};

use super::Kinesis;
use super::error::Error;
use super::hash_range;
use super::put::{Entry, Put};
use super::sequence::SequenceNumber;
use super::target::Target;
use super::time::Time;
use super::validate::Checks;
use crate::wire::{Blob, Text};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordRequest<'a> {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    data: Option<Blob>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
    sequence_number_for_ordering: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordsRequest<'a> {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(borrow)]
    records: Option<Vec<RequestEntry<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RequestEntry<'a> {
    data: Option<Blob>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordReply {
    shard_id: String,
    sequence_number: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordsReply {
    failed_record_count: usize,
    records: Vec<ResultEntry>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ResultEntry {
    Put(PutRecordReply),
    #[serde(rename_all = "PascalCase")]
    Failed {
        error_code: &'static str,
        error_message: String,
    },
}

impl Kinesis {
    pub(super) fn put_record(
        &mut self,
        now: Time,
        request: PutRecordRequest<'_>,
    ) -> Result<PutRecordReply, Error> {
        let PutRecordRequest {
            stream_name,
            stream_arn,
            data,
            partition_key,
            explicit_hash_key,
            ..
        } = request;
        let entry = RequestEntry { data, partition_key, explicit_hash_key };
        let mut checks = Checks::default();
        entry.check(&mut checks, String::new);
        checks.finish()?;
        if let Some(text) = &request.sequence_number_for_ordering
            && SequenceNumber::parse(text).is_none()
        {
            return Err(Error::invalid(format!(
                "ExclusiveMinimumSequenceNumber {text} used in PutRecord is invalid."
            )));
        }
        let name = self.named(&Target { stream_name, stream_arn })?;
        Ok(self.put_entry(now, &name, &entry.parse()?)?.into())
    }

    pub(super) fn put_records_request(
        &mut self,
        now: Time,
        request: PutRecordsRequest<'_>,
    ) -> Result<PutRecordsReply, Error> {
        let PutRecordsRequest { stream_name, stream_arn, records } = request;
        let mut checks = Checks::default();
        checks.present("records", records.as_ref());
        let records = records.unwrap_or_default();
        for (nth, entry) in (1..).zip(&records) {
            entry.check(&mut checks, || format!("records.{nth}.member."));
        }
        checks.finish()?;
        let name = self.named(&Target { stream_name, stream_arn })?;
        let entries = records.iter().map(RequestEntry::parse).collect::<Result<Vec<_>, _>>()?;
        let outcomes = self.put_entries(now, &name, &entries)?;
        Ok(PutRecordsReply {
            failed_record_count: outcomes.iter().filter(|outcome| outcome.is_err()).count(),
            records: outcomes.into_iter().map(ResultEntry::from).collect(),
        })
    }
}

impl RequestEntry<'_> {
    /// Checks what only a request can get wrong.
    fn check(&self, checks: &mut Checks, path: impl Fn() -> String) {
        if let (Some(_), Some(_), None) = (&self.data, &self.partition_key, &self.explicit_hash_key)
        {
            return;
        }
        checks.present(&(path() + "data"), self.data.as_ref());
        checks.present(&(path() + "partitionKey"), self.partition_key.as_ref());
        let hash = self.explicit_hash_key.as_ref().map(|text| &*text.0);
        checks.hash_key(&(path() + "explicitHashKey"), hash);
    }

    fn parse(&self) -> Result<Entry<'_>, Error> {
        Ok(Entry {
            data: self.data.as_ref().map_or(&[], |data| &data.0),
            partition_key: self.partition_key.as_ref().map_or("", |key| &key.0),
            explicit_hash_key: match &self.explicit_hash_key {
                Some(text) => Some(hash_range::parse_explicit(&text.0)?),
                None => None,
            },
        })
    }
}

impl From<Put> for PutRecordReply {
    fn from(put: Put) -> Self {
        Self { shard_id: put.shard_id, sequence_number: put.sequence_number.to_string() }
    }
}

impl From<Result<Put, Error>> for ResultEntry {
    fn from(outcome: Result<Put, Error>) -> Self {
        match outcome {
            Ok(put) => Self::Put(put.into()),
            Err(error) => Self::Failed {
                error_code: error.code().name(),
                error_message: error.message().to_owned(),
            },
        }
    }
}
