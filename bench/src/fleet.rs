//! A fleet in one process, on the host's clock, with the emulator and the SDK, and what can be seen of it from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use kcl_core::retrieval::Polling;
use kcl_core::{RecordProcessor, ShardId, StartFrom, Worker, WorkerId};
use kcl_emulator::{Emulator, Limits};
use kcl_lease::DynamoLeases;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Failure;

pub(crate) const STREAM: &str = "orders";
const APPLICATION: &str = "orders-app";

pub(crate) struct Fleet {
    pub(crate) emulator: Emulator,
    pub(crate) kinesis: aws_sdk_kinesis::Client,
    dynamo: aws_sdk_dynamodb::Client,
    members: BTreeMap<String, Member>,
}

struct Member {
    stop: CancellationToken,
    task: JoinHandle<Result<(), Failure>>,
}

/// Who owns each lease that has not ended.
pub(crate) type Owners = BTreeMap<String, Option<String>>;

impl Fleet {
    pub(crate) async fn new(shards: u16) -> Result<Self, Failure> {
        let emulator = Emulator::builder().seed(1).limits(Limits::aws()).build();
        let aws = emulator.sdk_config();
        let kinesis = aws_sdk_kinesis::Client::new(&aws);
        let create = kinesis.create_stream().stream_name(STREAM);
        create.shard_count(i32::from(shards)).send().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let dynamo = aws_sdk_dynamodb::Client::new(&aws);
        Ok(Self { emulator, kinesis, dynamo, members: BTreeMap::new() })
    }

    pub(crate) fn start<P: RecordProcessor>(
        &mut self,
        id: &str,
        processor: impl Fn(&ShardId) -> P + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        let aws = self.emulator.sdk_config();
        let worker = Worker::builder(APPLICATION)
            .stream(STREAM, StartFrom::TrimHorizon)
            .leases(DynamoLeases::new(&aws))
            .source(Polling::new(&aws))
            .processor(processor)
            .worker_id(WorkerId::new(id)?)
            .memory_budget(1024 * 1024 * 1024)
            .build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            worker.run(stopped).await?;
            Ok(())
        });
        self.members.insert(id.to_owned(), Member { stop, task });
        Ok(())
    }

    /// Asks one to stop, and waits until it has.
    pub(crate) async fn stop(&mut self, id: &str) -> Result<(), Failure> {
        let member = self.members.remove(id).ok_or("no such worker")?;
        member.stop.cancel();
        member.task.await?
    }

    pub(crate) async fn stop_all(&mut self) -> Result<(), Failure> {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.stop(&id).await?;
        }
        Ok(())
    }

    /// The table as it is.
    pub(crate) async fn owners(&self) -> Result<Owners, Failure> {
        let mut owners = Owners::new();
        let mut pages = self
            .dynamo
            .scan()
            .table_name(APPLICATION)
            .consistent_read(true)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let text = |value: &AttributeValue| value.as_s().ok().cloned();
            for item in page?.items() {
                let ended =
                    item.get("checkpoint").and_then(text).is_some_and(|at| at == "SHARD_END");
                if let Some(key) = item.get("leaseKey").and_then(text).filter(|_| !ended) {
                    owners.insert(key, item.get("leaseOwner").and_then(text));
                }
            }
        }
        Ok(owners)
    }

    /// Looks until each worker owns its share of all leases, and no more; tells every look to `seen`.
    pub(crate) async fn balanced(
        &self,
        leases: usize,
        limit: Duration,
        mut seen: impl FnMut(&Owners),
    ) -> Result<Duration, Failure> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            let owners = self.owners().await.unwrap_or_default();
            seen(&owners);
            let share =
                |id: &String| owners.values().filter(|owner| owner.as_ref() == Some(id)).count();
            let shares: Vec<usize> = self.members.keys().map(share).collect();
            let (least, most) = (shares.iter().min(), shares.iter().max());
            let is_even = least.zip(most).is_some_and(|(least, most)| most - least <= 1);
            if is_even && shares.iter().sum::<usize>() == leases {
                return Ok(begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("the fleet was not balanced in time".into())
    }
}

/// What a processor tells of each batch: its shard, and when each record was put, by its payload, and came.
pub(crate) type Told = Arc<dyn Fn(&ShardId, &kcl_core::Batch) + Send + Sync>;

/// Hands every batch to a closure.
pub(crate) struct Telling(pub(crate) Told);

impl RecordProcessor for Telling {
    type Error = std::convert::Infallible;

    async fn process_records(
        &mut self,
        batch: kcl_core::Batch,
        shard: &mut kcl_core::ShardContext,
    ) -> Result<(), Self::Error> {
        (self.0)(shard.shard_id(), &batch);
        Ok(())
    }
}
