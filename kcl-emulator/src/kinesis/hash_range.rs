//! The hash space of partition keys: 0 to 2^128 - 1.

use md5::{Digest, Md5};

use super::error::Error;

/// The hashes that a shard takes; both ends are part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashRange {
    /// The lowest hash.
    pub start: u128,
    /// The highest hash.
    pub end: u128,
}

/// The MD5 of a partition key as a number, which is how AWS routes it.
pub(super) fn of_partition_key(key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

/// A hash in the decimal form of the API; `None` unless it matches `0|([1-9]\d{0,38})`.
pub(super) fn well_formed(text: &str) -> bool {
    text == "0"
        || (text.len() <= 39
            && !text.starts_with('0')
            && !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_digit()))
}

/// Reads an `ExplicitHashKey`.
pub(super) fn parse_explicit(text: &str) -> Result<u128, Error> {
    text.parse().map_err(|_| {
        Error::invalid(format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
        ))
    })
}

/// Cuts the whole space into `count` ranges of equal size; the last takes the remainder.
pub(super) fn uniform(count: u32) -> impl Iterator<Item = HashRange> {
    let divisor = u128::from(count);
    // 2^128 itself does not fit; for one range, whose size nobody asks for, it wraps.
    let size = (u128::MAX / divisor).wrapping_add(u128::from(u128::MAX % divisor == divisor - 1));
    (1..=divisor).map(move |nth| HashRange {
        start: if nth == 1 { 0 } else { size * (nth - 1) },
        end: if nth == divisor { u128::MAX } else { size * nth - 1 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_ranges_tile_the_space() {
        for count in [1, 2, 3, 4, 7, 1000] {
            let ranges: Vec<_> = uniform(count).collect();
            assert_eq!(ranges.len(), count as usize);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, u128::MAX));
            assert!(ranges.windows(2).all(|pair| pair[0].end + 1 == pair[1].start), "{count}");
        }
        assert_eq!(uniform(2).next().unwrap().end, (1 << 127) - 1);
    }

    #[test]
    fn routes_by_md5() {
        // md5("a") = 0cc175b9c0f1b6a831c399e269772661
        assert_eq!(of_partition_key("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }

    #[test]
    fn reads_hashes_as_the_api_writes_them() {
        for good in ["0", "1", "340282366920938463463374607431768211455"] {
            assert!(well_formed(good) && parse_explicit(good).is_ok(), "{good}");
        }
        for bad in ["", "00", "-1", "1x", "3402823669209384634633746074317682114550"] {
            assert!(!well_formed(bad), "{bad}");
        }
        assert!(parse_explicit("340282366920938463463374607431768211456").is_err());
    }
}
