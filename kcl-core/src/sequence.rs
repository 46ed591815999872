//! Sequence numbers and the positions made of them.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytes_utils::Str;

/// A record's sequence number: a decimal of up to 129 digits, increasing within a shard.
///
/// Compared by length, then by digits, which for canonical decimals is the numeric order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SequenceNumber(Str);

/// Text that is not a canonical decimal of 1 to 129 digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sequence number: expected 1 to 129 digits without leading zeros: length={length}")]
pub struct InvalidSequenceNumber {
    length: usize,
}

impl SequenceNumber {
    /// Takes over a string without copying it.
    ///
    /// # Errors
    /// When it does not match `0|([1-9]\d{0,128})` (Kinesis API reference).
    pub fn new(value: impl Into<Str>) -> Result<Self, InvalidSequenceNumber> {
        let value = value.into();
        let digits = value.as_bytes();
        // Without an early exit the check is a few vector instructions: it runs for every record.
        let decimal = digits.iter().fold(true, |decimal, byte| decimal & byte.is_ascii_digit());
        let canonical = decimal
            && (1..=129).contains(&digits.len())
            && (digits[0] != b'0' || digits.len() == 1);
        if canonical {
            Ok(Self(value))
        } else {
            Err(InvalidSequenceNumber { length: digits.len() })
        }
    }

    /// The decimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let (this, that) = (self.0.as_bytes(), other.0.as_bytes());
        this.len().cmp(&that.len()).then_with(|| this.cmp(that))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SequenceNumber {
    type Err = InvalidSequenceNumber;

    fn from_str(value: &str) -> Result<Self, InvalidSequenceNumber> {
        Self::new(Str::from(value))
    }
}

/// How far a shard was consumed: what a lease's checkpoint holds.
///
/// The order is the Java KCL's (`ExtendedSequenceNumber`): `AT_TIMESTAMP` < `TRIM_HORIZON` < `LATEST` <
/// every sequence number < `SHARD_END`. A checkpoint only ever grows in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// Nothing yet; begin at the time that the application was configured with.
    AtTimestamp,
    /// Nothing yet; begin at the oldest record.
    TrimHorizon,
    /// Nothing yet; begin after the newest record.
    Latest,
    /// Everything up to and including this user record.
    Sequence {
        /// The Kinesis record.
        number: SequenceNumber,
        /// Which user record inside a KPL aggregate, from 0; 0 for a plain record.
        sub: u64,
    },
    /// Everything; the shard is closed.
    ShardEnd,
}

impl Position {
    /// Everything up to and including a user record.
    #[must_use]
    pub fn at(number: SequenceNumber, sub: u64) -> Self {
        Self::Sequence { number, sub }
    }

    /// True once a record was consumed, or the shard's end reached: no longer a starting sentinel.
    #[must_use]
    pub fn has_progressed(&self) -> bool {
        matches!(self, Self::Sequence { .. } | Self::ShardEnd)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtTimestamp => f.write_str("AT_TIMESTAMP"),
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::Latest => f.write_str("LATEST"),
            Self::Sequence { number, sub: 0 } => number.fmt(f),
            Self::Sequence { number, sub } => write!(f, "{number}/{sub}"),
            Self::ShardEnd => f.write_str("SHARD_END"),
        }
    }
}

/// Where a new application begins in a stream. Required, because each choice surprises somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// With the oldest record that the stream still holds.
    TrimHorizon,
    /// With what is put after the application's first start. Sticky: from then on nothing is skipped, also not by
    /// a worker that restarts before it saw a record, and not by a reshard.
    Latest,
    /// With the first record that arrived at or after this time.
    Timestamp(SystemTime),
}

impl StartFrom {
    /// The checkpoint of a lease that nobody has consumed from yet.
    #[must_use]
    pub fn position(self) -> Position {
        match self {
            Self::TrimHorizon => Position::TrimHorizon,
            Self::Latest => Position::Latest,
            Self::Timestamp(_) => Position::AtTimestamp,
        }
    }
}

/// Where a reader of one shard begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartingPosition {
    /// At the oldest record.
    TrimHorizon,
    /// After the newest record.
    Latest,
    /// At the first record that arrived at or after this time.
    AtTimestamp(SystemTime),
    /// At this record, and it is delivered again.
    AtSequenceNumber(SequenceNumber),
    /// After this record.
    AfterSequenceNumber(SequenceNumber),
}

/// How far this host's clock may be ahead of Kinesis's when a reader that began at `LATEST` goes on by time. The price
/// is that it may return records that were put so much before its start.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

impl StartingPosition {
    /// Where a reader begins again that began here at `opened`, by this host's clock, and has returned nothing: at `LATEST` it
    /// would skip what was put since then.
    #[must_use]
    pub fn again(&self, opened: SystemTime) -> Self {
        match self {
            Self::Latest => Self::AtTimestamp(opened.checked_sub(CLOCK_SKEW).unwrap_or(opened)),
            other => other.clone(),
        }
    }

    /// The record at which or after which it begins.
    #[must_use]
    pub fn sequence_number(&self) -> Option<&SequenceNumber> {
        match self {
            Self::AtSequenceNumber(number) | Self::AfterSequenceNumber(number) => Some(number),
            Self::TrimHorizon | Self::Latest | Self::AtTimestamp(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(value: &str) -> SequenceNumber {
        value.parse().unwrap()
    }

    #[test]
    fn only_canonical_decimals() {
        for wrong in ["", "-1", "007", "1e3", "٣", &"9".repeat(130)] {
            assert!(wrong.parse::<SequenceNumber>().is_err(), "{wrong}");
        }
        assert!("9".repeat(129).parse::<SequenceNumber>().is_ok());
        assert!("0".parse::<SequenceNumber>().is_ok());
    }

    #[test]
    fn positions_are_in_the_java_order() {
        let ascending = [
            Position::AtTimestamp,
            Position::TrimHorizon,
            Position::Latest,
            Position::at(number("9"), 0),
            Position::at(number("9"), 1),
            Position::at(number("10"), 0),
            Position::ShardEnd,
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b));
    }

    proptest! {
        #[test]
        fn order_is_numeric(a: u128, b: u128) {
            prop_assert_eq!(number(&a.to_string()).cmp(&number(&b.to_string())), a.cmp(&b));
        }
    }
}
