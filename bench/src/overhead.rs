//! CPU-seconds per GB, through the framework and beside it.

use crate::Failure;
use crate::process::{Server, client, median};

/// The two clients read the same stream of the same emulator, in turns.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Records in the stream
    #[arg(long, default_value_t = 1_500_000)]
    records: usize,
    /// Bytes of payload in a record
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Shards of the stream
    #[arg(long, default_value_t = 4)]
    shards: u32,
    /// How often each client reads the stream
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Records that the bare loop asks for at once; the framework asks for about 2 MiB
    #[arg(long, default_value_t = 10_000)]
    bare_limit: i32,
    /// Read by enhanced fan-out, beside a bare SubscribeToShard loop
    #[arg(long)]
    fan_out: bool,
    /// With --fan-out: the bare loop hands its events to another task, and receives the next one meanwhile
    #[arg(long, requires = "fan_out")]
    bare_ahead: bool,
    /// With --fan-out: both wait so many milliseconds for each event; for 0, they yield
    #[arg(long, requires = "fan_out")]
    awaits: Option<u64>,
    /// Fail when the framework costs more than this many percent on top
    #[arg(long)]
    require: Option<f64>,
}

pub(crate) fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments {
        records,
        size,
        shards,
        rounds,
        bare_limit,
        fan_out,
        bare_ahead,
        awaits,
        require,
    } = *arguments;
    let kinds = if fan_out { ["bare-fan-out", "fan-out"] } else { ["bare", "framework"] };
    let stream = [("--shards", shards as usize), ("--records", records), ("--size", size)];
    let stream: Vec<String> =
        stream.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]).collect();
    let server = Server::start(&stream)?;
    let gigabytes = (records * size) as f64 / 1e9;
    println!("{records} records of {size} bytes on {shards} shards, {gigabytes:.2} GB a round");
    let (mut bare, mut framework) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Turns are swapped each round, so that neither always runs on the warmer machine.
        let mut kinds = [(kinds[0], &mut bare), (kinds[1], &mut framework)];
        if round % 2 == 1 {
            kinds.reverse();
        }
        for (kind, figures) in kinds {
            let mut client_arguments = vec![
                kind.to_owned(),
                "--endpoint".to_owned(),
                server.endpoint.clone(),
                "--records".to_owned(),
                records.to_string(),
                "--application".to_owned(),
                format!("round-{round}"),
                "--limit".to_owned(),
                bare_limit.to_string(),
            ];
            client_arguments.extend(bare_ahead.then(|| "--ahead".to_owned()));
            let awaits = awaits.map(|millis| ["--awaits".to_owned(), millis.to_string()]);
            client_arguments.extend(awaits.into_iter().flatten());
            let reply = client(&client_arguments)?;
            let cpu = reply["cpu_seconds"].as_f64().ok_or("no figure")? / gigabytes;
            println!("round {round} {kind:>12}: {cpu:.3} CPU-s/GB");
            figures.push(cpu);
        }
    }
    let ratios = bare.iter().zip(&framework).map(|(bare, framework)| framework / bare).collect();
    let percent = (median(ratios) - 1.0) * 100.0;
    println!(
        "median: bare {:.3}, framework {:.3} CPU-s/GB; framework costs {percent:+.1} % (median of the rounds' ratios)",
        median(bare),
        median(framework),
    );
    match require {
        Some(limit) if percent > limit => Err(format!("more than {limit} % on top").into()),
        _ => Ok(()),
    }
}
