//! The hash key range of a shard, and what a set of ranges leaves uncovered.

use std::fmt;

/// An inclusive range of 128-bit hash keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashRange {
    start: u128,
    end: u128,
}

/// A range whose bounds are not decimals of 128 bits, or whose start lies after its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a hash key range: start={start:?} end={end:?}")]
pub struct InvalidHashRange {
    start: String,
    end: String,
}

impl HashRange {
    /// Every hash key.
    pub const WHOLE: Self = Self { start: 0, end: u128::MAX };

    /// From `start` to `end`, both included; `None` when `start > end`.
    #[must_use]
    pub fn new(start: u128, end: u128) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    /// Reads the two decimals that AWS writes.
    ///
    /// # Errors
    /// When a bound is not a decimal of 128 bits, or `start > end`.
    pub fn parse(start: &str, end: &str) -> Result<Self, InvalidHashRange> {
        let bounds = (start.parse().ok(), end.parse().ok());
        if let (Some(from), Some(to)) = bounds
            && let Some(range) = Self::new(from, to)
        {
            return Ok(range);
        }
        let short = |text: &str| text.chars().take(48).collect();
        Err(InvalidHashRange { start: short(start), end: short(end) })
    }

    /// The lowest hash key.
    #[must_use]
    pub fn start(self) -> u128 {
        self.start
    }

    /// The highest hash key.
    #[must_use]
    pub fn end(self) -> u128 {
        self.end
    }

    /// The parts of the hash key space that none of `ranges` covers, in order. Overlaps are fine.
    #[must_use]
    pub fn gaps(ranges: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut ranges: Vec<Self> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut gaps = Vec::new();
        // The lowest key not yet covered; `None` once the last key is.
        let mut next = Some(0);
        for range in ranges {
            let Some(uncovered) = next else { break };
            if range.start > uncovered {
                gaps.push(Self { start: uncovered, end: range.start - 1 });
            }
            next = range.end.checked_add(1).map(|after| after.max(uncovered));
        }
        if let Some(start) = next {
            gaps.push(Self { start, end: u128::MAX });
        }
        gaps
    }
}

impl fmt::Debug for HashRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u128, end: u128) -> HashRange {
        HashRange::new(start, end).unwrap()
    }

    #[test]
    fn gaps_are_what_nothing_covers() {
        let max = u128::MAX;
        let table = [
            (vec![], vec![HashRange::WHOLE]),
            (vec![HashRange::WHOLE], vec![]),
            (vec![range(0, 4), range(5, max)], vec![]),
            (vec![range(0, 9), range(5, max)], vec![]),
            (vec![range(0, 4), range(6, max)], vec![range(5, 5)]),
            (vec![range(3, max - 1)], vec![range(0, 2), range(max, max)]),
            (vec![HashRange::WHOLE, range(3, 4)], vec![]),
        ];
        for (ranges, gaps) in table {
            assert_eq!(HashRange::gaps(ranges.clone()), gaps, "{ranges:?}");
        }
    }

    #[test]
    fn bounds_are_checked() {
        assert!(HashRange::parse("5", "4").is_err());
        assert!(HashRange::parse("0", "340282366920938463463374607431768211456").is_err());
        assert_eq!(HashRange::parse("0", &u128::MAX.to_string()), Ok(HashRange::WHOLE));
    }

    proptest! {
        #[test]
        fn ranges_and_their_gaps_cover_everything(
            bounds in prop::collection::vec((any::<u128>(), any::<u128>()), 0..20)
        ) {
            let mut ranges: Vec<_> = bounds.iter().map(|(a, b)| range(*a.min(b), *a.max(b))).collect();
            let gaps = HashRange::gaps(ranges.clone());
            for gap in &gaps {
                prop_assert!(ranges.iter().all(|r| r.end < gap.start || gap.end < r.start));
            }
            ranges.extend(gaps);
            prop_assert!(HashRange::gaps(ranges).is_empty());
        }
    }
}
