//! How fast, and by how many moves, a fleet with many leases shares them with one more worker.

use std::sync::Arc;
use std::time::Duration;

use crate::Failure;
use crate::fleet::{Fleet, Owners, Telling};

/// A worker joins a fleet with many leases, and leaves it again.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Shards of the stream
    #[arg(long, default_value_t = 1000)]
    leases: u16,
    /// Workers before
    #[arg(long, default_value_t = 4)]
    workers: u16,
}

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn measure(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { leases, workers } = arguments;
    let mut fleet = Fleet::new(leases).await?;
    let nothing: crate::fleet::Told = Arc::new(|_, _| {});
    let processor = move |_: &_| Telling(nothing.clone());
    for number in 0..workers {
        fleet.start(&format!("w{number}"), processor.clone())?;
    }
    let first = fleet.balanced(leases.into(), PATIENCE, |_| {}).await?;
    println!("{leases} leases, {workers} workers started together: balanced after {first:.1?}");
    tokio::time::sleep(Duration::from_secs(5)).await;

    let mut moves = Moves::default();
    moves.look(&fleet.owners().await?);
    fleet.start("joining", processor)?;
    let joined = fleet.balanced(leases.into(), PATIENCE, |owners| moves.look(owners)).await?;
    let needed = leases / (workers + 1);
    println!("one more joins: balanced after {joined:.1?}");
    // Whether it goes on moving once it is even.
    for _ in 0..100 {
        moves.look(&fleet.owners().await?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!(
        "  {} leases moved, {needed} had to: {:.3}; {} were seen without an owner",
        moves.moved,
        f64::from(moves.moved) / f64::from(needed),
        moves.ownerless
    );

    let freed = std::time::Instant::now();
    fleet.stop("joining").await?;
    let stopped = freed.elapsed();
    let left = fleet.balanced(leases.into(), PATIENCE, |_| {}).await?;
    println!("it is stopped, which takes {stopped:.1?}: balanced {left:.1?} after it has ended");
    fleet.stop_all().await
}

/// The changes of owner between looks.
#[derive(Default)]
struct Moves {
    before: Owners,
    moved: u32,
    ownerless: u32,
}

impl Moves {
    fn look(&mut self, now: &Owners) {
        for (key, owner) in now {
            let before = self.before.get(key);
            if owner.is_none() {
                self.ownerless += u32::from(before.is_some_and(Option::is_some));
            } else {
                self.moved += u32::from(before.is_some_and(|before| before != owner));
            }
        }
        self.before.clone_from(now);
    }
}
