//! Readers that poll the stream.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use kcl_core::retrieval::{Fetched, Polling, RecordSource, ShardReader};
use kcl_core::{ChildShard, ShardId, StartingPosition};
use kcl_emulator::{Fault, Limits, Rule};

pub(crate) use crate::one_stream::{
    OneStream as Bench, STREAM, create, custom, next, numbers, read, reads_only, shard_id,
};

impl Bench {
    /// A stream of so many shards, under AWS's limits.
    pub(crate) async fn new(shards: i32) -> Self {
        Self::with(shards, Limits::aws()).await
    }

    pub(crate) fn polling(&self) -> Polling {
        Polling::new(&self.emulator.sdk_config())
    }

    pub(crate) fn open(&self, shard: usize, from: StartingPosition) -> Box<dyn ShardReader> {
        self.open_by(&self.polling(), &shard_id(shard), from)
    }

    pub(crate) fn open_by(
        &self,
        polling: &Polling,
        shard: &ShardId,
        from: StartingPosition,
    ) -> Box<dyn ShardReader> {
        polling.open(self.open_shard(shard, from))
    }

    /// Reads a shard and all that follow from it; each payload's number, shard by shard.
    pub(crate) async fn read_lineage(&self, first: &[usize]) -> Vec<usize> {
        let mut numbers = Vec::new();
        let mut shards: Vec<ShardId> = first.iter().copied().map(shard_id).collect();
        let mut at = 0;
        while at < shards.len() {
            let mut reader =
                self.open_by(&self.polling(), &shards[at], StartingPosition::TrimHorizon);
            let (read, children) = read_to_end(&mut reader).await;
            numbers.extend(read);
            for child in children {
                if !shards.contains(&child.id) {
                    shards.push(child.id);
                }
            }
            at += 1;
        }
        numbers.sort_unstable();
        numbers
    }
}

pub(crate) fn fault(operation: &str, fault: Fault) -> Rule {
    Rule::new(fault).operation(operation)
}

/// Also an open shard counts as ended when it is silent for a minute, without children.
pub(crate) async fn read_to_end(
    reader: &mut Box<dyn ShardReader>,
) -> (Vec<usize>, Vec<ChildShard>) {
    let mut read = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(60), reader.next()).await {
            Ok(Ok(Fetched::ShardEnd { children })) => return (read, children),
            Ok(fetched) => read.extend(numbers(fetched.unwrap())),
            Err(_) => return (read, Vec::new()),
        }
    }
}
