use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::kinesis::KinesisApi;
use crate::leasing::PendingCheckpoint;
use crate::metrics::NoMetrics;
use crate::retrieval::{Fetched, ReadError, ShardReader};
use crate::{RawRecord, RecordProcessor, Stream, StreamAddress};

const SECOND: Duration = Duration::from_secs(1);

/// A lease whose validity passes without a word, as after the process stood still, and that notes what is written.
#[derive(Debug)]
struct Held {
    lost: CancellationToken,
    wanted: CancellationToken,
    valid_until: Instant,
    notes: Notes,
}

#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl HeldLease for Held {
    fn fencing_token(&self) -> u64 {
        1
    }

    fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    fn wanted(&self) -> &CancellationToken {
        &self.wanted
    }

    fn valid_until(&self) -> Instant {
        self.valid_until
    }

    fn advance(&self, watermark: Position) {
        self.notes.add(format!("advance {watermark}"));
    }

    async fn checkpoint(&self, _: Position) -> Result<(), CheckpointError> {
        Ok(())
    }

    async fn prepare(&self, _: PendingCheckpoint) -> Result<(), CheckpointError> {
        Ok(())
    }

    async fn end(&self, _: Vec<ChildShard>) -> Result<(), CheckpointError> {
        self.notes.add("end");
        Ok(())
    }

    async fn release(&self, reason: Release) -> Result<(), CheckpointError> {
        self.notes.add(format!("release {reason:?}"));
        Ok(())
    }
}

/// So many records, one at a time, and then the end.
#[derive(Debug, Clone)]
struct Records(u64);

impl RecordSource for Records {
    fn api(&self) -> Arc<dyn KinesisApi> {
        panic!("a consumer asks nothing of Kinesis");
    }

    fn open(&self, shard: OpenShard) -> Box<dyn ShardReader> {
        Box::new(Reader { next: 1, last: self.0, shard })
    }
}

struct Reader {
    next: u64,
    last: u64,
    shard: OpenShard,
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> Result<Fetched, ReadError> {
        if self.next > self.last {
            return Ok(Fetched::ShardEnd { children: Vec::new() });
        }
        let record = RawRecord {
            sequence_number: self.next.to_string().parse().unwrap(),
            partition_key: "key".into(),
            data: "data".into(),
            approximate_arrival: self.shard.clock.wall(),
        };
        self.next += 1;
        let permit = self.shard.budget.take(4).await;
        Ok(Fetched::Records { records: vec![record], permit, behind: Duration::ZERO })
    }
}

/// Takes a second for everything.
struct Second(Notes, Clock);

impl RecordProcessor for Second {
    type Error = std::convert::Infallible;

    async fn initialize(&mut self, _: &mut ShardContext) -> Result<(), Self::Error> {
        self.0.add("initialize");
        self.1.sleep(SECOND).await;
        Ok(())
    }

    async fn process_records(&mut self, _: Batch, _: &mut ShardContext) -> Result<(), Self::Error> {
        self.0.add("process");
        self.1.sleep(SECOND).await;
        Ok(())
    }

    async fn shard_ended(&mut self, _: &mut ShardContext) -> Result<(), Self::Error> {
        self.0.add("ended");
        Ok(())
    }

    async fn shutdown_requested(&mut self, _: &mut ShardContext) -> Result<(), Self::Error> {
        self.0.add("shutdown");
        Ok(())
    }

    async fn lease_lost(&mut self) {
        self.0.add("lost");
    }
}

/// A consumer of `records` records under a grant that is good for `valid` and a half.
fn consumer(records: u64, valid: u32, stop: &CancellationToken) -> (Consumer, Notes, Tasks) {
    let (notes, clock, tasks) = (Notes::default(), Clock::system(), Tasks::new());
    let settings = ConsumerSettings {
        worker: "worker".parse().unwrap(),
        source: Arc::new(Records(records)),
        budget: ByteBudget::new(0),
        checkpoint: Checkpoint::default(),
        failure: FailurePolicy::default(),
        warn_after: 60 * SECOND,
        lost_grace: 10 * SECOND,
        clock: clock.clone(),
        tasks: tasks.clone(),
    };
    let address: StreamAddress = "orders".parse().unwrap();
    let grant = Grant {
        stream: Stream { id: "1:orders:1".parse().unwrap(), address },
        shard: "shardId-0".parse().unwrap(),
        hash_range: None,
        position: Position::TrimHorizon,
        started_at: None,
        pending: None,
        lease: Arc::new(Held {
            lost: CancellationToken::new(),
            wanted: CancellationToken::new(),
            valid_until: clock.now() + SECOND * valid + SECOND / 2,
            notes: notes.clone(),
        }),
    };
    let metrics =
        ShardMetrics::new(Arc::new(NoMetrics), grant.stream.id.clone(), grant.shard.clone());
    let processor = Box::new(Second(notes.clone(), clock));
    let start = StartFrom::TrimHorizon;
    let stop = stop.clone();
    let consumer =
        Consumer::new(Arc::new(settings), grant, start, processor, metrics, 1, stop).unwrap();
    (consumer, notes, tasks)
}

