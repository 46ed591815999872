//! Strange answers of Kinesis that go on: an iterator that has expired stays so, and false ends come in a row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kcl_core::ShardId;

/// After a false end so many replies may lie again.
const ROW: u32 = 4;

/// What one process was told.
#[derive(Debug, Default)]
pub(crate) struct Lies(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    expired: BTreeSet<String>,
    /// How many more replies may lie about the end.
    ends: BTreeMap<ShardId, u32>,
}

impl Lies {
    /// Whether this iterator has expired: it did before, or does `now`.
    pub(crate) fn expired(&self, iterator: &str, now: impl Fn() -> bool) -> bool {
        self.told().expired.contains(iterator) || {
            let expires = now();
            if expires {
                self.told().expired.insert(iterator.to_owned());
            }
            expires
        }
    }

    /// Whether a reply lies about the end of the shard: because a lie begins `now`, or by the toss of a coin after one.
    pub(crate) fn false_end(
        &self,
        shard: Option<&ShardId>,
        now: impl Fn() -> bool,
        coin: impl Fn() -> bool,
    ) -> bool {
        let Some(shard) = shard else {
            return now();
        };
        let mut told = self.told();
        if let Some(left) = told.ends.get_mut(shard).filter(|left| **left > 0) {
            *left -= 1;
            return coin();
        }
        let lies = now();
        if lies {
            told.ends.insert(shard.clone(), ROW);
        }
        lies
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
