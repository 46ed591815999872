//! What went wrong with a request to the store, sorted by the caller's next move.

use std::fmt;

/// A failed request to the store. `Debug` shows the messages of its causes, never a reply's body.
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

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S18: an error of the SDK keeps the raw reply, and shows it by `Debug`.
    #[test]
    fn debug_shows_messages_and_no_body() {
        #[derive(Debug, thiserror::Error)]
        #[error("service error")]
        struct Reply(#[allow(dead_code, reason = "read by its Debug")] &'static str);

        let error = StoreError::new("UpdateItem", StoreErrorKind::Unavailable, Reply("canary"));
        assert_eq!(format!("{error:?}"), "UpdateItem failed: kind=Unavailable: service error");
    }
}
