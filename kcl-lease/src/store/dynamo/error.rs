//! The SDK's errors, sorted by the caller's next move.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::store::{StoreError, StoreErrorKind};

pub(in crate::store) fn store_error<E>(
    operation: &'static str,
    error: SdkError<E, HttpResponse>,
) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    StoreError::new(operation, kind(&error), error)
}

fn kind<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> StoreErrorKind {
    match error {
        SdkError::ConstructionFailure(_) => StoreErrorKind::Invalid,
        SdkError::ServiceError(answer) => {
            kind_of_answer(answer.err().code(), answer.raw().status().as_u16())
        }
        // No answer, or a success that cannot be read: a write may well have been applied.
        _ => StoreErrorKind::Unavailable,
    }
}

/// By the error's name where DynamoDB gave one; an answer without a name comes from something in between.
fn kind_of_answer(code: Option<&str>, status: u16) -> StoreErrorKind {
    match code {
        Some(
            "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded"
            | "LimitExceededException"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "TooManyRequestsException"
            // The item is held for a moment: by a transaction, such as Java KCL 3.5's table migration, or another region.
            | "TransactionConflictException"
            | "ReplicatedWriteConflictException",
        ) => StoreErrorKind::Throttled,
        Some("ResourceNotFoundException" | "TableNotFoundException") => {
            StoreErrorKind::TableMissing
        }
        Some(
            "AccessDenied"
            | "AccessDeniedException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignatureException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "OptInRequired"
            | "RequestExpired"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException",
        ) => StoreErrorKind::AccessDenied,
        Some(_) if status < 500 => StoreErrorKind::Invalid,
        Some(_) | None => StoreErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_name_then_status() {
        let table = [
            (Some("ThrottlingException"), 400, StoreErrorKind::Throttled),
            (Some("RequestLimitExceeded"), 503, StoreErrorKind::Throttled),
            (Some("ResourceNotFoundException"), 400, StoreErrorKind::TableMissing),
            (Some("ExpiredTokenException"), 400, StoreErrorKind::AccessDenied),
            (Some("ValidationException"), 400, StoreErrorKind::Invalid),
            (Some("ReplicatedWriteConflictException"), 400, StoreErrorKind::Throttled),
            (Some("InternalServerError"), 500, StoreErrorKind::Unavailable),
            (Some("ServiceUnavailable"), 503, StoreErrorKind::Unavailable),
            (None, 400, StoreErrorKind::Unavailable),
            (None, 502, StoreErrorKind::Unavailable),
        ];
        for (code, status, expected) in table {
            assert_eq!(kind_of_answer(code, status), expected, "{code:?} {status}");
        }
    }
}
