//! Side-by-side measures of the framework. Each prints ratios of one run; absolute figures of a shared machine mean little.
//!
//! Where CPU time or memory is measured, the emulator runs in a process of its own over loopback, and so does each measured client,
//! so that a client's figures are its own.
#![expect(clippy::print_stdout, reason = "a program whose product is a report")]

mod client;
mod economy;
mod fan_out;
#[expect(clippy::disallowed_methods, reason = "it stands outside of the library")]
mod fleet;
#[expect(clippy::disallowed_methods, reason = "it measures by the host's clock")]
mod join;
#[expect(clippy::disallowed_methods, reason = "it measures by the host's clock")]
mod latency;
mod memory;
mod overhead;
mod process;
#[expect(clippy::disallowed_methods, reason = "it measures by the host's clock")]
mod reshard;
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
    /// CPU-seconds per GB through the whole framework beside a bare GetRecords or SubscribeToShard loop
    Overhead(overhead::Arguments),
    /// What the framework adds to the latency of enhanced fan-out
    Latency(latency::Arguments),
    /// Resident memory with many idle shards
    Idle(memory::Idle),
    /// Resident memory with a slow processor under a byte budget
    Slow(memory::Slow),
    /// Requests and capacity units of the lease table for each lease-hour, beside the Java KCL's
    Economy(economy::Arguments),
    /// Time and moves until a fleet with many leases has shared them with one more worker
    Join(join::Arguments),
    /// How long keys stand still when their shard is split or merged
    Reshard(reshard::Arguments),
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
        Measure::Latency(arguments) => runtime()?.block_on(latency::measure(arguments)),
        Measure::Join(arguments) => runtime()?.block_on(join::measure(arguments)),
        Measure::Reshard(arguments) => runtime()?.block_on(reshard::measure(arguments)),
        Measure::Serve(arguments) => runtime()?.block_on(serve::run(arguments)),
        Measure::Client(arguments) => runtime()?.block_on(client::run(arguments)),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
