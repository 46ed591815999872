//! One shard: its place in the lineage, its records, its rate limits.

use std::collections::VecDeque;

use bytes::BytesMut;
use fastrand::Rng;

use super::bucket::Bucket;
use super::hash_range::HashRange;
use super::record::Record;
use super::sequence::{END_INDEX, SequenceNumber};
use super::time::Time;
use crate::wire::json::Rendered;

const MIB: u64 = 1 << 20;
/// AWS leaves gaps between sequence numbers; nobody may count on their being consecutive.
const GAP: u64 = 16;

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) number: u32,
    pub(super) parents: Parents,
    pub(super) children: Vec<u32>,
    pub(super) range: HashRange,
    /// Milliseconds since the epoch.
    pub(super) opened_at: u64,
    pub(super) closed: Option<Closed>,
    pub(super) rates: Rates,
    /// Subscriptions that wait for this shard's records.
    pub(super) subscribers: Vec<u64>,
    created_secs: u64,
    records: VecDeque<Record>,
    next_index: u64,
    last_arrival: u64,
}

/// What a shard came from: nothing, one shard that was split, or two that were merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parents {
    None,
    Split(u32),
    Merged(u32, u32),
}

impl Parents {
    pub(super) fn iter(self) -> impl Iterator<Item = u32> {
        let (first, second) = match self {
            Self::None => (None, None),
            Self::Split(parent) => (Some(parent), None),
            Self::Merged(parent, adjacent) => (Some(parent), Some(adjacent)),
        };
        first.into_iter().chain(second)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    /// Milliseconds since the epoch.
    pub(super) at: u64,
    pub(super) ending: SequenceNumber,
}

/// What AWS allows one shard per second.
#[derive(Debug)]
pub(super) struct Rates {
    pub(super) read_calls: Bucket,
    pub(super) read_bytes: Bucket,
    pub(super) written_records: Bucket,
    pub(super) written_bytes: Bucket,
    pub(super) iterators: Bucket,
}

impl Shard {
    pub(super) fn open(
        number: u32,
        parents: Parents,
        range: HashRange,
        created_secs: u64,
        now: Time,
    ) -> Self {
        Self {
            number,
            parents,
            children: Vec::new(),
            range,
            opened_at: now.millis(),
            closed: None,
            rates: Rates {
                read_calls: Bucket::full(5),
                read_bytes: Bucket::full(2 * MIB),
                written_records: Bucket::full(1000),
                written_bytes: Bucket::full(MIB),
                iterators: Bucket::full(5),
            },
            subscribers: Vec::new(),
            created_secs,
            records: VecDeque::new(),
            next_index: 1,
            last_arrival: now.millis(),
        }
    }

    pub(super) fn created_secs(&self) -> u64 {
        self.created_secs
    }

    pub(super) fn starting(&self) -> SequenceNumber {
        SequenceNumber::start(self.created_secs, self.number)
    }

    pub(super) fn close(&mut self, now: Time, children: Vec<u32>) {
        self.children = children;
        self.closed = Some(Closed {
            at: now.millis().max(self.last_arrival),
            ending: SequenceNumber {
                index: END_INDEX,
                secs: now.secs().max(self.created_secs),
                ..self.starting()
            },
        });
    }

    /// Adds a record at the tip. Arrival times never go back, even if `now` does.
    pub(super) fn append(
        &mut self,
        now: Time,
        rng: &mut Rng,
        buffer: &mut BytesMut,
        data: &[u8],
        partition_key: &str,
    ) -> SequenceNumber {
        let arrival_millis = now.millis().max(self.last_arrival);
        let index = self.next_index + rng.u64(..GAP);
        let secs = (arrival_millis / 1000).max(self.created_secs);
        let sequence = SequenceNumber { index, secs, ..self.starting() };
        self.next_index = index + 1;
        self.last_arrival = arrival_millis;
        self.records.push_back(Record {
            sequence,
            arrival_millis,
            partition_key: partition_key.into(),
            rendered: Rendered::new(buffer, data, partition_key, arrival_millis, sequence),
        });
        sequence
    }

    /// Drops the records that arrived before `horizon` (milliseconds since the epoch).
    pub(super) fn trim(&mut self, horizon: u64) {
        while self.records.front().is_some_and(|record| record.arrival_millis < horizon) {
            self.records.pop_front();
        }
    }

    /// The index of the next record, whatever it will be: where `LATEST` starts.
    pub(super) fn tip(&self) -> u64 {
        self.next_index
    }

    /// The index of the first record that arrived at `millis` or later, else the tip.
    pub(super) fn index_at(&self, millis: u64) -> u64 {
        let place = self.records.partition_point(|record| record.arrival_millis < millis);
        self.records.get(place).map_or(self.next_index, |record| record.sequence.index)
    }

