//! Which of AWS's rate limits the emulator enforces.

/// AWS's published rate limits; each can be switched off alone.
///
/// Limits on shapes (500 entries, 1 MiB records, 10 MiB requests, 256-character keys) always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// `GetRecords`: 5 calls and 2 MiB a second for each shard. A reply of 10 MiB costs up to 5 s of silence.
    pub reads: bool,
    /// `PutRecord` and `PutRecords`: 1,000 records and 1 MiB a second for each shard.
    pub writes: bool,
    /// `GetShardIterator`: 5 calls a second for each shard.
    pub iterators: bool,
    /// `RegisterStreamConsumer`, `DeregisterStreamConsumer`, `ListStreamConsumers`: 5 calls a second for each stream,
    /// `DescribeStreamConsumer`: 20.
    pub consumers: bool,
    /// `SubscribeToShard`: one call and 2 MiB a second for each consumer and shard. That a subscription has its shard
    /// for itself for five seconds is no rate, and always holds.
    pub subscriptions: bool,
}

impl Limits {
    /// Everything that AWS enforces.
    #[must_use]
    pub fn aws() -> Self {
        Self { reads: true, writes: true, iterators: true, consumers: true, subscriptions: true }
    }

    /// No limit on rates. Limits on shapes (500 entries, 1 MiB records) stay.
    #[must_use]
    pub fn none() -> Self {
        Self {
            reads: false,
            writes: false,
            iterators: false,
            consumers: false,
            subscriptions: false,
        }
    }
}
