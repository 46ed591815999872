//! What the adapter shares with another one over the same SDK, that of enhanced fan-out.
//!
//! The SDK's types are in these signatures, so they are not for users and change with it.

use std::error::Error;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::types as sdk;

use super::{convert, error};
use crate::kinesis::ApiError;
use crate::{ChildShard, RawRecord};

/// A try is given up after this long, unless the client has a timeout of its own: a black-holed connection would
/// otherwise hold its shard for ever.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);

/// A user's client, twice.
#[derive(Debug, Clone)]
pub struct Clients {
    /// With the user's retries.
    pub control: Client,
    /// Without.
    pub reads: Client,
}

/// Derives the clients; every try of both ends after 30 s.
#[must_use]
pub fn clients(client: &Client) -> Clients {
    let config = client.config();
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(TRY_TIMEOUT).build();
    let timeouts = config.timeout_config().map_or(timeouts.clone(), |own| {
        let mut merged = own.clone();
        merged.take_defaults_from(&timeouts);
        merged
    });
    let control = config.to_builder().timeout_config(timeouts);
    let reads = control.clone().retry_config(RetryConfig::disabled());
    Clients { control: Client::from_conf(control.build()), reads: Client::from_conf(reads.build()) }
}

/// A record, by moving.
///
/// # Errors
/// [`Malformed`](crate::kinesis::ApiErrorKind::Malformed), such as for a sequence number that is none.
pub fn record(operation: &'static str, record: sdk::Record) -> Result<RawRecord, ApiError> {
    convert::record(record).map_err(|broken| error::malformed(operation, broken))
}

/// A child shard.
///
/// # Errors
/// [`Malformed`](crate::kinesis::ApiErrorKind::Malformed).
pub fn child(operation: &'static str, child: sdk::ChildShard) -> Result<ChildShard, ApiError> {
    convert::child(child).map_err(|broken| error::malformed(operation, broken))
}

/// A request that failed.
pub fn failed<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> ApiError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    error::failed(operation, error)
}

/// A stream of events that broke. An exception that is not known counts as a failure of the service: try again.
pub fn broke<E, R>(operation: &'static str, error: &SdkError<E, R>) -> ApiError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    error::failed_with(operation, error, |_| 500)
}
