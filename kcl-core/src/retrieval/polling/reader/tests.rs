use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::fake::{Fake, Fault, LATENCY, children, number, shard, stream};
use super::*;
use crate::Clock;
use crate::metrics::{Metric, Metrics, ShardMetrics};
use crate::retrieval::{ByteBudget, Finding, HealthReport, Polling, RecordSource};
use crate::{ShardId, StreamId, Tasks};

#[derive(Debug, Default)]
struct Figures(Mutex<BTreeMap<Metric, Vec<f64>>>);

impl Metrics for Figures {
    fn record(&self, metric: Metric, _: Option<(&StreamId, &ShardId)>, value: f64) {
        self.0.lock().unwrap().entry(metric).or_default().push(value);
    }
}

/// A shard, and a reader of it under test.
struct Bench {
    fake: Arc<Fake>,
    clock: Clock,
    budget: ByteBudget,
    figures: Arc<Figures>,
}

impl Bench {
    fn new() -> Self {
        let clock = Clock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        Self {
            fake: Arc::new(Fake::new(clock.clone())),
            clock,
            budget: ByteBudget::new(MAX_REPLY_BYTES),
            figures: Arc::default(),
        }
    }

    fn polling(&self) -> Polling {
        Polling::over(self.fake.clone())
    }

    fn open(&self, polling: &Polling, from: StartingPosition) -> Box<dyn ShardReader> {
        let stream = stream(1);
        polling.open(OpenShard {
            metrics: ShardMetrics::new(self.figures.clone(), stream.id.clone(), shard(0)),
            stream,
            shard: shard(0),
            from,
            budget: self.budget.clone(),
            clock: self.clock.clone(),
            rng: fastrand::Rng::with_seed(3),
            tasks: Tasks::new(),
            health: HealthReport::default(),
        })
    }

    fn reader(&self, from: StartingPosition) -> Box<dyn ShardReader> {
        self.open(&self.polling(), from)
    }

    fn fault(&self, fault: Fault) {
        self.fake.state().reads.push_back(fault);
    }

    fn fail(&self, kind: ApiErrorKind) {
        self.fault(Fault::Fail(kind));
    }

    fn sum(&self, metric: Metric) -> f64 {
        let figures = self.figures.0.lock().unwrap();
        figures.get(&metric).map_or(0.0, |values| values.iter().sum())
    }

    async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }
}

/// Reads until `count` records came, within an hour; their sequence numbers.
async fn read(reader: &mut Box<dyn ShardReader>, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(3600), reader.next());
        match next.await.expect("records within an hour").unwrap() {
            Fetched::Records { records, .. } => numbers.extend(values(&records)),
            Fetched::ShardEnd { .. } => panic!("ended after {numbers:?}"),
        }
    }
    numbers
}

fn values(records: &[RawRecord]) -> impl Iterator<Item = u64> {
    records.iter().map(|record| record.sequence_number.as_str().parse().unwrap())
}

fn to(numbers: RangeInclusive<u64>) -> Vec<u64> {
    numbers.collect()
}