/// S5: whatever comes next when the validity has passed, it is not handed out.
#[tokio::test(start_paused = true)]
async fn a_grant_past_its_validity_hands_out_nothing() {
    let table: [(&str, u64, u32, &[&str]); 4] = [
        ("initialize takes too long", 9, 0, &["initialize", "lost"]),
        ("a record", 9, 1, &["initialize", "process", "advance 1", "lost"]),
        ("the end", 1, 1, &["initialize", "process", "advance 1", "lost"]),
        ("in time", 1, 5, &["initialize", "process", "advance 1", "ended", "end"]),
    ];
    for (what, records, valid, expected) in table {
        let (mut consumer, notes, _tasks) = consumer(records, valid, &CancellationToken::new());
        consumer.run().await;
        assert_eq!(notes.all(), expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_past_the_validity_is_a_loss() {
    let endings: [(u32, &[&str]); 2] = [(0, &["lost"]), (5, &["shutdown", "release Stopping"])];
    for (valid, ending) in endings {
        let stop = CancellationToken::new();
        let (mut consumer, notes, _tasks) = consumer(9, valid, &stop);
        stop.cancel();
        consumer.run().await;
        assert_eq!(notes.all()[1..], *ending);
    }
}

/// The running call ends and counts, and nothing is handed out after it.
#[tokio::test(start_paused = true)]
async fn a_shard_that_another_worker_wants_is_drained() {
    let moments: [(u64, &[&str]); 3] = [
        (0, &["initialize", "shutdown", "release Wanted"]),
        (500, &["initialize", "shutdown", "release Wanted"]),
        (1_500, &["initialize", "process", "advance 1", "shutdown", "release Wanted"]),
    ];
    for (after, expected) in moments {
        let (mut consumer, notes, _tasks) = consumer(9, 5, &CancellationToken::new());
        let wanted = consumer.context.lease.wanted().clone();
        let asking = async {
            tokio::time::sleep(Duration::from_millis(after)).await;
            wanted.cancel();
        };
        let (finished, ()) = tokio::join!(consumer.run(), asking);
        assert_eq!(finished.outcome, Outcome::Drained, "after {after} ms");
        assert_eq!(notes.all(), expected, "after {after} ms");
    }
}

/// S16: the bytes of a batch go back when the batch is done, and all of them when the consumer is gone.
#[tokio::test(start_paused = true)]
async fn every_byte_goes_back_to_the_budget() {
    let (mut consumer, notes, tasks) = consumer(9, 4, &CancellationToken::new());
    let budget = consumer.settings.budget.clone();
    let running = async {
        consumer.run().await;
        drop(consumer);
    };
    let watching = async {
        for _ in 0..4 {
            tokio::time::sleep(SECOND).await;
            assert!(budget.used() <= 3 * 4, "one at hand, one ready, one coming: {budget:?}");
        }
    };
    tokio::join!(running, watching);
    assert_eq!(notes.all().last().unwrap(), "lost");
    tokio::time::sleep(SECOND).await;
    assert_eq!((budget.used(), tasks.len()), (0, 0));
}

/// A thousand idle shards cost a thousand of these.
#[tokio::test(start_paused = true)]
async fn an_idle_consumer_is_small() {
    let (mut consumer, _, _tasks) = consumer(0, 1, &CancellationToken::new());
    assert!(size_of::<Consumer>() <= 700, "{}", size_of::<Consumer>());
    let running = consumer.run();
    assert!(size_of_val(&running) <= 450, "{}", size_of_val(&running));
}
