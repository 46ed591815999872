//! How long the keys of a shard stand still when it is split or merged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Shard};
use kcl_core::ShardId;

use crate::Failure;
use crate::fleet::{Fleet, STREAM, Telling, Told};

/// Splits and merges under load: records are put at every sixteenth of the hash keys, many times a second.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Shards in the beginning
    #[arg(long, default_value_t = 4)]
    shards: u16,
    /// Workers
    #[arg(long, default_value_t = 3)]
    workers: u16,
    /// Splits, and as many merges
    #[arg(long, default_value_t = 15)]
    reshards: u16,
}

/// Records are put at so many places of the hash keys.
const PLACES: u16 = 16;
const PUT_EVERY: Duration = Duration::from_millis(50);
/// From one reshard to the next.
const PAUSE: Duration = Duration::from_secs(6);

/// What came out of a shard: when the first and the last record did, and when the first was put.
#[derive(Clone, Copy)]
struct Flow {
    first_put: Duration,
    first: Duration,
    last: Duration,
    /// The longest that a record waited.
    slowest: Duration,
}

pub(crate) async fn measure(arguments: Arguments) -> Result<(), Failure> {
    let mut fleet = Fleet::new(arguments.shards).await?;
    let zero = Instant::now();
    let flows: Arc<Mutex<BTreeMap<ShardId, Flow>>> = Arc::default();
    let seen = flows.clone();
    let told: Told = Arc::new(move |shard, batch| {
        let now = zero.elapsed();
        let mut flows = seen.lock().unwrap_or_else(PoisonError::into_inner);
        for record in batch {
            let text = std::str::from_utf8(record.data()).unwrap_or_default();
            let put = Duration::from_micros(text.parse().unwrap_or_default());
            let new = Flow { first_put: put, first: now, last: now, slowest: Duration::ZERO };
            let flow = flows.entry(shard.clone()).or_insert(new);
            flow.last = now;
            flow.slowest = flow.slowest.max(now.saturating_sub(put));
        }
    });
    for number in 0..arguments.workers {
        let told = told.clone();
        fleet.start(&format!("w{number}"), move |_: &_| Telling(told.clone()))?;
    }
    fleet.balanced(arguments.shards.into(), Duration::from_secs(60), |_| {}).await?;

    let producer = tokio::spawn(produce(fleet.kinesis.clone(), zero));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let steady = worst(&flows, |_| true);
    let mut rng = fastrand::Rng::with_seed(1);
    for number in 0..2 * arguments.reshards {
        let open = open_shards(&fleet).await?;
        if number % 2 == 0 {
            split(&fleet, &open[rng.usize(..open.len())]).await?;
        } else {
            merge(&fleet, &open, &mut rng).await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    producer.abort();
    fleet.stop_all().await?;

    let flows = flows.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let shards = fleet.kinesis.list_shards().stream_name(STREAM).send().await?;
    let mut gaps = Vec::new();
    for child in shards.shards().iter().filter(|shard| shard.parent_shard_id().is_some()) {
        let parents = [child.parent_shard_id(), child.adjacent_parent_shard_id()];
        let parents =
            parents.into_iter().flatten().filter_map(|id| flows.get(&ShardId::new(id).ok()?));
        let (start, end) = range(child);
        let is_fed = (0..PLACES).map(hash).any(|hash| (start..=end).contains(&hash));
        let Some(flow) = flows.get(&ShardId::new(child.shard_id())?) else {
            if is_fed {
                return Err(format!("nothing came of {}", child.shard_id()).into());
            }
            continue;
        };
        let before = parents.map(|parent| parent.last).max().unwrap_or_default();
        gaps.push(flow.first.saturating_sub(before.max(flow.first_put)));
    }
    gaps.sort();
    let (count, median, most) = (gaps.len(), gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    println!("{} splits and as many merges under load, {count} child shards:", arguments.reshards);
    println!(
        "  from the parents' last record, or the child's first put, to the child's first: p50 {median:.2?}, p100 {most:.2?}"
    );
    println!(
        "  the longest that any record waited: {:.2?} before, {:.2?} in all",
        steady,
        flows.values().map(|flow| flow.slowest).max().unwrap_or_default()
    );
    Ok(())
}

fn worst(flows: &Mutex<BTreeMap<ShardId, Flow>>, of: impl Fn(&ShardId) -> bool) -> Duration {
    let flows = flows.lock().unwrap_or_else(PoisonError::into_inner);
    let flows = flows.iter().filter(|(shard, _)| of(shard));
    flows.map(|(_, flow)| flow.slowest).max().unwrap_or_default()
}

fn hash(place: u16) -> u128 {
    u128::MAX / u128::from(PLACES) * u128::from(place) + 1
}

/// Puts a record at every place, again and again; its payload is the time, in microseconds.
async fn produce(kinesis: aws_sdk_kinesis::Client, zero: Instant) {
    loop {
        let now = zero.elapsed().as_micros().to_string();
        let entry = |place: u16| {
            let hash = hash(place);
            let entry = PutRecordsRequestEntry::builder().partition_key("k");
            entry.data(Blob::new(now.as_bytes())).explicit_hash_key(hash.to_string()).build().ok()
        };
        let put = kinesis.put_records().stream_name(STREAM);
        // What is refused while a shard closes is put by the next round.
        let _ = put.set_records((0..PLACES).map(entry).collect()).send().await;
        tokio::time::sleep(PUT_EVERY).await;
    }
}

/// In the order of their hash keys.
async fn open_shards(fleet: &Fleet) -> Result<Vec<Shard>, Failure> {
    let listed = fleet.kinesis.list_shards().stream_name(STREAM).send().await?;
    let is_open = |shard: &&Shard| {
        shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
    };
    let mut open: Vec<_> = listed.shards().iter().filter(is_open).cloned().collect();
    open.sort_by_key(|shard| range(shard).0);
    Ok(open)
}

fn range(shard: &Shard) -> (u128, u128) {
    let number = |text: &str| text.parse().unwrap_or_default();
    shard.hash_key_range().map_or((0, 0), |range| {
        (number(range.starting_hash_key()), number(range.ending_hash_key()))
    })
}

async fn split(fleet: &Fleet, shard: &Shard) -> Result<(), Failure> {
    let (start, end) = range(shard);
    let split = fleet.kinesis.split_shard().stream_name(STREAM).shard_to_split(shard.shard_id());
    split.new_starting_hash_key((start + (end - start) / 2 + 1).to_string()).send().await?;
    Ok(())
}

async fn merge(fleet: &Fleet, open: &[Shard], rng: &mut fastrand::Rng) -> Result<(), Failure> {
    let first = rng.usize(..open.len() - 1);
    let merge = fleet.kinesis.merge_shards().stream_name(STREAM);
    let merge = merge.shard_to_merge(open[first].shard_id());
    merge.adjacent_shard_to_merge(open[first + 1].shard_id()).send().await?;
    Ok(())
}
