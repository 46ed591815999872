//! Looks at a stream's shards for many readers at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as Turn;

use super::lineage::{self, Finding};
use crate::kinesis::{ApiError, KinesisApi, ShardFilter};
use crate::{Clock, Shard, ShardId, Stream, StreamId};

/// Looks at what a stream lists, for readers that were told that their shard has ended, or is missing.
///
/// When a whole stream is in doubt (an outage of hours, credentials that are refused) a thousand readers would break the limits
/// of those calls, which belong to the account. So one looks at a time, and whoever asked before it began shares what it found.
#[derive(Debug, Default)]
pub struct Lookups {
    by_stream: Mutex<BTreeMap<StreamId, Arc<Turn<Option<Look>>>>>,
}

/// Between looks at a stream: when they fail, every reader tries again by its own backoff.
const INTERVAL: Duration = Duration::from_millis(250);

/// What the newest look found: all shards; `None` when the stream is another one of the same name.
#[derive(Debug)]
struct Look {
    begun: Instant,
    found: Result<Option<Arc<[Shard]>>, ApiError>,
}

impl Lookups {
    /// What ListShards says about `shard`, as of now or later. A shard of a stream that was deleted and created again is absent.
    ///
    /// # Errors
    /// As DescribeStreamSummary and ListShards fail.
    pub async fn find(
        &self,
        api: &dyn KinesisApi,
        stream: &Stream,
        shard: &ShardId,
        clock: &Clock,
    ) -> Result<Finding, ApiError> {
        let shards = self.shards(api, stream, clock).await?;
        Ok(shards.map_or(Finding::Absent, |shards| lineage::find(shard, &shards)))
    }

    /// All shards of the stream as of now or later; `None` when there is another one under its name.
    async fn shards(
        &self,
        api: &dyn KinesisApi,
        stream: &Stream,
        clock: &Clock,
    ) -> Result<Option<Arc<[Shard]>>, ApiError> {
        let asked = clock.now();
        let turn = {
            let mut by_stream = self.by_stream.lock().unwrap_or_else(PoisonError::into_inner);
            by_stream.entry(stream.id.clone()).or_default().clone()
        };
        let mut newest = turn.lock().await;
        let last = newest.as_ref().map(|look| look.begun);
        if let Some(last) = last.filter(|last| *last < asked) {
            clock.sleep_until(last + INTERVAL).await;
            *newest = None;
        }
        let look = match newest.take() {
            Some(look) => look,
            None => Look { begun: clock.now(), found: look(api, stream).await },
        };
        let look = newest.insert(look);
        match &look.found {
            Ok(shards) => Ok(shards.clone()),
            Err(error) => Err(error.share()),
        }
    }
}

async fn look(api: &dyn KinesisApi, stream: &Stream) -> Result<Option<Arc<[Shard]>>, ApiError> {
    if api.describe_stream(&stream.address).await?.id != stream.id {
        return Ok(None);
    }
    let shards = api.list_shards(stream, ShardFilter::All).await?;
    Ok(Some(shards.into()))
}
