//! Runs seeds of the simulation: one with its whole history, or a range of them with those that fail.
#![expect(clippy::print_stdout, reason = "a program for people prints what happens")]
#![expect(clippy::disallowed_methods, reason = "the machine's time and threads, for speed")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use kcl_testkit::sim::schedule::{Cut, Part, Reading, Schedule};
use kcl_testkit::sim::shrink::{Shrunk, shrink};
use kcl_testkit::sim::{self, Run, Tier};

/// Replays the simulation.
#[derive(Debug, Parser)]
struct Args {
    /// Runs this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints the whole history of the seed, not only the end of one that fails.
    #[arg(long)]
    trace: bool,
    /// Prints the schedule of the seed.
    #[arg(long)]
    schedule: bool,
    /// Of the seed's acts, does only these: `3,17,18`, or `none`.
    #[arg(long, value_parser = acts)]
    acts: Option<BTreeSet<usize>>,
    /// Leaves these parts out: store, kinesis, oddities, staleness, moods, skew, trials.
    #[arg(long, value_delimiter = ',', value_parser = part)]
    without: Vec<Part>,
    /// Runs the seeds from the first to before the second: `0..1000`.
    #[arg(long, value_parser = range)]
    seeds: Option<(u64, u64)>,
    /// Runs so many seeds that were never run before; prints the first.
    #[arg(long)]
    fresh: Option<u64>,
    /// Through the real AWS SDK, instead of at the library's ports.
    #[arg(long)]
    wire: bool,
    /// Lets the workers of every seed read in this way, instead of the one that the seed has drawn.
    #[arg(long)]
    reading: Option<Reading>,
    /// Runs one seed at a time, says each before it runs, and stops at the first that fails: for programs. The last line is
    /// `failed seed=17 after=18 by=S1,S6` or `held seeds=1000`.
    #[arg(long)]
    until_failure: bool,
    /// Prints a digest of each seed's history, and nothing else.
    #[arg(long)]
    digest: bool,
    /// How many seeds to run at once; all cores by default.
    #[arg(long)]
    jobs: Option<usize>,
    /// How many events of a failing seed to print.
    #[arg(long, default_value_t = 60)]
    tail: usize,
    /// How many shorter schedules of a failing seed to try.
    #[arg(long, default_value_t = 300)]
    shrink: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match (args.seed, args.seeds, args.fresh) {
        (Some(seed), None, None) => one(&args, seed),
        (None, Some((from, to)), None) if args.until_failure => until_failure(&args, from, to),
        (None, Some((from, to)), None) => many(&args, from, to),
        (None, None, Some(count)) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let from = now.as_secs() * 1_000_000;
            println!("fresh seeds {from}..{}", from + count);
            many(&args, from, from + count)
        }
        _ => {
            println!("one of --seed, --seeds and --fresh, please");
            ExitCode::FAILURE
        }
    }
}

impl Args {
    fn tier(&self) -> Tier {
        if self.wire { Tier::Wire } else { Tier::Port }
    }

    fn schedule(&self, seed: u64) -> Schedule {
        let schedule = Schedule::draw(seed);
        match self.reading {
            Some(way) => schedule.with(|settings| settings.reading = way),
            None => schedule,
        }
    }

    /// The arguments that replay a seed as it was run, but for its cut.
    fn again(&self, seed: u64) -> String {
        let wire = if self.wire { " --wire" } else { "" };
        let way = self.reading.and_then(|way| way.to_possible_value());
        let way = way.map(|way| format!(" --reading {}", way.get_name())).unwrap_or_default();
        format!("--seed {seed}{wire}{way}")
    }
}

