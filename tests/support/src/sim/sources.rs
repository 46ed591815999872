//! How a process reads: by polling, by fan-out, or by both.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::kinesis::KinesisApi;
use kcl_core::retrieval::{Fetched, OpenShard, Polling, ReadError, RecordSource, ShardReader};
use kcl_fanout::{Auto, FanOut};

use super::World;
use super::api::SimKinesis;
use super::gauges::Gauges;
use super::history::Life;
use super::schedule::Reading;
use super::table::Table;
use super::wire::APPLICATION;

/// What reads the records of a process. Everything but subscriptions goes through the ports at their tier.
pub(super) fn source(
    world: &Arc<World>,
    life: Life,
    gauges: &Arc<Gauges>,
    rng: &mut fastrand::Rng,
) -> Arc<dyn RecordSource> {
    let reading = match world.settings.reading {
        Reading::Mixed => [Reading::Polling, Reading::FanOut, Reading::Auto][rng.usize(0..3)],
        reading => reading,
    };
    let at_wire = matches!(world.table, Table::Wire(_));
    let config = || world.wire.config(world, life, gauges);
    let page = world.settings.page;
    let polling = if at_wire {
        Polling::new(&config())
    } else {
        Polling::over(Arc::new(SimKinesis::new(world.clone(), life, gauges.clone())))
    };
    let polling = polling.max_records(page);
    let api = polling.api();
    let fan_out = || FanOut::new(&config()).consumer(APPLICATION);
    let source: Arc<dyn RecordSource> = match reading {
        Reading::Polling | Reading::Mixed => Arc::new(polling),
        Reading::FanOut => Arc::new(fan_out()),
        Reading::Auto => Arc::new(restless(Auto::new(polling, fan_out()))),
    };
    let api = if at_wire { source.api() } else { api };
    Arc::new(Counted { api, source, gauges: gauges.clone() })
}

/// Changes at the least cause, so that a run sees it change.
fn restless(auto: Auto) -> Auto {
    let auto = auto.lag_limit(Duration::from_secs(1)).patience(Duration::from_secs(2));
    auto.failing_limit(Duration::from_secs(6)).retry_after(Duration::from_secs(10))
}

/// Reads as its source does, and counts what it holds of large payloads. Calls for everything else go through the port at their tier.
#[derive(Debug)]
struct Counted {
    api: Arc<dyn KinesisApi>,
    source: Arc<dyn RecordSource>,
    gauges: Arc<Gauges>,
}

struct CountedReader {
    reader: Box<dyn ShardReader>,
    gauges: Arc<Gauges>,
}

impl RecordSource for Counted {
    fn api(&self) -> Arc<dyn KinesisApi> {
        self.api.clone()
    }

    fn open(&self, shard: OpenShard) -> Box<dyn ShardReader> {
        Box::new(CountedReader { reader: self.source.open(shard), gauges: self.gauges.clone() })
    }
}

#[async_trait]
impl ShardReader for CountedReader {
    async fn next(&mut self) -> Result<Fetched, ReadError> {
        let mut fetched = self.reader.next().await?;
        if let Fetched::Records { records, .. } = &mut fetched {
            for record in records {
                record.data = self.gauges.hold(std::mem::take(&mut record.data));
            }
        }
        Ok(fetched)
    }
}
