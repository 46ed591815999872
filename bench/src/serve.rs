//! The emulator with a filled stream, in a process of its own.

use std::net::{Ipv4Addr, SocketAddr};

use kcl_emulator::kinesis::Entry;
use kcl_emulator::{Emulator, Limits};

use crate::Failure;

/// The name of the stream.
pub(crate) const STREAM: &str = "bench";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Shards of the stream
    #[arg(long)]
    shards: u32,
    /// Records in the stream
    #[arg(long)]
    records: usize,
    /// Bytes of payload in a record
    #[arg(long)]
    size: usize,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let emulator = Emulator::builder().limits(Limits::none()).build();
    emulator.with_kinesis(|kinesis, now| -> Result<(), Failure> {
        let create = format!(r#"{{"StreamName":"{STREAM}","ShardCount":{}}}"#, arguments.shards);
        let reply = kinesis.call(now, "CreateStream", create.as_bytes());
        if let Some(error) = reply.error {
            return Err(error.into());
        }
        let data = vec![b'x'; arguments.size];
        let keys: Vec<String> = (0..997).map(|n| format!("key-{n}")).collect();
        let entries = (0..arguments.records).map(|n| Entry {
            data: &data,
            partition_key: &keys[n % keys.len()],
            explicit_hash_key: None,
        });
        kinesis.load(now, STREAM, entries).map_err(|error| error.message().to_owned())?;
        Ok(())
    })?;
    let server = emulator.serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    println!("http://{}", server.local_addr());
    std::future::pending().await
}
