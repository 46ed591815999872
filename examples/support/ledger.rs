//! Who put what, who processed what, and who owns which shard.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kcl_core::{Record, ShardId, WorkerEvent, WorkerId};

/// Knows every record that was put, and judges every delivery. Clones share it.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

struct Book {
    begin: Instant,
    keys: BTreeMap<String, Key>,
    unknown: u64,
    owners: BTreeMap<u32, String>,
    takeovers: Vec<Takeover>,
    news: Vec<(Duration, String)>,
}

/// The records of one partition key; the index is the record's number.
#[derive(Default)]
struct Key {
    records: Vec<Entry>,
    /// All before were delivered.
    done: usize,
    newest: Option<usize>,
    out_of_order: u64,
}

struct Entry {
    put: Instant,
    deliveries: u64,
}

/// How a worker went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    Killed,
    Stopped,
}

/// From a worker's departure to the first delivery of its shard by another worker.
#[derive(Debug, Clone)]
struct Takeover {
    shard: u32,
    worker: String,
    departure: Departure,
    since: Instant,
    took: Option<Duration>,
}

/// What the screen shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) put: u64,
    pub(crate) processed: u64,
    /// How many of them were repeated ones.
    pub(crate) repeated: u64,
    pub(crate) lag: Duration,
    pub(crate) owners: BTreeMap<u32, String>,
    /// Shards of departed workers that nobody has taken over yet.
    pub(crate) waiting: Vec<u32>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Book {
            begin: Instant::now(),
            keys: BTreeMap::new(),
            unknown: 0,
            owners: BTreeMap::new(),
            takeovers: Vec::new(),
            news: Vec::new(),
        })))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The payload of the next record of `key`: key and number.
    pub(crate) fn put(&self, key: &str) -> String {
        let mut book = self.book();
        let records = &mut book.keys.entry(key.to_owned()).or_default().records;
        records.push(Entry { put: Instant::now(), deliveries: 0 });
        format!("{key} {}", records.len() - 1)
    }

    /// A worker processes a record.
    pub(crate) fn deliver(&self, worker: &WorkerId, shard: &ShardId, record: &Record) {
        let mut book = self.book();
        book.deliver(record.data());
        book.take_over(worker.as_str(), number(shard));
    }

    /// A worker tells what happens.
    pub(crate) fn note(&self, worker: &WorkerId, event: &WorkerEvent) {
        let mut book = self.book();
        match event {
            WorkerEvent::Granted { shard, .. } => {
                book.owners.insert(number(&shard.shard), worker.to_string());
            }
            WorkerEvent::Ended(shard) => {
                book.tell(format!("    shard {} is read to its end", number(&shard.shard)));
                book.release(worker, number(&shard.shard));
            }
            WorkerEvent::Lost(shard) => {
                let shard = number(&shard.shard);
                book.tell(format!("    {worker} gives shard {shard} up, for balance"));
                book.release(worker, shard);
            }
            WorkerEvent::Drained(shard) | WorkerEvent::Abandoned(shard) => {
                book.release(worker, number(&shard.shard));
            }
            WorkerEvent::Halted { shard, failure } => {
                book.tell(format!("    {shard} is halted: {failure}"));
                book.release(worker, number(&shard.shard));
            }
            _ => {}
        }
    }

    /// A worker goes while others live, who are to take its shards over.
    pub(crate) fn depart(&self, worker: &str, departure: Departure) {
        let mut book = self.book();
        let shards: Vec<u32> = book.shards_of(worker);
        let how = match departure {
            Departure::Killed => "dies without warning",
            Departure::Stopped => "is asked to stop",
        };
        book.tell(format!("--- {worker} {how}; it owns {}", listed(&shards)));
        let since = Instant::now();
        for shard in shards {
            let worker = worker.to_owned();
            book.takeovers.push(Takeover { shard, worker, departure, since, took: None });
        }
        if departure == Departure::Killed {
            book.owners.retain(|_, owner| owner != worker);
        }
    }

    /// The worker that owns the most shards.
    pub(crate) fn busiest(&self) -> Option<String> {
        let book = self.book();
        let owners = book.owners.values();
        owners.max_by_key(|owner| book.shards_of(owner).len()).cloned()
    }

    /// A line for the screen.
    pub(crate) fn tell(&self, line: String) {
        self.book().tell(line);
    }

    /// The lines since the last call, with their times.
    pub(crate) fn news(&self) -> Vec<(Duration, String)> {
        std::mem::take(&mut self.book().news)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.book().begin.elapsed()
    }

    pub(crate) fn figures(&self) -> Figures {
        let book = self.book();
        let account = book.account();
        let waiting = book.keys.values().filter_map(|key| key.records.get(key.done));
        let oldest = waiting.map(|entry| entry.put).min();
        Figures {
            put: account.put,
            processed: account.delivered + account.duplicates,
            repeated: account.duplicates,
            lag: oldest.map(|put| put.elapsed()).unwrap_or_default(),
            owners: book.owners.clone(),
            waiting: book.waiting(),
        }
    }

    /// Waits until everything put was delivered, for at most `limit`.
    pub(crate) async fn drained(&self, limit: Duration) {
        let begin = Instant::now();
        while self.account().lost > 0 && begin.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn account(&self) -> Account {
        self.book().account()
    }
}