    /// How many records from `index` on arrived at `millis` or earlier.
    pub(super) fn arrived_by(&self, index: u64, millis: u64) -> usize {
        let end = self.records.partition_point(|record| record.arrival_millis <= millis);
        let start = self.records.partition_point(|record| record.sequence.index < index);
        end.saturating_sub(start)
    }

    /// The records from `index` on: at most `limit`, and at most `bytes` unless the first alone is larger.
    pub(super) fn page(&self, index: u64, limit: usize, bytes: usize) -> Slice<'_> {
        let start = self.records.partition_point(|record| record.sequence.index < index);
        let (mut end, mut size) = (start, 0);
        for record in self.records.range(start..).take(limit) {
            if end > start && size + record.size() > bytes {
                break;
            }
            size += record.size();
            end += 1;
        }
        Slice {
            records: self.records.range(start..end),
            bytes: size,
            next_index: if end > start { self.records[end - 1].sequence.index + 1 } else { index },
            unread: self.records.get(end),
        }
    }
}

/// A run of records of one shard.
#[derive(Debug)]
pub(super) struct Slice<'a> {
    pub(super) records: std::collections::vec_deque::Iter<'a, Record>,
    /// Data and partition keys together.
    pub(super) bytes: usize,
    /// Where to go on.
    pub(super) next_index: u64,
    /// The first record that was left behind.
    pub(super) unread: Option<&'a Record>,
}

/// `shardId-000000000007`.
pub(super) fn id(number: u32) -> String {
    format!("shardId-{number:012}")
}

/// Reads a shard id. Like AWS, takes any prefix and any number of zeros.
pub(super) fn number(id: &str) -> Option<u32> {
    let digits = id.split('-').nth(1).unwrap_or(id);
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?;
    number.filter(|number| *number <= i32::MAX.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(millis: u64) -> Time {
        (UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millis)).into()
    }

    fn shard_with(arrivals: &[u64]) -> Shard {
        let range = HashRange { start: 0, end: u128::MAX };
        let mut shard = Shard::open(0, Parents::None, range, at(0).secs(), at(0));
        for millis in arrivals {
            shard.append(at(*millis), &mut Rng::with_seed(1), &mut BytesMut::new(), &[0; 99], "k");
        }
        shard
    }

    fn arrivals(slice: Slice<'_>) -> Vec<u64> {
        slice.records.map(|record| record.arrival_millis - at(0).millis()).collect()
    }

    #[test]
    fn a_page_stops_at_its_limits_but_never_before_the_first_record() {
        let shard = shard_with(&[0, 1, 2, 3]);
        assert_eq!(arrivals(shard.page(0, 2, 1000)), [0, 1]);
        assert_eq!(arrivals(shard.page(0, 9, 300)), [0, 1, 2]);
        assert_eq!(arrivals(shard.page(0, 9, 299)), [0, 1]);
        assert_eq!(arrivals(shard.page(0, 9, 1)), [0]);
        let next = shard.page(0, 2, 1000).next_index;
        assert_eq!(arrivals(shard.page(next, 9, 1000)), [2, 3]);
        assert!(shard.page(next, 9, 1000).unread.is_none());
    }

    #[test]
    fn finds_the_first_record_at_a_time() {
        let shard = shard_with(&[10, 20, 20, 30]);
        let from = |millis| arrivals(shard.page(shard.index_at(at(millis).millis()), 9, 1000));
        assert_eq!(from(0), [10, 20, 20, 30]);
        assert_eq!(from(20), [20, 20, 30]);
        assert_eq!(from(21), [30]);
        assert!(from(31).is_empty());
    }

    #[test]
    fn arrival_never_goes_back() {
        let shard = shard_with(&[50, 10, 60]);
        assert_eq!(arrivals(shard.page(0, 9, 1000)), [50, 50, 60]);
    }

    #[test]
    fn trims_by_arrival_and_keeps_positions() {
        let mut shard = shard_with(&[0, 10, 20]);
        let second = shard.page(0, 1, 1000).next_index;
        shard.trim(at(20).millis());
        assert_eq!(arrivals(shard.page(second, 9, 1000)), [20]);
        assert_eq!(arrivals(shard.page(0, 9, 1000)), [20]);
    }

    #[test]
    fn ids_read_as_aws_reads_them() {
        assert_eq!(id(7), "shardId-000000000007");
        for good in ["shardId-000000000007", "shardId-7", "shard-7", "7"] {
            assert_eq!(number(good), Some(7), "{good}");
        }
        for bad in ["", "shardId-", "shardId-x", "shardId-2147483648", "shardId-1e3"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
