//! Which of AWS's limits the emulator enforces.

/// AWS's published limits; each can be switched off alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// 5 GetRecords calls a second and 2 MiB a second for each shard, and the silence after a 10 MiB reply.
    pub reads: bool,
    /// 1,000 records and 1 MiB a second for each shard.
    pub writes: bool,
}

impl Limits {
    /// Everything that AWS enforces.
    #[must_use]
    pub fn aws() -> Self {
        Self { reads: true, writes: true }
    }

    /// No limit on rates. Limits on shapes (500 entries, 1 MiB records) stay.
    #[must_use]
    pub fn none() -> Self {
        Self { reads: false, writes: false }
    }
}
