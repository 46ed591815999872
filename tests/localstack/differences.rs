//! What LocalStack 2026.3.0 does otherwise than AWS. The tests of `gaps.rs` look at each.
//!
//! A test that meets one prints `EXPECTED DIFFERENCE`, and goes on. Anything else that is not as on AWS fails. When LocalStack
//! has closed a gap, the test prints `GAP CLOSED`: then its line here can go.

use crate::place::{Place, Target};

/// What an endpoint may do otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// SubscribeToShard does not tell where a shard ends.
    NoChildShards,
    /// A consumer may subscribe to a shard twice at once.
    SharedSubscriptions,
    /// The newer of two subscriptions does not end the older.
    NoTakeover,
    /// An event of SubscribeToShard has no limit of 2 MiB or so.
    LargeEvents,
    /// No call is too much.
    NoThrottles,
    /// ListShards ignores the filter `AT_TRIM_HORIZON`.
    TrimHorizonFilter,
    /// What is no shard iterator is an error of the server's.
    IteratorErrors,
    /// PutRecords takes more than 500 records.
    LongPuts,
}

impl Difference {
    /// What is seen on AWS, by its API reference; and on LocalStack.
    fn seen(self) -> (&'static str, &'static str) {
        match self {
            Self::NoChildShards => ("2 child shards, end", "0 child shards, broken connection"),
            Self::SharedSubscriptions => ("ResourceInUseException", "two subscriptions"),
            Self::NoTakeover => ("the older ends", "both go on"),
            Self::LargeEvents => ("some of it, and behind", "4 MB in one event"),
            Self::NoThrottles => ("ProvisionedThroughputExceededException", "no throttle"),
            Self::TrimHorizonFilter => ("2 shards", "4 shards"),
            Self::IteratorErrors => ("InvalidArgumentException", "500"),
            Self::LongPuts => ("refused", "taken"),
        }
    }

    /// Judges what a test has seen.
    pub(crate) fn judge(self, place: &Place, seen: &str) {
        let (on_aws, on_localstack) = self.seen();
        match place.target {
            Target::LocalStack if seen == on_localstack => {
                println!("EXPECTED DIFFERENCE {self:?}: {seen}, and on AWS {on_aws}");
            }
            Target::LocalStack if seen == on_aws => {
                println!("GAP CLOSED {self:?}: {seen}, as on AWS; it need not be listed any more");
            }
            _ => assert_eq!(seen, on_aws, "UNEXPECTED DIFFERENCE {self:?}"),
        }
    }

    /// Whether a test has to reckon with it.
    pub(crate) fn is_met_by(self, place: &Place) -> bool {
        let met = place.target == Target::LocalStack;
        if met {
            println!("EXPECTED DIFFERENCE {self:?}: this test grants more time for it");
        }
        met
    }
}
