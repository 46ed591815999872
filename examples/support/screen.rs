//! Prints what happens, as it happens: plain lines, so that they can be kept.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::ledger::{Figures, Ledger, listed};

const REFRESH: Duration = Duration::from_millis(50);

pub(crate) struct Screen {
    ledger: Ledger,
    /// As of the last line of figures, and its time.
    last: (Duration, Figures),
    shown: String,
    /// Shown once it has stood for a while, since a rebalance is many changes.
    changing: String,
    /// Every worker that ever owned a shard.
    workers: BTreeSet<String>,
}

impl Screen {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            last: (Duration::ZERO, ledger.figures()),
            shown: String::new(),
            changing: String::new(),
            workers: BTreeSet::new(),
            ledger,
        }
    }

    /// Prints until it is dropped.
    pub(crate) async fn run(&mut self) {
        let mut ticks = tokio::time::interval(REFRESH);
        loop {
            ticks.tick().await;
            self.refresh();
        }
    }

    /// Prints what is new.
    pub(crate) fn refresh(&mut self) {
        for (time, line) in self.ledger.news() {
            print(time, &line);
        }
        let (now, figures) = (self.ledger.elapsed(), self.ledger.figures());
        self.workers.extend(figures.owners.values().cloned());
        let owners = self.owners(&figures);
        if owners != self.shown && owners == self.changing && !self.workers.is_empty() {
            print(now, &owners);
            self.shown.clone_from(&owners);
        }
        self.changing = owners;
        let (then, last) = &self.last;
        if now.as_secs() > then.as_secs() {
            let seconds = (now - *then).as_secs_f64();
            let rate = |now: u64, then: u64| (now - then) as f64 / seconds;
            let put = rate(figures.put, last.put);
            let processed = rate(figures.processed, last.processed);
            let lag = figures.lag.as_millis();
            let repeated = match figures.repeated - last.repeated {
                0 => String::new(),
                repeated => format!("   {repeated} repeated"),
            };
            print(
                now,
                &format!(
                    "put {put:4.0}/s   processed {processed:4.0}/s   lag {lag:5} ms{repeated}"
                ),
            );
            self.last = (now, figures);
        }
    }

    /// A column for each worker: `ana reads 2         bob reads 3         cyd reads 0 1`.
    fn owners(&self, figures: &Figures) -> String {
        let column = |worker: &String| {
            let owned = figures.owners.iter().filter(|(_, owner)| *owner == worker);
            let shards: Vec<u32> = owned.map(|(shard, _)| *shard).collect();
            let reads = if shards.is_empty() { "-".into() } else { listed(&shards) };
            format!("{:<20}", format!("{worker} reads {reads}"))
        };
        let mut line: String = self.workers.iter().map(column).collect();
        if !figures.waiting.is_empty() {
            line.push_str(&format!("nobody {}", listed(&figures.waiting)));
        }
        format!("    {}", line.trim_end())
    }
}

fn print(time: Duration, line: &str) {
    println!("{:5.1} s  {line}", time.as_secs_f64());
}
