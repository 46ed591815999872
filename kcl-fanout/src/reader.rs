//! Carries out what the machine decides.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use kcl_core::kinesis::{ApiError, ApiErrorKind, KinesisApi};
use kcl_core::metrics::{
    MILLIS_BEHIND_LATEST, Metric, READ_FAILURES, READS_THROTTLED, RECORDS_LOST, SUBSCRIBE_CALLS,
    SUBSCRIPTION_EVENTS, SUBSCRIPTIONS_BROKEN, SUBSCRIPTIONS_CONTESTED, SUBSCRIPTIONS_ENDED,
    SUBSCRIPTIONS_SILENT, SUBSCRIPTIONS_SLOW,
};
use kcl_core::retrieval::{Fetched, Lookups, OpenShard, ReadError, ShardReader};
use kcl_core::{RawRecord, StartingPosition};

use crate::calls::{self, Delivery};
use crate::line::Line;
use crate::machine::{Command, Event, Machine, Note, Received};
use crate::registry::{Asker, NoConsumer, Registry};

/// Room for one event, before a subscription is opened: what Kinesis sends a consumer of a shard in a second.
const EVENT_BYTES: usize = 2 * 1024 * 1024;

/// Reads one shard by subscriptions. Holds no records and, while it waits, no permit but for the hundred bytes of the
/// initial response, until the first event.
///
/// The machine moves on only when an event is in hand, and an event with records is returned without another await: a
/// future that is dropped anywhere loses nothing.
#[derive(Debug)]
pub(crate) struct Reader {
    client: Arc<Client>,
    registry: Arc<Registry>,
    api: Arc<dyn KinesisApi>,
    lookups: Arc<Lookups>,
    open: OpenShard,
    machine: Machine,
    line: Line,
}

impl Reader {
    pub(crate) fn new(
        client: Arc<Client>,
        registry: Arc<Registry>,
        api: Arc<dyn KinesisApi>,
        lookups: Arc<Lookups>,
        open: OpenShard,
    ) -> Self {
        let machine = Machine::new(open.from.clone(), open.clock.wall());
        let line = Line::new(open.clock.clone(), open.tasks.clone());
        Self { client, registry, api, lookups, open, machine, line }
    }

    async fn subscribe(&mut self, from: &StartingPosition) -> Result<(), ReadError> {
        let OpenShard { stream, clock, rng, metrics, .. } = &mut self.open;
        let consumer = match self.registry.consumer(Asker { stream, clock, rng, metrics }).await {
            Ok(consumer) => consumer,
            Err(NoConsumer::Unusable(error)) => return Err(ReadError::NoConsumer(error)),
            Err(NoConsumer::Failed(error)) => {
                self.failed(Event::Refused(error.kind()), &error);
                return Ok(());
            }
        };
        // Room for the first event: no subscription is opened for a budget that is used up. It also bounds how many of a
        // thousand new readers call at once.
        let advance = self.open.budget.take(EVENT_BYTES).await;
        self.machine.started(self.open.clock.now());
        self.open.metrics.count(SUBSCRIBE_CALLS);
        let call = calls::subscribe(&self.client, &consumer, &self.open, from, advance);
        match call.await {
            Ok(subscription) => {
                self.line.open(subscription);
                self.handle(Event::Subscribed, None);
            }
            Err(error) => {
                if error.kind() == ApiErrorKind::NotFound {
                    self.registry.forget(&self.open.stream.id, &consumer);
                }
                self.failed(Event::Refused(error.kind()), &error);
            }
        }
        Ok(())
    }