#[tokio::test(start_paused = true)]
async fn every_starting_position() {
    let bench = Bench::new();
    bench.fake.put(3, 10);
    bench.pass(60).await;
    let middle = bench.clock.wall();
    bench.fake.put(3, 10);
    let table = [
        (StartingPosition::TrimHorizon, 1),
        (StartingPosition::AtSequenceNumber(number(2)), 2),
        (StartingPosition::AfterSequenceNumber(number(2)), 3),
        (StartingPosition::AtTimestamp(middle), 4),
    ];
    for (from, first) in table {
        let mut reader = bench.reader(from.clone());
        let expected = to(first..=6);
        assert_eq!(read(&mut reader, expected.len()).await, expected, "{from:?}");
    }
    let mut reader = bench.reader(StartingPosition::Latest);
    assert!(tokio::time::timeout(Duration::from_secs(60), reader.next()).await.is_err());
    bench.fake.put(2, 10);
    assert_eq!(read(&mut reader, 2).await, [7, 8]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_iterator_is_replaced_without_gap_or_repeat() {
    let bench = Bench::new();
    bench.fake.put(3, 10);
    let mut reader = bench.reader(StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 3).await, [1, 2, 3]);
    bench.fake.put(2, 10);
    bench.pass(360).await;
    bench.fake.put(1, 10);
    assert_eq!(read(&mut reader, 3).await, [4, 5, 6]);
    assert_eq!(bench.sum(ITERATORS_EXPIRED), 1.0);
    assert_eq!(bench.sum(READ_FAILURES), 0.0);
}

#[tokio::test(start_paused = true)]
async fn latest_skips_nothing_when_its_first_iterator_is_lost_or_expires() {
    for expires in [false, true] {
        let bench = Bench::new();
        bench.fake.put(3, 10);
        bench.pass(60).await;
        let mut reader = bench.reader(StartingPosition::Latest);
        if expires {
            // Opened, then dropped before the reply of the first read was in hand.
            let cut = LATENCY + LATENCY / 2;
            assert!(tokio::time::timeout(cut, reader.next()).await.is_err());
        } else {
            bench.fail(ApiErrorKind::Unavailable);
            let first = tokio::time::timeout(LATENCY * 2, reader.next());
            assert!(first.await.is_err());
        }
        bench.fake.put(2, 10);
        bench.pass(360).await;
        assert_eq!(read(&mut reader, 2).await, [4, 5], "expires={expires}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_ends_after_its_last_record() {
    for named in [true, false] {
        let bench = Bench::new();
        bench.fake.put(3, 10);
        bench.fake.state().closed = true;
        bench.fake.state().names_children = named;
        let mut reader = bench.reader(StartingPosition::TrimHorizon);
        assert_eq!(read(&mut reader, 3).await, [1, 2, 3]);
        for _ in 0..3 {
            let Ok(Fetched::ShardEnd { children: ended }) = reader.next().await else {
                panic!("not ended");
            };
            assert_eq!(ended, children(), "named={named}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_none_and_a_shard_not_found_once_go_on() {
    for fault in [Fault::FalseEnd, Fault::Fail(ApiErrorKind::NotFound)] {
        let bench = Bench::new();
        bench.fake.put(2, 10);
        let mut reader = bench.reader(StartingPosition::TrimHorizon);
        assert_eq!(read(&mut reader, 2).await, [1, 2]);
        bench.fake.put(2, 10);
        bench.fault(fault);
        assert_eq!(read(&mut reader, 2).await, [3, 4], "{fault:?}");
    }
}

/// A9, S11: a closed shard whose reply says too early that it ends, and names no children.
#[tokio::test(start_paused = true)]
async fn a_false_end_of_a_closed_shard_keeps_nothing_back() {
    let bench = Bench::new();
    bench.fake.put(2, 10);
    let mut reader = bench.reader(StartingPosition::TrimHorizon);
    assert_eq!(read(&mut reader, 2).await, [1, 2]);
    bench.fake.put(2, 10);
    bench.fake.state().closed = true;
    bench.fake.state().names_children = false;
    bench.fault(Fault::FalseEnd);
    assert_eq!(read(&mut reader, 2).await, [3, 4]);
    assert!(matches!(reader.next().await, Ok(Fetched::ShardEnd { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_shard_or_stream_that_is_gone_is_not_its_end() {
    type Gone = fn(&Fake);
    let table: [(&str, Gone); 2] = [
        ("the shard is not listed", |fake| {
            fake.state().listed = false;
        }),
        ("the stream was created again", |fake| {
            fake.state().stream = stream(2);
        }),
    ];
    for (what, gone) in table {
        let bench = Bench::new();
        gone(&bench.fake);
        bench.fail(ApiErrorKind::NotFound);
        let mut reader = bench.reader(StartingPosition::AfterSequenceNumber(number(1)));
        let hour = tokio::time::timeout(Duration::from_secs(3600), reader.next());
        let outcome = hour.await.expect("an answer within an hour");
        assert!(matches!(outcome, Err(ReadError::NotFound(_))), "{what}: {outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_older_than_the_retention_is_counted_and_left() {
    let bench = Bench::new();
    bench.fake.put(9, 10);
    bench.fake.state().trimmed = 6;
    let mut reader = bench.reader(StartingPosition::AfterSequenceNumber(number(2)));
    assert_eq!(read(&mut reader, 4).await, [6, 7, 8, 9]);
    assert_eq!(bench.sum(RECORDS_LOST), 1.0);
}

#[tokio::test(start_paused = true)]
async fn errors_of_every_kind_are_survived_and_counted() {
    use ApiErrorKind::{
        AccessDenied, ExpiredIterator, ExpiredToken, Malformed, NotFound, ResourceInUse, Throttled,
        Unavailable,
    };
    let bench = Bench::new();
    // InvalidArgument has consequences: see above.
    let kinds = [
        AccessDenied,
        ExpiredIterator,
        ExpiredToken,
        Malformed,
        NotFound,
        ResourceInUse,
        Throttled,
        Unavailable,
    ];
    let mut reader = bench.reader(StartingPosition::TrimHorizon);
    for (round, kind) in kinds.into_iter().enumerate() {
        for _ in 0..3 {
            bench.fail(kind);
        }
        bench.fake.put(1, 10);
        assert_eq!(read(&mut reader, 1).await, [round as u64 + 1], "{kind:?}");
    }
    assert_eq!(bench.sum(READS_THROTTLED), 3.0);
    assert_eq!(bench.sum(ITERATORS_EXPIRED), 3.0);
    assert_eq!(bench.sum(READ_FAILURES), 18.0);
}

#[tokio::test(start_paused = true)]
async fn a_record_on_a_silent_shard_comes_within_the_longest_idle_interval() {
    let bench = Bench::new();
    let mut reader = bench.reader(StartingPosition::Latest);
    for millis in [0, 130, 470, 999] {
        let quiet = Duration::from_secs(30) + Duration::from_millis(millis);
        assert!(tokio::time::timeout(quiet, reader.next()).await.is_err());
        bench.fake.put(1, 10);
        let begin = bench.clock.now();
        read(&mut reader, 1).await;
        let waited = bench.clock.now() - begin;
        assert!(waited <= Duration::from_secs(1) + 2 * LATENCY, "{waited:?}");
    }
    let polls = bench.sum(GET_RECORDS);
    assert!((100.0..200.0).contains(&polls), "two minutes at one poll a second: {polls}");
    let figures = bench.figures.0.lock().unwrap();
    assert_eq!(figures[&MILLIS_BEHIND_LATEST].iter().sum::<f64>(), 0.0);
    // A poll that was dropped before its reply has no figure.
    assert!(figures[&MILLIS_BEHIND_LATEST].len() as f64 >= polls - 4.0);
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_interval_is_shorter_than_an_iterators_life() {
    let bench = Bench::new();
    let polling = bench.polling().idle(Duration::MAX, Duration::MAX);
    let mut reader = bench.open(&polling, StartingPosition::TrimHorizon);
    let put = async {
        bench.pass(1000).await;
        bench.fake.put(1, 10);
    };
    let (records, ()) = tokio::join!(read(&mut reader, 1), put);
    assert_eq!(records, [1]);
    assert_eq!(bench.sum(ITERATORS_EXPIRED), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_read_as_fast_as_the_pace_allows() {
    let bench = Bench::new();
    bench.fake.put(50, 100 * 1024);
    let mut reader = bench.open(&bench.polling().max_records(10), StartingPosition::TrimHorizon);
    let begin = bench.clock.now();
    assert_eq!(read(&mut reader, 50).await, to(1..=50));
    let took = bench.clock.now() - begin;
    // 5 pages of 1,000 KiB at 2 MiB/s: the last one starts after the bytes of four.
    let expected = Duration::from_secs_f64(4.0 * 1000.0 / 2048.0) + 2 * LATENCY;
    assert!(took >= expected && took < expected + Duration::from_millis(100), "{took:?}");

    let mut reader =
        bench.open(&bench.polling().max_records(10).unpaced(), StartingPosition::TrimHorizon);
    let begin = bench.clock.now();
    read(&mut reader, 50).await;
    assert!(bench.clock.now() - begin <= 7 * LATENCY);
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_taken_for_a_call_and_kept_for_its_records() {
    let bench = Bench::new();
    let mut reader = bench.reader(StartingPosition::TrimHorizon);
    let idle = LATENCY * 2 + Duration::from_millis(100);
    assert!(tokio::time::timeout(idle, reader.next()).await.is_err());
    assert_eq!(bench.budget.used(), 0, "idle");
    bench.fake.put(2, 1000);
    let Ok(Fetched::Records { permit, .. }) = reader.next().await else {
        panic!("records");
    };
    assert_eq!((bench.budget.used(), permit.bytes()), (2006, 2006));

    let calls = bench.fake.state().calls.len();
    bench.fake.put(1, 1000);
    assert!(tokio::time::timeout(Duration::from_secs(60), reader.next()).await.is_err());
    assert_eq!(bench.fake.state().calls.len(), calls, "no call without a permit");
    drop(permit);
    assert_eq!(read(&mut reader, 1).await, [3]);
    assert_eq!(bench.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_for_the_budget_counts_from_its_start() {
    let bench = Bench::new();
    bench.fake.put(12, 10);
    let polling = bench.polling().max_records(1);
    let mut reader = bench.open(&polling, StartingPosition::TrimHorizon);
    let held = bench.budget.take(MAX_REPLY_BYTES).await;
    let release = async {
        bench.pass(60).await;
        drop(held);
    };
    let (numbers, ()) = tokio::join!(read(&mut reader, 12), release);
    assert_eq!(numbers, to(1..=12));
    for six in bench.fake.state().calls.windows(6) {
        assert!(six[5] - six[0] > Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn iterators_that_expire_unused_make_no_storm() {
    let bench = Bench::new();
    // Every second call is an iterator's only read.
    for _ in 0..200 {
        bench.fault(Fault::FalseEnd);
        bench.fail(ApiErrorKind::ExpiredIterator);
    }
    let mut reader = bench.reader(StartingPosition::TrimHorizon);
    let minute = tokio::time::timeout(Duration::from_secs(60), reader.next());
    assert!(minute.await.is_err());
    assert!(bench.sum(ITERATORS_EXPIRED) < 30.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Futures dropped at any moment, any errors, records that come at any time: every record once, in order, and then the
    /// end; at most five calls in any second.
    #[test]
    fn dropped_anywhere_nothing_is_lost(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(dropped_anywhere(fastrand::Rng::with_seed(seed)));
    }
}

async fn dropped_anywhere(mut rng: fastrand::Rng) {
    const KINDS: [ApiErrorKind; 5] = [
        ApiErrorKind::Throttled,
        ApiErrorKind::ExpiredIterator,
        ApiErrorKind::NotFound,
        ApiErrorKind::Unavailable,
        ApiErrorKind::Malformed,
    ];
    let bench = Bench::new();
    let max_records = rng.u32(1..10);
    let polling = bench.polling().max_records(max_records);
    let mut reader = bench.open(&polling, StartingPosition::Latest);
    // From here on the first iterator is in hand, or it is lost and LATEST must not be opened again.
    let _ = tokio::time::timeout(Duration::from_millis(rng.u64(6..30)), reader.next()).await;
    let (mut put, mut seen, mut faults, mut pauses) = (0, Vec::new(), 0, 0);
    let begin = bench.clock.now();
    let ended = loop {
        let took = bench.clock.now() - begin;
        assert!(took < Duration::from_secs(3600), "no end: seen {seen:?}, put {put}");
        match rng.u32(0..10) {
            0 if put < 40 => {
                let count = rng.usize(1..12);
                bench.fake.put(count, 10);
                put += count as u64;
            }
            1 if faults < 20 => {
                faults += 1;
                bench.fail(*rng.choice(KINDS.iter()).unwrap());
            }
            2 if pauses < 3 => {
                pauses += 1;
                bench.pass(310).await;
            }
            3 if put >= 40 => {
                let mut state = bench.fake.state();
                state.closed = true;
                state.names_children = rng.bool();
            }
            _ => {}
        }
        let patience = Duration::from_millis(rng.u64(0..40));
        match tokio::time::timeout(patience, reader.next()).await {
            Ok(Ok(Fetched::Records { records, .. })) => seen.extend(values(&records)),
            Ok(Ok(Fetched::ShardEnd { children })) => break children,
            Ok(Err(error)) => panic!("{error:?}"),
            Err(_) => {}
        }
    };
    assert_eq!(seen, to(1..=put));
    assert_eq!(ended, children());
    assert_eq!(bench.budget.used(), 0);
    for six in bench.fake.state().calls.windows(6) {
        assert!(six[5] - six[0] > Duration::from_secs(1));
    }
}

/// Whatever is doubted by how many: one look is under way, and one more serves all who asked meanwhile.
#[tokio::test(start_paused = true)]
async fn readers_that_doubt_at_once_share_their_looks() {
    let bench = Bench::new();
    let (lookups, stream) = (Lookups::default(), stream(1));
    let begun = bench.clock.now();
    let looks = (0..100).map(|n| {
        let (lookups, bench, stream) = (&lookups, &bench, &stream);
        async move {
            bench.clock.sleep(LATENCY / 100 * n).await;
            lookups.find(&*bench.fake, stream, &shard(0), &bench.clock).await.unwrap()
        }
    });
    let listed = futures_util::future::join_all(looks).await;
    assert_eq!(listed, vec![Finding::Listed; 100]);
    let quarter = Duration::from_millis(250);
    assert_eq!(bench.clock.now() - begun, quarter + 2 * LATENCY, "two looks of two calls");
    // S17: one who asks again and again does not make it more.
    for _ in 0..8 {
        lookups.find(&*bench.fake, &stream, &shard(0), &bench.clock).await.unwrap();
    }
    assert_eq!(bench.clock.now() - begun, 9 * quarter + 2 * LATENCY);
}
