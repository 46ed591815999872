//! The second tier: workers as users build them, through the real AWS SDK, over a wire on which requests go wrong.
//!
//! ```text
//!  DynamoLeases ──aws-sdk-dynamodb──┐                fate    course
//!                                   ├──HTTP──> Line ─────> ? ──────> emulator: Kinesis, and DynamoDB by dynoxide
//!  Polling ─────── aws-sdk-kinesis──┘                                    │ item before and after
//!                                                              item ─────┴──> history
//! ```
//!
//! The weather is that of the port tier, and so are producers, operators, processes and invariants. What is real here on top
//! of it: requests and replies as bytes, the SDK's errors, retries and time limits, conditions as DynamoDB evaluates
//! them, pages. [`course`] says what a fate looks like on a wire, [`Line`] carries it out, [`kinesis`] and [`table`] answer,
//! and [`item`] reads items and conditions apart from the library, which is under test.
//!
//! SubscribeToShard gets its fate as every request does, and a reply body that goes on, whose [`events`] get theirs. Fan-out has
//! no port below the SDK: at the port tier, too, subscriptions come this way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_types::SdkConfig;
use aws_types::region::Region;
use kcl_emulator::Emulator;
use serde_json::Value;

use super::World;
use super::gauges::Gauges;
use super::history::Life;

mod course;
mod events;
mod item;
mod kinesis;
mod line;
mod litter;
mod table;

use line::Line;
use table::Versions;

/// The application, and so the name of its table.
pub(crate) const APPLICATION: &str = "simulated";

/// What all lines of a run lead to.
#[derive(Debug)]
pub(crate) struct Wire {
    emulator: Emulator,
    /// The leases by their keys, as their writes left them.
    versions: Mutex<BTreeMap<String, Versions>>,
    /// Items that are no leases.
    litter: Mutex<Vec<Value>>,
    /// Chooses between looks of one fate; what becomes of calls is the weather's.
    rng: Mutex<fastrand::Rng>,
    /// The most entries of one page.
    page: usize,
}

impl Wire {
    pub(crate) fn new(emulator: Emulator, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let page = [3, 8, 1_000, 1_000][rng.usize(0..4)];
        let (versions, litter) = (Mutex::default(), Mutex::default());
        Self { emulator, versions, litter, rng: Mutex::new(rng), page }
    }

    /// What a process makes its clients from.
    pub(crate) fn config(
        self: &Arc<Self>,
        world: &Arc<World>,
        life: Life,
        gauges: &Arc<Gauges>,
    ) -> SdkConfig {
        let line = Line::new(self.clone(), world.clone(), life, gauges.clone());
        let config = self.emulator.sdk_config_for(&life.to_string()).into_builder();
        config.http_client(line).region(own_region()).build()
    }

    fn rng(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A region for each process: the SDK keeps its quota of retries for a service and region in a static, where one run would
/// find what another left.
fn own_region() -> Region {
    static PROCESSES: AtomicU64 = AtomicU64::new(0);
    Region::new(format!("sim-{}", PROCESSES.fetch_add(1, Ordering::Relaxed)))
}
