//! The application and its stream, as a seed has them.

use std::time::Duration;

/// The application and its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The lease duration.
    pub lease: Duration,
    /// How many workers there are at first.
    pub workers: u32,
    /// How many shards there are at first.
    pub shards: u32,
    /// The most records of one reply.
    pub page: u32,
    /// Where the application begins.
    pub start: Start,
    /// When progress becomes durable.
    pub checkpoint: Checkpoints,
    /// After how many failures a shard is halted; `None` for never.
    pub attempts: Option<u32>,
    /// Some records carry hundreds of kilobytes, and workers have the smallest memory budget.
    pub large: bool,
    /// Some workers may hold one lease only.
    pub limited: bool,
    /// Processors ask for checkpoints of what they have not done.
    pub rash: bool,
    /// The application is one of several streams, though there is only one.
    pub several: bool,
    /// How workers read.
    pub reading: Reading,
}

/// Where the application begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record.
    TrimHorizon,
    /// With what is put after a worker said that it is ready.
    Latest,
    /// With what is put from so long after the beginning on.
    After(Duration),
}

/// When progress becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoints {
    /// By the library, each worker with a policy of its own.
    Automatic,
    /// By the processor: it checkpoints at records, prepares and commits, and lets many batches pass.
    Manual,
}

/// How workers read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Reading {
    /// By polling.
    #[default]
    Polling,
    /// By enhanced fan-out, as one consumer.
    FanOut,
    /// By polling and fan-out, as each shard needs it.
    Auto,
    /// Each worker in one of these ways.
    Mixed,
}

impl Settings {
    /// The memory budget of each worker, in bytes; tight where records are large: a call, and what one stuck shard holds.
    #[must_use]
    pub fn budget(&self) -> usize {
        (if self.large { 30 } else { 256 }) * 1024 * 1024
    }

    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        let start = match rng.u32(0..10) {
            0..6 => Start::TrimHorizon,
            6..9 => Start::Latest,
            _ => Start::After(Duration::from_millis(rng.u64(0..20_000))),
        };
        Self {
            lease: Duration::from_secs([3, 10, 10, 20][rng.usize(0..4)]),
            workers: rng.u32(1..=4),
            shards: rng.u32(1..=4),
            page: [10, 50, 200, 1_000, 10_000][rng.usize(0..5)],
            start,
            checkpoint: match rng.u32(0..6) {
                0 => Checkpoints::Manual,
                _ => Checkpoints::Automatic,
            },
            attempts: (rng.u32(0..6) == 0).then(|| rng.u32(2..6)),
            large: rng.u32(0..24) == 0,
            limited: rng.u32(0..16) == 0,
            rash: false,
            several: false,
            reading: Reading::Polling,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            workers: 1,
            shards: 1,
            page: 1_000,
            start: Start::TrimHorizon,
            checkpoint: Checkpoints::Automatic,
            attempts: None,
            large: false,
            limited: false,
            rash: false,
            several: false,
            reading: Reading::Polling,
        }
    }
}
