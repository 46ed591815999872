//! `X-Amz-Target`: which service and which operation a request is for.

use std::fmt;

use crate::{Protocol, Reply, front};

/// A service that the emulator answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Kinesis Data Streams, `Kinesis_20131202`.
    Kinesis,
    /// DynamoDB, `DynamoDB_20120810`.
    DynamoDb,
}

impl Service {
    /// Splits `X-Amz-Target` into service and operation; `None` if the service is not one of ours.
    #[must_use]
    pub fn parse_target(target: &str) -> Option<(Self, &str)> {
        let (prefix, operation) = target.split_once('.')?;
        match prefix {
            "Kinesis_20131202" => Some((Self::Kinesis, operation)),
            "DynamoDB_20120810" => Some((Self::DynamoDb, operation)),
            _ => None,
        }
    }

    /// An error as the service writes it: the name in header and body, with its namespace where the service has one.
    #[must_use]
    pub fn error(self, status: u16, name: &str, message: Option<&str>) -> Reply {
        front::error(self, status, name, message)
    }

    /// The content type of the service's replies.
    pub(crate) fn content_type(self, protocol: Protocol) -> &'static str {
        match self {
            Self::Kinesis => protocol.content_type(),
            Self::DynamoDb => "application/x-amz-json-1.0",
        }
    }
}

/// The service's prefix in IAM action names: `kinesis`, `dynamodb`.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kinesis => "kinesis",
            Self::DynamoDb => "dynamodb",
        })
    }
}
