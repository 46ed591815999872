//! Plants bugs in a copy of the library, one after the other, and says which invariant of the simulation kills each.
#![expect(clippy::print_stdout, reason = "a program for people prints what happens")]
#![expect(clippy::print_stderr, reason = "errors and progress go to stderr")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io, thread};

use clap::Parser;
use kcl_testkit::mutants::{self, Mutant};

mod hunt;
mod report;
mod tree;

use hunt::Fate;
use report::Report;

/// Kills mutants by the seeds of the simulation.
#[derive(Debug, Parser)]
struct Args {
    /// Only this mutant; may be given again.
    #[arg(long)]
    only: Vec<String>,
    /// Prints the catalogue, and runs nothing.
    #[arg(long)]
    list: bool,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// A mutant that lives after so many seeds has survived.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// How many simulations run at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// Writes the result to this file, as Markdown.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Catalogue(#[from] mutants::Error),
    #[error("no mutant has the name {0}")]
    Unknown(String),
    #[error("cannot write the copy {}", tree.display())]
    Copy { tree: PathBuf, source: io::Error },
    #[error("the copy {} does not compile", tree.display())]
    Build { tree: PathBuf },
    #[error("cannot run the simulation")]
    Run(#[source] io::Error),
    #[error("cannot write the report")]
    Report(#[source] io::Error),
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let source = std::error::Error::source(&error);
            eprintln!("{error}{}", source.map(|source| format!(": {source}")).unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool, Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().map_err(Error::Run)?;
    let all = mutants::load(&root.join("tests/support/mutants"))?;
    let wanted = choose(&all, &args.only)?;
    if args.list {
        for mutant in wanted {
            println!("{:12} {:45} {}", mutant.area, mutant.name, mutant.what);
        }
        return Ok(true);
    }
    eprintln!("building the copy with {} mutants", all.len());
    let sim = tree::build(&root, &all)?;
    // Without a mutant first: if that fails, nothing counts.
    let prey: Vec<_> = std::iter::once(None).chain(wanted.iter().copied().map(Some)).collect();
    let mut fates = hunt_all(&sim, &prey, args).map_err(Error::Run)?;
    let report = Report {
        from: args.from,
        seeds: args.seeds,
        unchanged: fates.remove(0),
        mutants: wanted.into_iter().zip(fates).collect(),
    };
    if let Some(path) = &args.report {
        fs::write(path, report.page()).map_err(Error::Report)?;
    }
    println!("{}", report.summary());
    Ok(report.is_good())
}

fn choose<'a>(all: &'a [Mutant], names: &[String]) -> Result<Vec<&'a Mutant>, Error> {
    let unknown = |name: &&String| !all.iter().any(|mutant| mutant.name == **name);
    if let Some(name) = names.iter().find(unknown) {
        return Err(Error::Unknown(name.clone()));
    }
    let wanted = |mutant: &&Mutant| names.is_empty() || names.contains(&mutant.name);
    Ok(all.iter().filter(wanted).collect())
}

/// The fates in the order of `prey`, of which `None` is the library without a mutant.
fn hunt_all(sim: &Path, prey: &[Option<&Mutant>], args: &Args) -> io::Result<Vec<Fate>> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fates = Mutex::new(vec![None; prey.len()]);
    let work = || -> io::Result<()> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(mutant) = prey.get(at) else { return Ok(()) };
            let name = mutant.map(|mutant| mutant.name.as_str());
            let fate = hunt::hunt(sim, name, args.from, args.seeds)?;
            let nth = done.fetch_add(1, Ordering::Relaxed) + 1;
            let outcome = match &fate {
                Fate::Killed { by, seeds, .. } => format!("{by} after {seeds}"),
                Fate::Survived => format!("survives {}", args.seeds),
            };
            println!("{nth:4}/{} {:48} {outcome}", prey.len(), name.unwrap_or("(no mutant)"));
            if let Ok(mut fates) = fates.lock() {
                fates[at] = Some(fate);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..args.jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))?;
        }
        Ok::<_, io::Error>(())
    })?;
    let fates = fates.into_inner().unwrap_or_default();
    fates.into_iter().map(|fate| fate.ok_or_else(|| io::Error::other("no outcome"))).collect()
}
