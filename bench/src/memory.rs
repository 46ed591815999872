//! Resident memory: many idle shards, and a processor that cannot keep up.

use crate::Failure;
use crate::process::{Server, client};

/// A worker that holds many shards without a record.
#[derive(Debug, clap::Args)]
pub(crate) struct Idle {
    /// Shards of the stream
    #[arg(long, default_value_t = 1000)]
    shards: u32,
    /// Seconds to idle after the last shard was granted
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// A worker whose processor holds every batch for long, on shards with a backlog.
#[derive(Debug, clap::Args)]
pub(crate) struct Slow {
    /// Shards of the stream
    #[arg(long, default_value_t = 16)]
    shards: u32,
    /// Records of 1 KiB in the stream
    #[arg(long, default_value_t = 400_000)]
    records: usize,
    /// The byte budget in MiB
    #[arg(long, default_value_t = 64)]
    budget: usize,
    /// Seconds to run
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

pub(crate) fn idle(arguments: &Idle) -> Result<(), Failure> {
    let server = start(arguments.shards, 0)?;
    let run = |kind: &str, shards: u32| {
        client(&[
            kind.to_owned(),
            "--endpoint".to_owned(),
            server.endpoint.clone(),
            "--shards".to_owned(),
            shards.to_string(),
            "--seconds".to_owned(),
            arguments.seconds.to_string(),
        ])
    };
    let base = mib(&run("base", 0)?["rss_bytes"])?;
    let idle = run("idle", arguments.shards)?;
    let (rss, cpu) = (mib(&idle["rss_bytes"])?, idle["cpu_percent"].as_f64().ok_or("no figure")?);
    println!(
        "{} idle shards: {rss:.1} MiB resident, {:.1} MiB above the process's base of {base:.1} MiB; {cpu:.1} % of a core",
        arguments.shards,
        rss - base,
    );
    Ok(())
}

pub(crate) fn slow(arguments: &Slow) -> Result<(), Failure> {
    let server = start(arguments.shards, arguments.records)?;
    let common = |kind: &str| {
        vec![
            kind.to_owned(),
            "--endpoint".to_owned(),
            server.endpoint.clone(),
            "--seconds".to_owned(),
            arguments.seconds.to_string(),
            "--budget".to_owned(),
            (arguments.budget * 1024 * 1024).to_string(),
        ]
    };
    let base = mib(&client(&common("base"))?["rss_bytes"])?;
    let slow = client(&common("slow"))?;
    let (peak, held) = (mib(&slow["peak_bytes"])?, mib(&slow["held_bytes"])?);
    println!(
        "slow processor on {} shards under a budget of {} MiB: at most {held:.1} MiB of payload held; {peak:.1} MiB resident at \
         the peak, {:.1} MiB above the process's base of {base:.1} MiB",
        arguments.shards,
        arguments.budget,
        peak - base,
    );
    if held > arguments.budget as f64 {
        return Err("the budget did not hold".into());
    }
    Ok(())
}

fn start(shards: u32, records: usize) -> Result<Server, Failure> {
    let stream = [("--shards", shards as usize), ("--records", records), ("--size", 1024)];
    let stream: Vec<String> =
        stream.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]).collect();
    Server::start(&stream)
}

fn mib(bytes: &serde_json::Value) -> Result<f64, Failure> {
    Ok(bytes.as_u64().ok_or("no figure")? as f64 / (1024.0 * 1024.0))
}
