//! The AWS configuration of a program, checked before anything else, so that what is missing is said at once.

use std::error::Error;
use std::fmt::Write;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;

/// Region, profile and credentials as every AWS program finds them: environment, then files, then the host.
///
/// # Errors
/// Without a region or credentials; the message says what to set.
pub(crate) async fn configuration(endpoint: Option<&str>) -> Result<SdkConfig, String> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(endpoint) = endpoint {
        // Who answers at an address of its own, such as an emulator, takes any region.
        let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else("us-east-1");
        loader = loader.endpoint_url(endpoint).region(region);
    }
    let config = loader.load().await;
    if config.region().is_none() {
        return Err(
            "no AWS region: set AWS_REGION, or AWS_PROFILE to a profile with a region".into()
        );
    }
    let provider = config.credentials_provider().ok_or("no AWS credentials provider")?;
    if let Err(error) = provider.provide_credentials().await {
        let mut message = format!("no AWS credentials: {}", chain(&error));
        message.push_str(match endpoint {
            Some(_) => "\nAn emulator takes any: set AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test",
            None => "\nSet AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is attached",
        });
        return Err(message);
    }
    Ok(config)
}

/// Where calls go, for messages.
pub(crate) fn place(config: &SdkConfig) -> String {
    let region = config.region().map_or("none", Region::as_ref);
    match config.endpoint_url() {
        Some(endpoint) => format!("region {region}, endpoint {endpoint}"),
        None => format!("region {region}"),
    }
}

/// An error with all its causes, each once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}