    async fn listen(&mut self, until: Instant) -> Option<Fetched> {
        let epoch = self.machine.epoch();
        let Some(mut in_use) = self.line.take() else {
            self.open.metrics.count(SUBSCRIPTIONS_SLOW);
            self.handle(Event::Slow(epoch), None);
            return None;
        };
        let subscription = in_use.subscription()?;
        let OpenShard { shard, clock, .. } = &self.open;
        // What has come is taken first: a reader that was away for long is not told of silence.
        let next = tokio::select! {
            biased;
            next = subscription.next(shard) => Some(next),
            () = clock.sleep_until(until) => None,
        };
        let starved = subscription.admission.is_waiting();
        let stirred = next.is_none() && subscription.admission.has_stirred();
        let (metric, event) = match next {
            Some(Ok(Some(delivery))) => {
                let (received, fetched) = self.split(delivery);
                self.count(SUBSCRIPTION_EVENTS);
                let note = self.machine.handle(
                    Event::Received(epoch, received),
                    self.open.clock.now(),
                    &mut self.open.rng,
                );
                if !self.machine.is_live() {
                    in_use.close();
                }
                self.tell(note, None);
                return fetched;
            }
            Some(Ok(None)) => (SUBSCRIPTIONS_ENDED, Event::Ended(epoch)),
            Some(Err(error)) => {
                in_use.close();
                self.count(SUBSCRIPTIONS_BROKEN);
                self.failed(Event::Broke(epoch, error.kind()), &error);
                return None;
            }
            None if stirred && !starved => {
                drop(in_use); // parked: it is alive
                self.handle(Event::Stirred(epoch), None);
                return None;
            }
            None if starved => (SUBSCRIPTIONS_SLOW, Event::Slow(epoch)),
            None => {
                subscription.admission.leave_connection();
                (SUBSCRIPTIONS_SILENT, Event::Silent(epoch))
            }
        };
        in_use.close();
        self.count(metric);
        self.handle(event, None);
        None
    }

    /// What the machine gets of an event, and what the caller gets.
    fn split(&self, delivery: Delivery) -> (Received, Option<Fetched>) {
        let Delivery { mut records, behind, continuation, children, permit } = delivery;
        self.open.metrics.record(MILLIS_BEHIND_LATEST, behind.as_secs_f64() * 1000.0);
        let last = records.last().map(|record| record.sequence_number.clone());
        // A shard is in order: repeats are at the head.
        let is_repeat = |record: &&RawRecord| self.machine.is_repeat(&record.sequence_number);
        records.drain(..records.iter().take_while(is_repeat).count());
        let permit = permit.unwrap_or_else(|| self.open.budget.nothing());
        let fetched = (!records.is_empty()).then_some(Fetched::Records { records, permit, behind });
        (Received { last, continuation, children }, fetched)
    }

    async fn confirm(&mut self) -> Result<(), ReadError> {
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
        self.count(match error.kind() {
            ApiErrorKind::Throttled => READS_THROTTLED,
            ApiErrorKind::ResourceInUse => SUBSCRIPTIONS_CONTESTED,
            _ => READ_FAILURES,
        });
        self.handle(event, Some(error))
    }

    fn count(&self, metric: Metric) {
        self.open.metrics.count(metric);
    }

    fn handle(&mut self, event: Event, error: Option<&ApiError>) -> Option<Note> {
        let note = self.machine.handle(event, self.open.clock.now(), &mut self.open.rng);
        self.tell(note, error)
    }

    fn tell(&self, note: Option<Note>, error: Option<&ApiError>) -> Option<Note> {
        let OpenShard { stream, shard, health, .. } = &self.open;
        health.tell(self.machine.health());
        match &note {
            None => {}
            Some(Note::Failing) => match error {
                Some(error) => tracing::warn!(
                    stream = %stream.id, %shard, kind = ?error.kind(), %error,
                    source = error.source().map(tracing::field::display),
                    "subscriptions fail, trying again"
                ),
                None => tracing::warn!(
                    stream = %stream.id, %shard,
                    "subscriptions bring nothing, or an end that is not listed, trying again"
                ),
            },
            Some(Note::Contested) => tracing::warn!(
                stream = %stream.id, %shard,
                "another subscription of the same consumer takes the shard: a worker that has lost the lease, or another application"
            ),
            Some(Note::Recovered(failures)) => {
                tracing::info!(stream = %stream.id, %shard, failures, "subscriptions work again");
            }
            Some(Note::RecordsLost(refused)) => {
                self.count(RECORDS_LOST);
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
                Command::Subscribe(from) => self.subscribe(&from).await?,
                Command::Listen(until) => {
                    if let Some(fetched) = self.listen(until).await {
                        return Ok(fetched);
                    }
                }
                Command::Confirm => self.confirm().await?,
                Command::End(children) => return Ok(Fetched::ShardEnd { children }),
            }
        }
    }
}
