//! Sequence numbers in AWS's version 2 layout.

use std::fmt;

/// The position of a record in its shard: a 186-bit number, written as 56 decimal digits.
///
/// ```text
///  bit 184..  148..184           144..148       80..144  72..80  36..72     4..36  0..4
///        2 │ shard created (s) │ shard mod 16 │ index  │ 0     │ time (s) │ shard │ 2
/// ```
///
/// Shards are created in order and a record's index is above that of every earlier record of its shard, so numbers
/// grow along a shard and from a parent to its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SequenceNumber {
    pub(super) created_secs: u64,
    pub(super) index: u64,
    pub(super) secs: u64,
    pub(super) shard: u32,
}

/// The index in the number that ends a closed shard: above every record's.
pub(super) const END_INDEX: u64 = 0x7fff_ffff_ffff_ffff;

const SECS_MASK: u64 = (1 << 36) - 1;
const CHUNK: u64 = 10_000_000_000_000_000_000;

impl SequenceNumber {
    /// The number before the first record of a shard.
    pub(super) fn start(created_secs: u64, shard: u32) -> Self {
        Self { created_secs, index: 0, secs: created_secs, shard }
    }

    /// Reads the decimal form; `None` if it is no number of this layout.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 57 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut limbs = [0_u64; 3];
        for digit in text.bytes() {
            let mut carry = u128::from(digit - b'0');
            for limb in &mut limbs {
                let wide = u128::from(*limb) * 10 + carry;
                (*limb, carry) = low_high(wide);
            }
            if carry != 0 {
                return None;
            }
        }
        let [low, mid, high] = limbs;
        let shard = u32::try_from((low >> 4) & 0xffff_ffff).ok()?;
        let number = Self {
            created_secs: (high >> 20) & SECS_MASK,
            index: (mid >> 16) | ((high & 0xffff) << 48),
            secs: (low >> 36) | ((mid & 0xff) << 28),
            shard,
        };
        (number.limbs() == limbs).then_some(number)
    }

    fn limbs(self) -> [u64; 3] {
        let shard = u64::from(self.shard);
        [
            2 | shard << 4 | self.secs << 36,
            ((self.secs & SECS_MASK) >> 28) | self.index << 16,
            self.index >> 48
                | (shard & 0xf) << 16
                | (self.created_secs & SECS_MASK) << 20
                | 2 << 56,
        ]
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limbs = self.limbs();
        let mut chunk = || {
            let mut rest = 0_u64;
            for limb in limbs.iter_mut().rev() {
                let wide = u128::from(rest) << 64 | u128::from(*limb);
                *limb = low_high(wide / u128::from(CHUNK)).0;
                rest = low_high(wide % u128::from(CHUNK)).0;
            }
            rest
        };
        let (low, mid, high) = (chunk(), chunk(), chunk());
        write!(f, "{high}{mid:019}{low:019}")
    }
}

#[expect(clippy::cast_possible_truncation, reason = "splits a wide number into its halves")]
fn low_high(wide: u128) -> (u64, u128) {
    (wide as u64, wide >> 64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_writes_numbers_of_aws() {
        // Two records of public examples.
        for (text, created_secs, index, secs, shard) in [
            (
                "49590338271490256608559692538361571095921575989136588898",
                1_542_776_258,
                1_734_642_199,
                1_545_084_650,
                6,
            ),
            (
                "49546986683135544286507457936321625675700192471156785154",
                1_421_279_230,
                469,
                1_421_279_386,
                0,
            ),
        ] {
            let number = SequenceNumber { created_secs, index, secs, shard };
            assert_eq!(SequenceNumber::parse(text), Some(number));
            assert_eq!(number.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_number_of_ours() {
        for text in ["", "0", "1", "-1", "4954x", &"9".repeat(56), &"4".repeat(129)] {
            assert_eq!(SequenceNumber::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn survives_its_decimal_form(created_secs in 0..1_u64 << 36, index in 0..=END_INDEX, secs in 0..1_u64 << 36, shard: u32) {
            let number = SequenceNumber { created_secs, index, secs, shard };
            let text = number.to_string();
            prop_assert_eq!(text.len(), 56);
            prop_assert_eq!(SequenceNumber::parse(&text), Some(number));
        }

        #[test]
        fn grows_with_creation_then_index(a in 0..1_u64 << 36, b in 0..1_u64 << 36, i in 0..=END_INDEX, j in 0..=END_INDEX) {
            let text = |created_secs, index| SequenceNumber { created_secs, index, secs: created_secs, shard: 5 }.to_string();
            prop_assert_eq!(text(a, i).cmp(&text(b, j)), (a, i).cmp(&(b, j)));
        }
    }
}
