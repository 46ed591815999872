//! KPL aggregates.

/// Why an aggregate cannot be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// An index points outside of a key table.
    #[error("key index out of range")]
    KeyIndex,
}
