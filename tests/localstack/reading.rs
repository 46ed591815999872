//! Reading one stream: everything once, from where it was asked, whichever way.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use kcl_core::leasing::CheckpointError;
use kcl_core::{Batch, Position, RecordProcessor, ShardContext, StartFrom};

use crate::member::{Log, Member, Way, eventually};
use crate::place::{Place, on_endpoint};

const SECONDS: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_read_by_polling() {
    on_endpoint(|place| everything_is_read(place, Way::Polling)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_read_by_fan_out() {
    on_endpoint(|place| everything_is_read(place, Way::FanOut)).await;
}

/// S1, S6: what was there before and what comes after, once and in order; a stop in order, and the next worker goes on.
async fn everything_is_read(place: Arc<Place>, way: Way) {
    let (world, app, log) = (place.stream(3).await, place.application(), Log::default());
    for _ in 0..10 {
        world.put(30).await;
    }
    let first = Member::start(&world, &app, 1, way, StartFrom::TrimHorizon, &log);
    log.drained(&place, &world, 20 * SECONDS).await;
    for _ in 0..5 {
        world.put(30).await;
    }
    log.drained(&place, &world, 10 * SECONDS).await;
    first.stop().await;

    world.put(30).await;
    let second = Member::start(&world, &app, 2, way, StartFrom::TrimHorizon, &log);
    log.drained(&place, &world, 20 * SECONDS).await;
    second.stop().await;
    let account = log.account(&world);
    assert_eq!((account.put, account.lost, account.duplicates), (480, 0, 0), "{account:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_begins_where_it_was_asked_by_polling() {
    on_endpoint(|place| it_begins_where_it_was_asked(place, Way::Polling)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_begins_where_it_was_asked_by_fan_out() {
    on_endpoint(|place| it_begins_where_it_was_asked(place, Way::FanOut)).await;
}

/// S10: the oldest record, the newest, and a time between two records.
async fn it_begins_where_it_was_asked(place: Arc<Place>, way: Way) {
    let world = place.stream(2).await;
    world.put(20).await;
    // Clocks differ: a new application that begins with the newest record goes two seconds back.
    tokio::time::sleep(4 * SECONDS).await;
    let time = StartFrom::Timestamp(SystemTime::now() - SECONDS);
    let applications = [StartFrom::TrimHorizon, StartFrom::Latest, time].map(|from| {
        let (app, log) = (place.application(), Log::default());
        (Member::start(&world, &app, 1, way, from, &log), log)
    });
    for (member, _) in &applications {
        member.ready(&place).await;
    }
    world.put(20).await;
    for ((member, log), oldest) in applications.into_iter().zip([0, 1, 1]) {
        let keys = world.put_so_far();
        let wanted: BTreeMap<String, BTreeSet<u64>> =
            keys.into_iter().map(|(key, put)| (key, (oldest..put).collect())).collect();
        eventually(&place, 20 * SECONDS, || {
            let numbers = log.numbers();
            (numbers.values().map(BTreeSet::len).sum::<usize>() < (40 - 20 * oldest as usize))
                .then(|| format!("{numbers:?}"))
        })
        .await;
        member.stop().await;
        assert_eq!(log.numbers(), wanted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_are_taken_apart_by_polling() {
    on_endpoint(|place| aggregates_are_taken_apart(place, Way::Polling)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_are_taken_apart_by_fan_out() {
    on_endpoint(|place| aggregates_are_taken_apart(place, Way::FanOut)).await;
}

/// S14: user records come one by one, and a checkpoint inside an aggregate resumes after it.
async fn aggregates_are_taken_apart(place: Arc<Place>, way: Way) {
    let (world, app) = (place.stream(1).await, place.application());
    for _ in 0..3 {
        world.put_aggregate(5, 20).await;
    }
    let log = Log::default();
    let whole = Member::start(&world, &app, 1, way, StartFrom::TrimHorizon, &log);
    log.drained(&place, &world, 20 * SECONDS).await;
    whole.stop().await;
    let account = log.account(&world);
    assert_eq!((account.put, account.lost, account.duplicates), (300, 0, 0), "{account:?}");

    let (app, seen) = (place.application(), Seen::default());
    let start = |id| {
        let seen = seen.clone();
        Member::with(&world, &app, id, way, StartFrom::TrimHorizon, move |_| seen.clone())
    };
    let first = start(1);
    eventually(&place, 20 * SECONDS, || (!seen.has_stopped()).then(|| format!("{seen:?}"))).await;
    first.kill().await;
    let second = start(2);
    eventually(&place, 20 * SECONDS, || (seen.subs().len() < 300).then(|| format!("{seen:?}")))
        .await;
    second.kill().await;
    let wanted: Vec<u64> = (0..3).flat_map(|_| 0..100).collect();
    assert_eq!(seen.subs(), wanted);
}

/// Notes sub-sequence numbers. Its first life checkpoints in the middle of the second aggregate, and then hangs.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<(Vec<u64>, bool)>>);

impl Seen {
    fn subs(&self) -> Vec<u64> {
        self.0.lock().unwrap().0.clone()
    }

    fn has_stopped(&self) -> bool {
        self.0.lock().unwrap().1
    }
}

impl RecordProcessor for Seen {
    type Error = CheckpointError;

    async fn process_records(
        &mut self,
        batch: Batch,
        shard: &mut ShardContext,
    ) -> Result<(), CheckpointError> {
        let first_life = *shard.resumed_after() == Position::TrimHorizon;
        for record in &batch {
            let noted = {
                let mut seen = self.0.lock().unwrap();
                seen.0.push(record.sub_sequence_number());
                seen.0.len()
            };
            if first_life && noted == 150 {
                shard.checkpointer().checkpoint_at(record).await?;
                self.0.lock().unwrap().1 = true;
                pending::<()>().await;
            }
        }
        Ok(())
    }
}

/// A stream that does not exist is said at once, by its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_there_is_named() {
    on_endpoint(|place| async move {
        let mut world = place.stream(1).await;
        world.stream = "kcl-test-no-such-stream".to_owned();
        let app = place.application();
        let from = StartFrom::TrimHorizon;
        let member = Member::start(&world, &app, 1, Way::Polling, from, &Log::default());
        let ended = tokio::time::timeout(place.patience(10 * SECONDS), member.ended()).await;
        let error = format!("{:?}", ended.unwrap().unwrap_err());
        assert!(error.contains("no-such-stream"), "{error}");
    })
    .await;
}
