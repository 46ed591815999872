//! From the SDK's errors to kinds.

use std::error::Error;

use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};

use super::super::{ApiError, ApiErrorKind};
use crate::chain::chain;

/// An answer that breaks the protocol.
pub(super) fn malformed(
    operation: &'static str,
    reason: impl Into<Box<dyn Error + Send + Sync>>,
) -> ApiError {
    ApiError::new(operation, ApiErrorKind::Malformed, reason)
}

/// A request that failed.
///
/// The source is text: the messages of the SDK's error and of its sources. The `Debug` form of an SDK error holds the
/// raw reply and with it payloads, so it must not get into logs.
pub(super) fn failed<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> ApiError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    failed_with(operation, error, |raw| raw.status().as_u16())
}

/// The same for a reply of any kind, whose status, or what stands for it, the caller knows.
pub(super) fn failed_with<E, R>(
    operation: &'static str,
    error: &SdkError<E, R>,
    status: impl Fn(&R) -> u16,
) -> ApiError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let kind = match error {
        SdkError::ServiceError(service) => {
            service_kind(service.err().code(), status(service.raw()))
        }
        // Not sent, no answer, or one that broke off: nothing is known but that it may work later.
        _ => ApiErrorKind::Unavailable,
    };
    ApiError::new(operation, kind, chain(error))
}

/// By AWS's error code, and by the HTTP status for codes that are not listed. An unlisted refusal is not taken for
/// [`ApiErrorKind::InvalidArgument`], because that lets a reader give up its position.
fn service_kind(code: Option<&str>, status: u16) -> ApiErrorKind {
    match code.unwrap_or_default() {
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "KMSThrottlingException"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "SlowDown" => ApiErrorKind::Throttled,
        "ExpiredIteratorException" => ApiErrorKind::ExpiredIterator,
        "ExpiredNextTokenException" => ApiErrorKind::ExpiredToken,
        "InvalidArgumentException" | "ValidationException" => ApiErrorKind::InvalidArgument,
        "ResourceNotFoundException" => ApiErrorKind::NotFound,
        "ResourceInUseException" => ApiErrorKind::ResourceInUse,
        "AccessDeniedException"
        | "AccessDenied"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMSOptInRequired" => ApiErrorKind::AccessDenied,
        "InternalFailure"
        | "InternalFailureException"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "RequestTimeout"
        | "RequestTimeoutException" => ApiErrorKind::Unavailable,
        _ => match status {
            401 | 403 => ApiErrorKind::AccessDenied,
            408 | 500.. => ApiErrorKind::Unavailable,
            429 => ApiErrorKind::Throttled,
            _ => ApiErrorKind::Malformed,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aws_says_is_said_once() {
        use aws_sdk_kinesis::operation::get_records::GetRecordsError;
        use aws_sdk_kinesis::types::error::ExpiredIteratorException;

        let expired = ExpiredIteratorException::builder().message("too old").build();
        let error = GetRecordsError::ExpiredIteratorException(expired);
        let reply = HttpResponse::new(400.try_into().unwrap(), "".into());
        let error = failed("GetRecords", &SdkError::service_error(error, reply));
        let text = chain(&error);
        assert_eq!(text.matches("too old").count(), 1, "{text}");
    }

    #[test]
    fn codes_decide_and_the_status_fills_in() {
        use ApiErrorKind::{AccessDenied, InvalidArgument, Malformed, Throttled, Unavailable};
        let table = [
            (Some("KMSThrottlingException"), 400, Throttled),
            (Some("LimitExceededException"), 400, Throttled),
            (Some("ExpiredTokenException"), 400, AccessDenied),
            (Some("KMSDisabledException"), 400, AccessDenied),
            (Some("ValidationException"), 400, InvalidArgument),
            (Some("InternalFailure"), 500, Unavailable),
            (Some("NewException"), 503, Unavailable),
            (Some("NewException"), 400, Malformed),
            (None, 429, Throttled),
            (None, 403, AccessDenied),
            (None, 502, Unavailable),
            (None, 400, Malformed),
        ];
        for (code, status, kind) in table {
            assert_eq!(service_kind(code, status), kind, "{code:?} {status}");
        }
    }
}
