use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::metrics::NoMetrics;
use crate::retrieval::ReadError;

/// Ends its shard at once, or panics, and counts how often it was asked.
struct Reader {
    asked: Arc<AtomicUsize>,
    panics: bool,
}

#[async_trait]
impl ShardReader for Reader {
    async fn next(&mut self) -> Result<Fetched, ReadError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics, "as it was told to");
        Ok(Fetched::ShardEnd { children: Vec::new() })
    }
}

struct Bench {
    ahead: Ahead,
    replies: mpsc::Receiver<Sent>,
    asked: Arc<AtomicUsize>,
    clock: Clock,
    tasks: Tasks,
}

impl Bench {
    fn new() -> Self {
        Self::with(false)
    }

    fn with(panics: bool) -> Self {
        let (sender, replies) = mpsc::channel(1);
        let asked = Arc::default();
        let reader = Box::new(Reader { asked: Arc::clone(&asked), panics });
        let (stream, shard) = ("1:orders:1".parse().unwrap(), "shardId-0".parse().unwrap());
        let metrics = ShardMetrics::new(Arc::new(NoMetrics), stream, shard);
        let ahead = Ahead::new(reader, sender, ByteBudget::new(0), metrics);
        Self { ahead, replies, asked, clock: Clock::system(), tasks: Tasks::new() }
    }

    async fn call(&mut self, call: impl Future<Output = ()>) {
        self.ahead.during(pin!(call), &self.clock, &self.tasks).await;
    }

    async fn next(&mut self) -> Option<Sent> {
        self.ahead.beside(pin!(self.replies.recv())).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_quick_processor_has_its_reader_beside_it() {
    let mut bench = Bench::new();
    bench.call(tokio::time::sleep(QUICK / 2)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((bench.asked(), bench.tasks.len()), (0, 0), "nobody waits for records");
    assert!(bench.next().await.is_some());
    assert!(bench.next().await.is_none(), "that was the end");
    assert_eq!((bench.asked(), bench.tasks.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_reader_of_one_that_waits_goes_on_by_itself() {
    let mut bench = Bench::new();
    bench.call(tokio::time::sleep(Duration::from_secs(1))).await;
    assert_eq!(bench.asked(), 1, "in that second");
    assert!(bench.next().await.is_some());
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a processor that does what it should not")]
async fn so_does_that_of_one_that_holds_its_thread() {
    let mut bench = Bench::new();
    bench.call(async { std::thread::sleep(QUICK * 2) }).await;
    assert!(matches!(bench.ahead, Ahead::Apart { .. }));
    assert!(bench.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_panics_has_stopped() {
    for apart in [false, true] {
        let mut bench = Bench::with(true);
        if apart {
            bench.ahead.part(&bench.tasks);
        }
        assert!(bench.next().await.is_none());
        assert_eq!(bench.asked(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_stopped_is_dropped() {
    for apart in [false, true] {
        let mut bench = Bench::new();
        if apart {
            bench.ahead.part(&bench.tasks);
        }
        bench.ahead.stop();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((bench.asked(), bench.tasks.len()), (0, 0));
        assert!(bench.next().await.is_none());
    }
}
