//! Those who put: plain records, aggregates, records that only look like aggregates, and large ones.

use std::collections::BTreeMap;

use kcl_core::aggregation::Aggregator;
use kcl_core::{Position, SequenceNumber, ShardId};
use kcl_emulator::kinesis::Entry;

use super::history::{Seen, What};
use super::{KEY_CANARY, PAYLOAD_CANARY, World};

/// Keys, and how many records each has.
#[derive(Debug)]
pub(crate) struct Producers {
    rng: fastrand::Rng,
    keys: BTreeMap<u32, u64>,
    /// Some records are large.
    pub(crate) large: bool,
}

/// How many partition keys there are.
const KEYS: u32 = 40;

/// What a large record carries, in bytes.
const LARGE: std::ops::Range<usize> = 100_000..900_000;

/// The bytes that every aggregate begins with (KPL aggregation format).
const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

impl Producers {
    pub(crate) fn new(rng: fastrand::Rng, large: bool) -> Self {
        Self { rng, keys: BTreeMap::new(), large }
    }

    /// Puts one to `most` records.
    pub(crate) fn put(&mut self, world: &World, most: u32) {
        for _ in 0..self.rng.u32(1..=most.max(1)) {
            let key = self.rng.u32(0..KEYS);
            let first = self.keys.get(&key).copied().unwrap_or(0);
            let Some((data, parts)) = self.payload(world, key, first) else {
                continue;
            };
            // A throttled producer tries again some other time.
            if put_one(world, key, first, parts, &data) {
                self.keys.insert(key, first + parts);
            }
        }
    }

    /// The next payload of a key, and how many user records it holds.
    fn payload(&mut self, world: &World, key: u32, first: u64) -> Option<(Vec<u8>, u64)> {
        let plain = |nth: u64| format!("{key}:{nth}:{PAYLOAD_CANARY}").into_bytes();
        match self.rng.u32(0..40) {
            0..7 => {
                let parts = self.rng.u64(2..5);
                let mut aggregator = Aggregator::new(50 * 1024);
                let partition_key = partition_key(key);
                let all = (first..first + parts)
                    .all(|nth| aggregator.push(&partition_key, None, &plain(nth)));
                let aggregate = aggregator.finish().filter(|_| all)?;
                Some((aggregate.data.to_vec(), parts))
            }
            // The digest is not one: a plain record of somebody who likes these four bytes.
            7 => {
                let data = [MAGIC.as_slice(), &plain(first), &[0; 16]].concat();
                world.learn_strange(data.clone(), key, first);
                Some((data, 1))
            }
            8..12 if self.large => {
                let mut data = plain(first);
                data.resize(self.rng.usize(LARGE), b'.');
                Some((data, 1))
            }
            _ => Some((plain(first), 1)),
        }
    }
}

fn put_one(world: &World, key: u32, first: u64, parts: u64, data: &[u8]) -> bool {
    let partition_key = partition_key(key);
    let entry = Entry { data, partition_key: &partition_key, explicit_hash_key: None };
    let name = world.stream.id.name().as_str();
    let put = world.emulator.with_kinesis(|kinesis, now| kinesis.put_records(now, name, &[entry]));
    let Some(put) = put.ok().and_then(|puts| puts.into_iter().next()).and_then(Result::ok) else {
        return false;
    };
    let (Ok(shard), Ok(number)) =
        (ShardId::new(put.shard_id), put.sequence_number.to_string().parse::<SequenceNumber>())
    else {
        return false;
    };
    for sub in 0..parts {
        let position = Position::at(number.clone(), sub);
        world.log.on(&shard, What::Put(Seen { position, key, nth: first + sub }));
    }
    true
}

fn partition_key(key: u32) -> String {
    format!("{KEY_CANARY}-{key}")
}
