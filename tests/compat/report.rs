//! What each step brought, in a table.

use std::time::Duration;

use crate::loopback::account::Deliveries;

/// What a step may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until the test goes on anyhow, and says what was not reached.
    pub(crate) patience: Duration,
    /// Whether the open leases must be spread evenly.
    pub(crate) balance: bool,
    /// From the end of a worker until others own all that it owned.
    pub(crate) takeover: Duration,
    /// How long any lease may be without a sign of life; `None` where no promise is made.
    pub(crate) silence: Option<Duration>,
    /// How many leases may change hands.
    pub(crate) changes: usize,
}

/// A step and what came of it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) workers: Vec<String>,
    pub(crate) from_ms: u64,
    pub(crate) until_ms: u64,
    /// `Some(None)`: not reached.
    pub(crate) takeover: Option<Option<Duration>>,
    pub(crate) settled: Option<Option<Duration>>,
    pub(crate) silence: Option<Duration>,
    pub(crate) changes: usize,
    pub(crate) notes: Vec<String>,
    /// Which limits were not kept.
    pub(crate) broken: Vec<String>,
}

impl Row {
    pub(crate) fn judged(mut self, limits: &Limits) -> Self {
        let mut broken = Vec::new();
        if self.settled == Some(None) {
            broken.push(format!("not settled within {:?}", limits.patience));
        }
        match self.takeover {
            Some(None) => broken.push("not taken over".to_owned()),
            Some(Some(took)) if took > limits.takeover => {
                broken
                    .push(format!("taken over after {took:?}, allowed are {:?}", limits.takeover));
            }
            _ => {}
        }
        if let Some((silence, limit)) = self.silence.zip(limits.silence)
            && silence > limit
        {
            broken.push(format!("a lease was silent for {silence:?}, allowed are {limit:?}"));
        }
        if self.changes > limits.changes {
            broken.push(format!(
                "{} leases changed hands, allowed are {}",
                self.changes, limits.changes
            ));
        }
        self.broken = broken;
        self
    }
}

/// The table, with the notes of each step below its row.
pub(crate) fn table(rows: &[Row], deliveries: &Deliveries) -> String {
    let mut text = format!(
        "{:42} {:>9} {:>9} {:>8} {:>5} {:>5} {:>8}  {}\n",
        "step", "takeover", "settled", "silence", "moves", "twice", "waited", "workers after it"
    );
    for row in rows {
        let (twice, waited) = deliveries.between(row.from_ms, row.until_ms);
        text += &format!(
            "{:42} {:>9} {:>9} {:>8} {:>5} {:>5} {:>8}  {}\n",
            row.name,
            reached(row.takeover),
            reached(row.settled),
            row.silence.map(seconds).unwrap_or_default(),
            row.changes,
            twice,
            seconds(waited),
            row.workers.join(" ")
        );
        for note in &row.notes {
            text += &format!("    {note}\n");
        }
        for broken in &row.broken {
            text += &format!("    BROKEN: {broken}\n");
        }
    }
    text
}

fn reached(time: Option<Option<Duration>>) -> String {
    match time {
        None => String::new(),
        Some(None) => "never".to_owned(),
        Some(Some(time)) => seconds(time),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[test]
fn what_is_over_its_limit_is_broken() {
    let second = Duration::from_secs(1);
    let limits = Limits {
        patience: second,
        balance: true,
        takeover: second,
        silence: Some(second),
        changes: 1,
    };
    let row = || Row {
        name: "",
        workers: Vec::new(),
        from_ms: 0,
        until_ms: 0,
        takeover: Some(Some(second)),
        settled: Some(Some(second)),
        silence: Some(second),
        changes: 1,
        notes: Vec::new(),
        broken: Vec::new(),
    };
    let kept = row().judged(&limits);
    assert!(kept.broken.is_empty(), "{kept:?}");
    let broken: [fn(&mut Row); 5] = [
        |row| row.takeover = Some(None),
        |row| row.takeover = Some(Some(Duration::from_secs(2))),
        |row| row.settled = Some(None),
        |row| row.silence = Some(Duration::from_secs(2)),
        |row| row.changes = 2,
    ];
    for change in broken {
        let mut row = row();
        change(&mut row);
        let row = row.judged(&limits);
        assert_eq!(row.broken.len(), 1, "{row:?}");
    }
}
