//! Side-by-side measures of the framework. Each prints ratios of one run; absolute figures of a shared machine mean little.
//!
//! The emulator runs in a process of its own over loopback, and so does each measured client, so that a client's CPU time and
//! memory are its own.
#![expect(clippy::print_stdout, reason = "a program whose product is a report")]

mod client;
mod economy;
mod memory;
mod overhead;
mod process;
mod serve;

use clap::{Parser, Subcommand};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures the framework beside a bare SDK loop.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Debug, Subcommand)]
enum Measure {
    /// CPU-seconds per GB through the whole framework beside a bare GetRecords loop
    Overhead(overhead::Arguments),
    /// Resident memory with many idle shards
    Idle(memory::Idle),
    /// Resident memory with a slow processor under a byte budget
    Slow(memory::Slow),
    /// Requests and capacity units of the lease table for each lease-hour, beside the Java KCL's
    Economy(economy::Arguments),
    /// An emulator with a stream (used by the measures)
    #[command(hide = true)]
    Serve(serve::Arguments),
    /// One measured client (used by the measures)
    #[command(hide = true)]
    Client(client::Arguments),
}

fn main() -> Result<(), Failure> {
    match Arguments::parse().measure {
        Measure::Overhead(arguments) => overhead::measure(&arguments),
        Measure::Idle(arguments) => memory::idle(&arguments),
        Measure::Slow(arguments) => memory::slow(&arguments),
        Measure::Economy(arguments) => economy::measure(&arguments),
        Measure::Serve(arguments) => runtime()?.block_on(serve::run(arguments)),
        Measure::Client(arguments) => runtime()?.block_on(client::run(arguments)),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
