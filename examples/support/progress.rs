//! How far `produce` is: a bar on a terminal, else a line now and then.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::ordered_puts::Sent;

const LINE_EVERY: Duration = Duration::from_secs(5);

/// Figures, on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
    begin: Instant,
    next_line: Instant,
    total: Sent,
}

impl Progress {
    /// `count` is the number of records to come, where it is known.
    pub(crate) fn new(count: Option<u64>) -> Self {
        let (bar, template) = match count {
            Some(count) => (
                ProgressBar::new(count),
                "{wide_bar} {human_pos}/{human_len} records  {rate}  {eta} left {msg}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {human_pos} records  {rate}  {elapsed} {msg}",
            ),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, out: &mut dyn Write| {
                let _never_fails = write!(out, "{:.0}/s", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate));
        }
        let begin = Instant::now();
        Self { bar, begin, next_line: begin + LINE_EVERY, total: Sent::default() }
    }

    pub(crate) fn add(&mut self, sent: Sent) {
        self.total.records += sent.records;
        self.total.bytes += sent.bytes;
        self.total.refused += sent.refused;
        self.bar.inc(sent.records);
        if self.total.refused > 0 {
            self.bar.set_message(format!("({} put again)", self.total.refused));
        }
        if !io::stderr().is_terminal() && Instant::now() >= self.next_line {
            self.next_line += LINE_EVERY;
            eprintln!("{}", self.account());
        }
    }

    /// A line beside the figures.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("produce: {line}"));
    }

    /// All of it in one line.
    pub(crate) fn account(&self) -> String {
        let seconds = self.begin.elapsed().as_secs_f64();
        let Sent { records, bytes, refused } = self.total;
        let per_second = records as f64 / seconds.max(0.001);
        let again = match refused {
            0 => String::new(),
            refused => format!("; {refused} refused by Kinesis and put again"),
        };
        format!(
            "{records} records, {bytes} bytes, in {seconds:.1} s: {per_second:.0} records/s{again}"
        )
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
