//! What went wrong with a request to the store, sorted by the caller's next move.

use std::fmt;

/// A failed request to the store.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// What a caller can do about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Throttled before it had an effect: try again more slowly.
    Throttled,
    /// A timeout, a broken connection or a 5xx answer. A write may have been applied: read back, then judge.
    Unavailable,
    /// Credentials or policy; no effect. May heal by itself.
    AccessDenied,
    /// The table is gone; no effect.
    TableMissing,
    /// The store refuses the request, or holds an item under this key that is not a readable lease; no effect.
    Invalid,
}

impl StoreError {
    /// An error of `operation`, such as `"UpdateItem"`.
    pub fn new(
        operation: &'static str,
        kind: StoreErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, operation, source: source.into() }
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same request can succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            StoreErrorKind::Throttled
            | StoreErrorKind::Unavailable
            | StoreErrorKind::AccessDenied => true,
            StoreErrorKind::TableMissing | StoreErrorKind::Invalid => false,
        }
    }

    /// Whether a write that failed like this has certainly not been applied.
    #[must_use]
    pub fn has_no_side_effects(&self) -> bool {
        !matches!(self.kind, StoreErrorKind::Unavailable)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: kind={:?}", self.operation, self.kind)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
