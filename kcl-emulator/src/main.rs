//! `kcl-emulator`: Kinesis and DynamoDB on a loopback port, for any SDK.

use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use kcl_emulator::{Emulator, Limits, Reply, ServerOptions};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Kinesis Data Streams and DynamoDB on one port, in memory.
///
/// Point any AWS SDK at it: set the endpoint URL to the address that it prints, any region, any credentials. State lives
/// as long as the process. Signatures are not checked: keep it on a loopback address.
#[derive(Debug, Parser)]
#[command(name = "kcl-emulator", version)]
struct Arguments {
    /// Port to listen on; 0 lets the system choose
    #[arg(long, default_value_t = 4567)]
    port: u16,

    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,

    /// Speak TLS with a certificate made for the occasion, and write it, in PEM, to this file for clients to trust
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,

    /// Requests and subscriptions at once on one HTTP/2 connection
    #[arg(long, default_value_t = 200)]
    max_concurrent_streams: u32,

    /// Do not throttle: no limit on calls, records or bytes a second
    #[arg(long)]
    no_limits: bool,

    /// Seed of everything AWS chooses at random
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Create a provisioned stream at start; may be given more than once
    #[arg(long = "stream", value_name = "NAME:SHARDS")]
    streams: Vec<StreamArgument>,
}

/// A stream to create, `NAME:SHARDS` on the command line.
#[derive(Debug, Clone)]
struct StreamArgument {
    name: String,
    shards: u32,
}

impl FromStr for StreamArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, shards) = text.split_once(':').ok_or("expected NAME:SHARDS")?;
        let shards = shards.parse().map_err(|error| format!("shards: {error}"))?;
        Ok(Self { name: name.to_owned(), shards })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .init();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let limits = if arguments.no_limits { Limits::none() } else { Limits::aws() };
    let emulator = Emulator::builder().seed(arguments.seed).limits(limits).build();
    for stream in &arguments.streams {
        create(&emulator, stream)?;
    }
    if !arguments.host.is_loopback() {
        tracing::warn!(host = %arguments.host, "anyone who reaches this address can read and write everything");
    }
    let mut options =
        ServerOptions::default().max_concurrent_streams(arguments.max_concurrent_streams);
    if arguments.tls.is_some() {
        options = options.tls();
    }
    let address = SocketAddr::new(arguments.host, arguments.port);
    let server = emulator.serve_with(address, options).await?;
    let mut scheme = "http";
    if let (Some(file), Some(certificate)) = (&arguments.tls, server.certificate()) {
        fs::write(file, certificate)?;
        scheme = "https";
    }
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {scheme}://{}", server.local_addr())?;
    stdout.flush()?;

    tokio::select! {
        biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    server.stop().await;
    Ok(())
}

fn create(emulator: &Emulator, stream: &StreamArgument) -> Result<(), String> {
    let request = serde_json::json!({ "StreamName": stream.name, "ShardCount": stream.shards });
    let Reply { status, error, body, .. } = emulator.with_kinesis(|kinesis, now| {
        kinesis.call(now, "CreateStream", request.to_string().as_bytes())
    });
    if status == 200 {
        return Ok(());
    }
    let error = error.unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    Err(format!("stream {} was refused: {error} {body}", stream.name))
}
