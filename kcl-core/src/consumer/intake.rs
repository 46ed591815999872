//! From replies to batches: de-aggregates, drops what was done before, and cuts large replies.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::start::Done;
use crate::aggregation::{self, Caps, Unpacked};
use crate::metrics::{self, ShardMetrics};
use crate::retrieval::{BudgetPermit, Fetched, ReadError};
use crate::{Batch, ChildShard, RawRecord};

/// A batch is closed as soon as it has this many user records, so that a reply full of aggregates is not unpacked at once.
const BATCH_RECORDS: usize = 10_000;

/// What a reader sends. Boxed, because a channel has room for 32 from the start, and most shards are idle.
pub(super) type Sent = Box<Result<Fetched, ReadError>>;

/// The replies of a reader, and the reply that is being cut into batches.
#[derive(Debug)]
pub(super) struct Intake {
    replies: mpsc::Receiver<Sent>,
    reply: Option<Reply>,
    done: Option<Done>,
    caps: Caps,
    metrics: ShardMetrics,
}

#[derive(Debug)]
struct Reply {
    records: std::vec::IntoIter<RawRecord>,
    permit: Arc<BudgetPermit>,
    behind: Duration,
}

/// What the intake has for the processor.
#[derive(Debug)]
pub(super) enum Taken {
    /// The next records.
    Batch(Batch),
    /// The shard is closed and everything was taken.
    End(Vec<ChildShard>),
    /// The shard cannot be read any more.
    Unreadable(ReadError),
}

impl Intake {
    pub(super) fn new(
        replies: mpsc::Receiver<Sent>,
        done: Option<Done>,
        metrics: ShardMetrics,
    ) -> Self {
        Self { replies, reply: None, done, caps: Caps::default(), metrics }
    }

    /// The next thing for the processor; `None` when the reader has stopped. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Taken> {
        loop {
            if let Some(batch) = self.cut() {
                return Some(Taken::Batch(batch));
            }
            match *self.replies.recv().await? {
                Ok(Fetched::Records { records, permit, behind }) => {
                    let (records, permit) = (records.into_iter(), Arc::new(permit));
                    self.reply = Some(Reply { records, permit, behind });
                }
                Ok(Fetched::ShardEnd { children }) => return Some(Taken::End(children)),
                Err(error) => return Some(Taken::Unreadable(error)),
            }
        }
    }

    /// The next batch of the reply at hand; drops the reply when it has no more.
    fn cut(&mut self) -> Option<Batch> {
        let reply = self.reply.as_mut()?;
        let mut records = Vec::with_capacity(reply.records.len().min(BATCH_RECORDS));
        let mut payload_bytes = 0;
        while records.len() < BATCH_RECORDS
            && let Some(raw) = reply.records.next()
        {
            let before = records.len();
            payload_bytes += raw.data.len();
            if let Unpacked::Damaged(damage) = aggregation::unpack(raw, &self.caps, &mut records) {
                self.metrics.count(metrics::AGGREGATES_DAMAGED);
                let number = records.last().map(|whole| whole.sequence_number().as_str());
                tracing::warn!(number, %damage, "damaged aggregate is delivered whole");
            }
            if let Some(done) = &self.done {
                let covered =
                    records[before..].iter().take_while(|record| done.covers(record)).count();
                records.drain(before..before + covered);
                if records.len() > before {
                    self.done = None; // the shard is in order: nothing after this was done before
                }
            }
        }
        let batch = Batch::new(records, payload_bytes, reply.behind, reply.permit.clone());
        if reply.records.len() == 0 {
            self.reply = None;
        }
        batch
    }
}