fn one(args: &Args, seed: u64) -> ExitCode {
    let cut = Cut { acts: args.acts.clone(), without: args.without.iter().copied().collect() };
    let schedule = args.schedule(seed).cut(&cut);
    if args.schedule {
        print!("{}", schedule.render());
    }
    let run = sim::play(args.tier(), &schedule);
    if args.digest {
        println!("{seed} {:016x}", digest(&run));
        return ExitCode::SUCCESS;
    }
    if args.trace {
        print!("{}", run.history.render(None));
    }
    report(args, &run);
    let mut total = Total::default();
    total.add(&run);
    total.print(Duration::ZERO);
    if run.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a range on several threads, each seed on one of them.
fn many(args: &Args, from: u64, to: u64) -> ExitCode {
    let begun = Instant::now();
    let jobs =
        args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    let (next, total) = (AtomicU64::new(from), Mutex::new(Total::default()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= to {
                        return;
                    }
                    let run = sim::play(args.tier(), &args.schedule(seed));
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.add(&run);
                    if args.digest {
                        total.digests.insert(seed, digest(&run));
                    } else if !run.violations.is_empty() {
                        report(args, &run);
                    } else if total.seeds % 1_000 == 0 {
                        println!(
                            "{} of {} seeds, {:.0} s",
                            total.seeds,
                            to - from,
                            begun.elapsed().as_secs_f64()
                        );
                    }
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    if args.digest {
        for (seed, digest) in &total.digests {
            println!("{seed} {digest:016x}");
        }
        return ExitCode::SUCCESS;
    }
    total.print(begun.elapsed());
    if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn until_failure(args: &Args, from: u64, to: u64) -> ExitCode {
    for seed in from..to {
        println!("seed {seed}");
        let run = sim::play(args.tier(), &args.schedule(seed));
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

/// What a failing seed did, cut down where that is asked for.
fn report(args: &Args, run: &Run) {
    if run.violations.is_empty() {
        return;
    }
    println!("seed {} FAILS", run.seed);
    for violation in &run.violations {
        println!("  {violation}");
    }
    if args.trace || args.tail == 0 {
        return;
    }
    let whole = args.acts.is_none() && args.without.is_empty();
    let shrink = || shrink(args.tier(), args.schedule(run.seed), args.shrink);
    let shrunk = whole.then(shrink).flatten();
    let Some(Shrunk { cut, run: shortest, tries }) = shrunk else {
        print!("{}", run.history.render(Some(args.tail)));
        return;
    };
    let schedule = args.schedule(run.seed).cut(&cut);
    println!("the shortest of {tries} schedules that fails:");
    print!("{}", schedule.render());
    for violation in &shortest.violations {
        println!("  {violation}");
    }
    print!("{}", shortest.history.around(&shortest.violations, args.tail));
    println!(
        "replay: cargo run -p kcl-testkit --bin sim -- {}{} --trace",
        args.again(run.seed),
        cut.arguments()
    );
}

#[derive(Debug, Default)]
struct Total {
    seeds: u64,
    failed: BTreeMap<u64, Vec<&'static str>>,
    digests: BTreeMap<u64, u64>,
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
            let by = run.violations.iter().map(|violation| violation.invariant).collect();
            self.failed.insert(run.seed, by);
        }
    }

    fn print(&mut self, took: Duration) {
        self.healed.sort_unstable();
        let healed = |percent: usize| {
            let at = (self.healed.len() * percent / 100).min(self.healed.len().saturating_sub(1));
            self.healed.get(at).map_or(0.0, Duration::as_secs_f64)
        };
        let speed = if took.is_zero() {
            String::new()
        } else {
            format!(
                " in {:.1} s ({:.0} x), {:.1} seeds/s",
                took.as_secs_f64(),
                self.virtual_time.as_secs_f64() / took.as_secs_f64(),
                self.seeds as f64 / took.as_secs_f64(),
            )
        };
        println!(
            "{} seeds, {} failed {:?}; {:.1} h of virtual time{speed}, {} faults; \
             healed after p50 {:.1} s, p99 {:.1} s, p100 {:.1} s",
            self.seeds,
            self.failed.len(),
            self.failed,
            self.virtual_time.as_secs_f64() / 3600.0,
            self.faults,
            healed(50),
            healed(99),
            healed(100),
        );
    }
}

/// FNV-1a of the whole history, as text.
fn digest(run: &Run) -> u64 {
    let bytes = run.history.render(None).into_bytes().into_iter();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || "expected FROM..TO".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    Ok((from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?))
}

fn acts(text: &str) -> Result<BTreeSet<usize>, String> {
    if text == "none" {
        return Ok(BTreeSet::new());
    }
    text.split(',').map(|act| act.parse().map_err(|_| format!("no number: {act}"))).collect()
}

fn part(text: &str) -> Result<Part, String> {
    let known = Part::ALL.into_iter().find(|part| part.name() == text);
    known.ok_or_else(|| format!("unknown part: {text}"))
}
