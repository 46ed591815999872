//! Carries out what the machine decides.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;

use super::machine::{Command, Event, Machine, Note, Page};
use crate::kinesis::{ApiError, ApiErrorKind, KinesisApi, RecordsPage, ShardIterator};
use crate::metrics::{
    GET_RECORDS, ITERATORS_EXPIRED, MILLIS_BEHIND_LATEST, READ_FAILURES, READS_THROTTLED,
    RECORDS_LOST,
};
use crate::retrieval::{
    Fetched, Lookups, MAX_REPLY_BYTES, OpenShard, ReadError, ShardReader, is_complete,
};
use crate::{RawRecord, StartingPosition};

/// Reads one shard by polling. Holds no records and, while it waits, no permit.
///
/// The machine moves on only when a reply is in hand, and a reply with records is returned without another await: a
/// future that is dropped anywhere loses nothing.
#[derive(Debug)]
pub(super) struct Reader {
    api: Arc<dyn KinesisApi>,
    lookups: Arc<Lookups>,
    open: OpenShard,
    machine: Machine,
    max_records: u32,
    /// The mean size of the newest records, in bytes.
    record_bytes: usize,
}

/// What a call asks for: as much as a shard gives in a second (Kinesis quotas). A larger reply would be followed by silence,
/// and would leave the processor's caches before it is read.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// A guess, until the first records have come.
const RECORD_BYTES: usize = 1024;

impl Reader {
    pub(super) fn new(
        api: Arc<dyn KinesisApi>,
        lookups: Arc<Lookups>,
        open: OpenShard,
        machine: Machine,
        max_records: u32,
    ) -> Self {
        Self { api, lookups, open, machine, max_records, record_bytes: RECORD_BYTES }
    }

    /// How many records the next call asks for.
    fn limit(&self) -> u32 {
        let page = PAGE_BYTES / self.record_bytes.max(1);
        u32::try_from(page).unwrap_or(u32::MAX).clamp(1, self.max_records)
    }

    async fn open(&mut self, from: &StartingPosition) {
        // The permit bounds how many of a thousand new readers call at once, as it does when they fetch.
        let _turn = self.open.budget.take(MAX_REPLY_BYTES).await;
        self.machine.started(self.open.clock.now());
        let OpenShard { stream, shard, .. } = &self.open;
        match self.api.shard_iterator(stream, shard, from).await {
            Ok(iterator) => self.handle(Event::Opened(iterator), None),
            Err(error) => self.failed(Event::OpenFailed(error.kind()), &error),
        };
    }

    async fn fetch(&mut self, iterator: &ShardIterator) -> Option<Fetched> {
        let mut permit = self.open.budget.take(MAX_REPLY_BYTES).await;
        self.machine.started(self.open.clock.now());
        self.open.metrics.count(GET_RECORDS);
        let limit = self.limit();
        let reply = self.api.get_records(&self.open.stream, iterator, limit).await;
        let RecordsPage { records, next, behind, mut children } = match reply {
            Ok(page) => page,
            Err(error) => {
                self.failed(Event::FetchFailed(error.kind()), &error);
                return None;
            }
        };
        let millis = behind.as_secs_f64() * 1000.0;
        self.open.metrics.record(MILLIS_BEHIND_LATEST, millis);
        let bytes: usize = records.iter().map(RawRecord::size).sum();
        self.record_bytes = bytes.checked_div(records.len()).unwrap_or(self.record_bytes);
        if !is_complete(&self.open.shard, &children) {
            children.clear();
        }
        let page = Page {
            last: records.last().map(|record| record.sequence_number.clone()),
            bytes,
            more: !behind.is_zero() || records.len() >= limit as usize,
            next,
            children,
        };
        self.handle(Event::Page(page), None);
        permit.shrink_to(bytes);
        (!records.is_empty()).then_some(Fetched::Records { records, permit, behind })
    }

    async fn confirm(&mut self) -> Result<(), ReadError> {
        self.machine.started(self.open.clock.now());
        let OpenShard { stream, shard, clock, .. } = &self.open;
        let finding = self.lookups.find(&*self.api, stream, shard, clock).await;
        let (note, error) = match finding {
            Ok(finding) => (self.handle(Event::Confirmed(finding), None), None),
            Err(error) => (self.failed(Event::ConfirmFailed(error.kind()), &error), Some(error)),
        };
        if note != Some(Note::Gone) {
            return Ok(());
        }
        Err(ReadError::gone(error))
    }

    fn failed(&mut self, event: Event, error: &ApiError) -> Option<Note> {
        self.open.metrics.count(match error.kind() {
            ApiErrorKind::Throttled => READS_THROTTLED,
            ApiErrorKind::ExpiredIterator => ITERATORS_EXPIRED,
            ApiErrorKind::ExpiredToken
            | ApiErrorKind::InvalidArgument
            | ApiErrorKind::NotFound
            | ApiErrorKind::AccessDenied
            | ApiErrorKind::ResourceInUse
            | ApiErrorKind::Unavailable
            | ApiErrorKind::Malformed => READ_FAILURES,
        });
        self.handle(event, Some(error))
    }

    fn handle(&mut self, event: Event, error: Option<&ApiError>) -> Option<Note> {
        let now = self.open.clock.now();
        let note = self.machine.handle(event, now, &mut self.open.rng);
        self.open.health.tell(self.machine.health());
        let OpenShard { stream, shard, .. } = &self.open;
        match &note {
            None => {}
            Some(Note::Failing) => match error {
                Some(error) => tracing::warn!(
                    stream = %stream.id, %shard, kind = ?error.kind(), %error,
                    source = error.source().map(tracing::field::display),
                    "reads fail, trying again"
                ),
                None => tracing::warn!(
                    stream = %stream.id, %shard,
                    "shard seems ended or missing but is listed, trying again"
                ),
            },
            Some(Note::Recovered(failures)) => {
                tracing::info!(stream = %stream.id, %shard, failures, "reads succeed again");
            }
            Some(Note::RecordsLost(refused)) => {
                self.open.metrics.count(RECORDS_LOST);
                tracing::warn!(
                    stream = %stream.id, %shard, ?refused,
                    "records were lost: they are older than the retention period, going on with what is left"
                );
            }
            Some(Note::Gone) => tracing::warn!(stream = %stream.id, %shard, "shard is gone"),
        }
        note
    }
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> Result<Fetched, ReadError> {
        loop {
            match self.machine.command(self.open.clock.now()) {
                Command::Wait(until) => self.open.clock.sleep_until(until).await,
                Command::Open(from) => self.open(&from).await,
                Command::Fetch(iterator) => {
                    if let Some(fetched) = self.fetch(&iterator).await {
                        return Ok(fetched);
                    }
                }
                Command::Confirm => self.confirm().await?,
                Command::End(children) => return Ok(Fetched::ShardEnd { children }),
            }
        }
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
