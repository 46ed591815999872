//! What went wrong with a request, sorted by the caller's next move.

use std::fmt;

/// A failed request. Its message names the operation and AWS's error, never a payload.
#[derive(Debug)]
pub struct ApiError {
    kind: ApiErrorKind,
    operation: &'static str,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What a caller can do about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiErrorKind {
    /// The rate limit of the shard, the stream or the account: try again more slowly.
    Throttled,
    /// The shard iterator is older than five minutes: ask for a new one after the last record.
    ExpiredIterator,
    /// A paging token is too old: begin the listing again.
    ExpiredToken,
    /// AWS refuses the arguments, such as a sequence number of another shard. Trying again does not help.
    InvalidArgument,
    /// The stream or shard does not exist, or no longer: deleted, trimmed, or another account or region.
    NotFound,
    /// Credentials or policy. May heal by itself (expired credentials): keep trying, slowly, and say so.
    AccessDenied,
    /// The stream is being created, deleted or updated: try again.
    ResourceInUse,
    /// A timeout, a broken connection or a 5xx answer: try again.
    Unavailable,
    /// An answer that breaks the protocol, such as a record without a sequence number.
    Malformed,
}

impl ApiErrorKind {
    /// Whether the same request can succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Throttled | Self::AccessDenied | Self::ResourceInUse | Self::Unavailable => true,
            Self::ExpiredIterator
            | Self::ExpiredToken
            | Self::InvalidArgument
            | Self::NotFound
            | Self::Malformed => false,
        }
    }
}

impl ApiError {
    /// An error of `operation`, such as `"GetRecords"`.
    pub fn new(
        operation: &'static str,
        kind: ApiErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, operation, source: Some(source.into()) }
    }

    /// The same error for another who waits for the same answer; of the source its message is left.
    #[must_use]
    pub fn share(&self) -> Self {
        let source = self.source.as_ref().map(|source| source.to_string().into());
        Self { source, ..*self }
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ApiErrorKind {
        self.kind
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: kind={:?}", self.operation, self.kind)
    }
}

impl std::error::Error for ApiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}
