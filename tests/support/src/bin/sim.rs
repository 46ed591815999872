//! Runs seeds of the simulation: one with its whole history, or a range of them with those that fail.
#![expect(clippy::print_stdout, reason = "a program for people prints what happens")]
#![expect(clippy::disallowed_methods, reason = "the machine's time, for the seeds per second")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use kcl_testkit::sim::{self, Run};

/// Replays the simulation.
#[derive(Debug, Parser)]
struct Args {
    /// Runs this seed.
    #[arg(long, required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Prints the whole history of the seed, not only the end of one that fails.
    #[arg(long)]
    trace: bool,
    /// Runs the seeds from the first to before the second: `0..1000`.
    #[arg(long, value_parser = range)]
    seeds: Option<(u64, u64)>,
    /// Stops at the first seed that fails, and says each seed before it runs: for programs. The last line is
    /// `failed seed=17 after=18 by=S1,S6` or `held seeds=1000`.
    #[arg(long, conflicts_with = "trace")]
    until_failure: bool,
    /// How many events of a failing seed to print.
    #[arg(long, default_value_t = 60)]
    tail: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (from, to) = match (args.seed, args.seeds) {
        (Some(seed), _) => (seed, seed + 1),
        (None, Some(seeds)) => seeds,
        (None, None) => return ExitCode::FAILURE,
    };
    if args.until_failure {
        return until_failure(from, to);
    }
    let begun = Instant::now();
    let mut total = Total::default();
    for seed in from..to {
        let run = sim::run(seed);
        total.add(&run);
        if args.trace {
            print!("{}", run.history.render(None));
        }
        if !run.violations.is_empty() {
            println!("seed {seed} FAILS");
            for violation in &run.violations {
                println!("  {violation}");
            }
            if !args.trace && args.tail > 0 {
                print!("{}", run.history.render(Some(args.tail)));
            }
        }
    }
    total.print(begun.elapsed());
    if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lines are flushed as they come (stdout is line-buffered), so the seed is known also when a seed hangs or ends the process.
fn until_failure(from: u64, to: u64) -> ExitCode {
    for seed in from..to {
        println!("seed {seed}");
        let run = sim::run(seed);
        if run.violations.is_empty() {
            continue;
        }
        for violation in &run.violations {
            println!("  {violation}");
        }
        let by: BTreeSet<_> = run.violations.iter().map(|violation| violation.invariant).collect();
        let by = by.into_iter().collect::<Vec<_>>().join(",");
        println!("failed seed={seed} after={} by={by}", seed - from + 1);
        return ExitCode::FAILURE;
    }
    println!("held seeds={}", to - from);
    ExitCode::SUCCESS
}

#[derive(Debug, Default)]
struct Total {
    seeds: u64,
    failed: Vec<u64>,
    virtual_time: Duration,
    faults: usize,
    healed: Vec<Duration>,
}

impl Total {
    fn add(&mut self, run: &Run) {
        self.seeds += 1;
        self.virtual_time += run.virtual_time();
        self.faults += run.faults();
        self.healed.extend(run.healed_after);
        if !run.violations.is_empty() {
            self.failed.push(run.seed);
        }
    }

    fn print(&mut self, took: Duration) {
        self.healed.sort_unstable();
        let healed = |percent: usize| {
            let at = (self.healed.len() * percent / 100).min(self.healed.len().saturating_sub(1));
            self.healed.get(at).map_or(0.0, Duration::as_secs_f64)
        };
        println!(
            "{} seeds, {} failed {:?}; {:.1} h of virtual time in {:.1} s ({:.0} x), {:.1} seeds/s, {} faults; \
             healed after p50 {:.1} s, p99 {:.1} s, p100 {:.1} s",
            self.seeds,
            self.failed.len(),
            self.failed,
            self.virtual_time.as_secs_f64() / 3600.0,
            took.as_secs_f64(),
            self.virtual_time.as_secs_f64() / took.as_secs_f64(),
            self.seeds as f64 / took.as_secs_f64(),
            self.faults,
            healed(50),
            healed(99),
            healed(100),
        );
    }
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || "expected FROM..TO".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    Ok((from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?))
}