impl Book {
    fn deliver(&mut self, data: &[u8]) {
        let text = std::str::from_utf8(data).unwrap_or_default();
        let parsed = text.rsplit_once(' ').and_then(|(key, number)| {
            let number: usize = number.parse().ok()?;
            let key = self.keys.get_mut(key)?;
            (number < key.records.len()).then_some((key, number))
        });
        match parsed {
            Some((key, number)) => key.deliver(number),
            None => self.unknown += 1,
        }
    }

    fn take_over(&mut self, worker: &str, shard: u32) {
        let open = |t: &&mut Takeover| t.shard == shard && t.worker != worker && t.took.is_none();
        let Some(takeover) = self.takeovers.iter_mut().find(open) else {
            return;
        };
        let took = takeover.since.elapsed();
        takeover.took = Some(took);
        let took = took.as_secs_f64();
        self.tell(format!("    {worker} goes on with shard {shard} after {took:.2} s"));
    }

    fn tell(&mut self, line: String) {
        self.news.push((self.begin.elapsed(), line));
    }

    fn release(&mut self, worker: &WorkerId, shard: u32) {
        if self.owners.get(&shard).is_some_and(|owner| owner == worker.as_str()) {
            self.owners.remove(&shard);
        }
    }

    fn shards_of(&self, worker: &str) -> Vec<u32> {
        let owned = self.owners.iter().filter(|(_, owner)| *owner == worker);
        owned.map(|(shard, _)| *shard).collect()
    }

    fn waiting(&self) -> Vec<u32> {
        let open = |takeover: &&Takeover| takeover.took.is_none();
        let shards = self.takeovers.iter().filter(open).map(|t| t.shard);
        shards.filter(|shard| !self.owners.contains_key(shard)).collect()
    }

    fn account(&self) -> Account {
        let mut account = Account {
            unknown: self.unknown,
            takeovers: self.takeovers.clone(),
            took: self.begin.elapsed(),
            ..Account::default()
        };
        for key in self.keys.values() {
            account.out_of_order += key.out_of_order;
            for entry in &key.records {
                account.put += 1;
                account.delivered += entry.deliveries.min(1);
                account.duplicates += entry.deliveries.saturating_sub(1);
            }
        }
        account.lost = account.put - account.delivered;
        account
    }
}

impl Key {
    fn deliver(&mut self, number: usize) {
        let entry = &mut self.records[number];
        entry.deliveries += 1;
        if entry.deliveries == 1 && self.newest.is_some_and(|newest| newest > number) {
            self.out_of_order += 1;
        }
        self.newest = self.newest.max(Some(number));
        let is_done = |entry: &Entry| entry.deliveries > 0;
        while self.records.get(self.done).is_some_and(is_done) {
            self.done += 1;
        }
    }
}

/// What became of the records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    took: Duration,
    put: u64,
    delivered: u64,
    duplicates: u64,
    out_of_order: u64,
    lost: u64,
    /// Delivered, but never put.
    unknown: u64,
    takeovers: Vec<Takeover>,
}

impl Account {
    /// Nothing lost, nothing out of order, nothing made up, and every shard of a departed worker taken over.
    pub(crate) fn is_sound(&self) -> bool {
        let taken_over = self.takeovers.iter().all(|takeover| takeover.took.is_some());
        self.lost == 0 && self.out_of_order == 0 && self.unknown == 0 && taken_over
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Account after {:.1} s", self.took.as_secs_f64())?;
        writeln!(f, "  put             {:>8}", self.put)?;
        writeln!(f, "  processed       {:>8}   at least once", self.delivered)?;
        writeln!(
            f,
            "  duplicates      {:>8}   processed, not checkpointed yet when a worker died or gave up a shard",
            self.duplicates
        )?;
        writeln!(f, "  out of order    {:>8}   within a customer", self.out_of_order)?;
        writeln!(f, "  lost            {:>8}", self.lost)?;
        if self.unknown > 0 {
            writeln!(f, "  never put       {:>8}", self.unknown)?;
        }
        for takeover in &self.takeovers {
            let how = match takeover.departure {
                Departure::Killed => "died",
                Departure::Stopped => "stopped",
            };
            write!(f, "  takeover        ")?;
            match takeover.took {
                Some(took) => write!(f, "{:>6.2} s", took.as_secs_f64())?,
                None => write!(f, "   never")?,
            }
            writeln!(f, "   shard {}, {} {how}", takeover.shard, takeover.worker)?;
        }
        Ok(())
    }
}

/// `shardId-000000000007` is 7.
fn number(shard: &ShardId) -> u32 {
    let digits = shard.as_str().trim_start_matches("shardId-");
    digits.parse().unwrap_or(u32::MAX)
}

/// Shard numbers with blanks between.
pub(crate) fn listed(shards: &[u32]) -> String {
    let shards: Vec<String> = shards.iter().map(u32::to_string).collect();
    shards.join(" ")
}
