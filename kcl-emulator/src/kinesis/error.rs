//! Errors as AWS names them.

/// What the service answers when it refuses a request. A refused request changes nothing.
///
/// The text is AWS's own wording where it is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Error {
    code: Code,
    message: String,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// Which error it is.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The names of AWS's errors that this service uses. All are HTTP 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// A shard iterator older than 5 minutes.
    ExpiredIterator,
    /// A `ListShards` token older than 300 seconds.
    ExpiredNextToken,
    /// A well-formed request with a value that makes no sense.
    InvalidArgument,
    /// A quota of the account, or too many streams or shards.
    LimitExceeded,
    /// A shard's rate limit.
    ProvisionedThroughputExceeded,
    /// The stream exists already, or is not in the state that the operation needs.
    ResourceInUse,
    /// No such stream or shard.
    ResourceNotFound,
    /// A body that is not JSON, or a member of the wrong type.
    Serialization,
    /// An operation that this service does not have.
    UnknownOperation,
    /// A member that is missing or outside its bounds.
    Validation,
}

impl Code {
    /// AWS's name, as in `__type` and `ErrorCode`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ExpiredIterator => "ExpiredIteratorException",
            Self::ExpiredNextToken => "ExpiredNextTokenException",
            Self::InvalidArgument => "InvalidArgumentException",
            Self::LimitExceeded => "LimitExceededException",
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::Serialization => "SerializationException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::Validation => "ValidationException",
        }
    }
}
