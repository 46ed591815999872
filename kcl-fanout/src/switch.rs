//! A reader that changes between two ways of reading, and goes on exactly after what it returned.

use std::error::Error;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use kcl_core::metrics::{READ_BY_FAN_OUT, READING_CHANGED};
use kcl_core::retrieval::{
    Fetched, Health, OpenShard, Polling, ReadError, RecordSource, ShardReader,
};
use kcl_core::{SequenceNumber, StartingPosition};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::choice::{Choice, Rules, Step, Way};
use crate::registry::NoConsumer;
use crate::source::FanOutSource;

/// How often a reader that waits is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Both ways of reading.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    pub(crate) polling: Polling,
    pub(crate) fan_out: FanOutSource,
}

/// Reads one shard, by one of two ways at a time.
///
/// A change drops the reader of one way, and makes one of the other that begins after the last record that was returned:
/// nothing is returned twice, or skipped.
pub(crate) struct Switch {
    ways: Ways,
    open: OpenShard,
    /// By this host's clock.
    opened: SystemTime,
    choice: Choice,
    reader: Box<dyn ShardReader>,
    /// The last record that was returned.
    returned: Option<SequenceNumber>,
    /// When records were returned, if nobody has asked since.
    idle_since: Option<Instant>,
    /// Whether there is a consumer.
    prepared: Option<oneshot::Receiver<Result<(), NoConsumer>>>,
}

impl Switch {
    pub(crate) fn new(ways: Ways, rules: Rules, mut open: OpenShard) -> Self {
        let choice = Choice::new(rules);
        let (opened, from) = (open.clock.wall(), open.from.clone());
        let reader = ways.open(choice.way(), &mut open, from);
        let (returned, idle_since, prepared) = (None, None, None);
        Self { ways, open, opened, choice, reader, returned, idle_since, prepared }
    }

    /// Waits for records, or for a reason to do something else first.
    async fn wait(&mut self) -> Result<Result<Fetched, ReadError>, Step> {
        let Self { open, choice, reader, prepared, .. } = self;
        let mut next = pin!(reader.next());
        loop {
            if let Some(step) = look(open, choice, prepared) {
                return Err(step);
            }
            tokio::select! {
                biased;
                fetched = &mut next => return Ok(fetched),
                () = open.clock.sleep(LOOK) => {}
            }
        }
    }

    fn carry_out(&mut self, step: Step) {
        let OpenShard { stream, shard, .. } = &self.open;
        match step {
            Step::Prepare(why) => {
                tracing::info!(stream = %stream.id, %shard, %why, "looking for a consumer, to read by fan-out");
                let (found, prepared) = oneshot::channel();
                self.prepared = Some(prepared);
                let fan_out = self.ways.fan_out.clone();
                let mut open = once_more(&mut self.open, StartingPosition::TrimHorizon);
                self.open.tasks.spawn(async move {
                    // Whoever asked may have lost the shard meanwhile.
                    let _ = found.send(fan_out.find_consumer(&mut open).await);
                });
            }
            Step::Change(way, why) => {
                if why.is_trouble() {
                    tracing::warn!(stream = %stream.id, %shard, %way, %why, "reading in another way");
                } else {
                    tracing::info!(stream = %stream.id, %shard, %way, %why, "reading in another way");
                }
                self.open.metrics.count(READING_CHANGED);
                let from = match &self.returned {
                    Some(number) => StartingPosition::AfterSequenceNumber(number.clone()),
                    None => self.open.from.again(self.opened),
                };
                self.reader = self.ways.open(way, &mut self.open, from);
            }
        }
    }
}

/// What to do about the way, if anything.
fn look(
    open: &OpenShard,
    choice: &mut Choice,
    prepared: &mut Option<oneshot::Receiver<Result<(), NoConsumer>>>,
) -> Option<Step> {
    let now = open.clock.now();
    let found = prepared.as_mut().map(oneshot::Receiver::try_recv);
    let found = match found {
        None | Some(Err(TryRecvError::Empty)) => return choice.step(open.health.get(), now),
        Some(Ok(Ok(()))) => true,
        Some(Ok(Err(NoConsumer::Failed(error) | NoConsumer::Unusable(error)))) => {
            let OpenShard { stream, shard, .. } = open;
            tracing::warn!(
                stream = %stream.id, %shard, %error,
                source = error.source().map(tracing::field::display),
                "no consumer to read by fan-out, polling goes on"
            );
            false
        }
        Some(Err(TryRecvError::Closed)) => false,
    };
    *prepared = None;
    choice.prepared(found, now)
}

impl Ways {
    fn open(&self, way: Way, open: &mut OpenShard, from: StartingPosition) -> Box<dyn ShardReader> {
        open.health.tell(Health::default());
        let by_fan_out = way == Way::FanOut;
        open.metrics.record(READ_BY_FAN_OUT, f64::from(u8::from(by_fan_out)));
        let shard = once_more(open, from);
        if by_fan_out { self.fan_out.subscribe(shard) } else { self.polling.open(shard) }
    }
}

/// The same shard for one more reader, which begins at `from`.
fn once_more(open: &mut OpenShard, from: StartingPosition) -> OpenShard {
    let rng = open.rng.fork();
    let OpenShard { stream, shard, budget, clock, tasks, metrics, health, .. } = &*open;
    OpenShard {
        stream: stream.clone(),
        shard: shard.clone(),
        from,
        budget: budget.clone(),
        clock: clock.clone(),
        rng,
        tasks: tasks.clone(),
        metrics: metrics.clone(),
        health: health.clone(),
    }
}

#[async_trait]
impl ShardReader for Switch {
    async fn next(&mut self) -> Result<Fetched, ReadError> {
        if let Some(since) = self.idle_since.take() {
            self.choice.was_idle(self.open.clock.now() - since);
        }
        loop {
            let fetched = match self.wait().await {
                Ok(fetched) => fetched?,
                Err(step) => {
                    self.carry_out(step);
                    continue;
                }
            };
            if let Fetched::Records { records, behind, .. } = &fetched {
                self.returned = records.last().map(|record| record.sequence_number.clone());
                self.choice.brought(*behind);
                self.idle_since = Some(self.open.clock.now());
            }
            return Ok(fetched);
        }
    }
}
