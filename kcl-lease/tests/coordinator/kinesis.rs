//! The stream, as ListShards shows it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kcl_core::kinesis::{
    ApiError, ApiErrorKind, KinesisApi, RecordsPage, ShardFilter, ShardIterator,
};
use kcl_core::{ChildShard, HashRange, Shard, ShardId, StartingPosition, Stream, StreamAddress};

use crate::world::{id, stream};

/// The shards of a stream, as ListShards shows them. All streams have the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kinesis {
    shards: Arc<Mutex<Vec<Shard>>>,
    bad_listings: Arc<Mutex<VecDeque<Listing>>>,
    listings: Arc<AtomicUsize>,
}

/// What is wrong with a listing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listing {
    Fails(ApiErrorKind),
    /// The newest shard does not show yet.
    Lacks,
}

impl Kinesis {
    pub(crate) fn with_shards(count: u32) -> Self {
        let part = u128::MAX / u128::from(count);
        let shard = |n: u32| {
            let start = part * u128::from(n);
            let end = if n + 1 == count { u128::MAX } else { start + part - 1 };
            shard(n, &[], HashRange::new(start, end).unwrap())
        };
        Self { shards: Arc::new(Mutex::new((0..count).map(shard).collect())), ..Self::default() }
    }

    /// The next listings are bad, one after the other.
    pub(crate) fn next_listings(&self, bad: impl IntoIterator<Item = Listing>) {
        self.bad_listings.lock().unwrap().extend(bad);
    }

    /// All shards that are listed.
    pub(crate) fn shards(&self) -> Vec<Shard> {
        self.shards.lock().unwrap().clone()
    }

    /// The shard is the child of one that is listed no more.
    pub(crate) fn follows_a_trimmed_shard(&self, n: u32) {
        let mut shards = self.shards.lock().unwrap();
        let shard = shards.iter_mut().find(|shard| shard.id == id(n)).unwrap();
        shard.parents.push(format!("shardId-trimmed-{n}").parse().unwrap());
    }

    /// How often the shards were listed.
    pub(crate) fn listings(&self) -> usize {
        self.listings.load(Ordering::SeqCst)
    }

    /// The retention of a closed shard has passed: it is listed no more.
    pub(crate) fn trim(&self, n: u32) {
        self.shards.lock().unwrap().retain(|shard| shard.id != id(n) || shard.is_open());
    }

    /// True when no more listing is bad.
    pub(crate) fn is_well(&self) -> bool {
        self.bad_listings.lock().unwrap().is_empty()
    }

    /// Closes a shard and opens two.
    pub(crate) fn split(&self, parent: u32) -> Vec<ChildShard> {
        let range = self.close(parent);
        let middle = range.start() + (range.end() - range.start()) / 2;
        let lower = HashRange::new(range.start(), middle).unwrap();
        let upper = HashRange::new(middle + 1, range.end()).unwrap();
        vec![self.open(&[parent], lower), self.open(&[parent], upper)]
    }

    /// Closes two neighbours and opens one.
    pub(crate) fn merge(&self, lower: u32, upper: u32) -> Vec<ChildShard> {
        let (lower_range, upper_range) = (self.close(lower), self.close(upper));
        let range = HashRange::new(lower_range.start(), upper_range.end()).unwrap();
        vec![self.open(&[lower, upper], range)]
    }

    fn close(&self, n: u32) -> HashRange {
        let mut shards = self.shards.lock().unwrap();
        let shard = shards.iter_mut().find(|shard| shard.id == id(n)).unwrap();
        assert!(shard.is_open());
        shard.ending_sequence_number = Some("99".parse().unwrap());
        shard.hash_range
    }

    fn open(&self, parents: &[u32], range: HashRange) -> ChildShard {
        let mut shards = self.shards.lock().unwrap();
        let last = shards.iter().map(|shard| shard.id.as_str()).max().unwrap();
        let last: u32 = last.trim_start_matches("shardId-").parse().unwrap();
        let child = shard(last + 1, parents, range);
        shards.push(child.clone());
        child.as_child()
    }

    /// The children that the reply at a shard's end names.
    pub(crate) fn children(&self, parent: &ShardId) -> Vec<ChildShard> {
        let shards = self.shards.lock().unwrap();
        let children = shards.iter().filter(|shard| shard.parents.contains(parent));
        children.map(Shard::as_child).collect()
    }
}

fn shard(n: u32, parents: &[u32], hash_range: HashRange) -> Shard {
    Shard {
        id: id(n),
        parents: parents.iter().map(|n| id(*n)).collect(),
        hash_range,
        starting_sequence_number: "1".parse().unwrap(),
        ending_sequence_number: None,
    }
}

#[async_trait]
impl KinesisApi for Kinesis {
    async fn describe_stream(&self, _: &StreamAddress) -> Result<Stream, ApiError> {
        Ok(stream("orders"))
    }

    async fn list_shards(&self, _: &Stream, filter: ShardFilter) -> Result<Vec<Shard>, ApiError> {
        self.listings.fetch_add(1, Ordering::SeqCst);
        let bad = self.bad_listings.lock().unwrap().pop_front();
        let mut shards = self.shards.lock().unwrap().clone();
        match bad {
            Some(Listing::Fails(kind)) => return Err(ApiError::new("ListShards", kind, "by rule")),
            Some(Listing::Lacks) => drop(shards.pop()),
            None => {}
        }
        let is_listed = |id: &ShardId| shards.iter().any(|shard| shard.id == *id);
        let shown = |shard: &&Shard| match filter {
            ShardFilter::All => true,
            ShardFilter::AtLatest => shard.is_open(),
            ShardFilter::AtTrimHorizon | ShardFilter::AtTimestamp(_) => {
                !shard.parents.iter().any(is_listed)
            }
        };
        Ok(shards.iter().filter(shown).cloned().collect())
    }

    async fn shard_iterator(
        &self,
        _: &Stream,
        _: &ShardId,
        _: &StartingPosition,
    ) -> Result<ShardIterator, ApiError> {
        unreachable!("leases do not read records")
    }

    async fn get_records(
        &self,
        _: &Stream,
        _: &ShardIterator,
        _: u32,
    ) -> Result<RecordsPage, ApiError> {
        unreachable!("leases do not read records")
    }
}
