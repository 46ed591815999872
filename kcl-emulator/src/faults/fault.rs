//! What can go wrong with a request, and how it looks to the caller.

use std::time::Duration;

use crate::front::error_in;
use crate::{Protocol, Reply, Service};

/// One way in which a request fails or is late.
///
/// "Before" leaves the service untouched; "after" means that the request took effect and the caller does not learn it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The request reaches the service this much later. A caller that gives up meanwhile has had no effect.
    Latency(Duration),
    /// The request takes effect at once, its reply comes this much later.
    LateReply(Duration),
    /// `ProvisionedThroughputExceededException`, status 400, no effect.
    Throttle,
    /// A server error of this status, 500 or 503, no effect.
    ErrorBefore(u16),
    /// The request takes effect and the caller reads an error of status 500.
    ErrorAfter,
    /// The connection breaks before the request arrives.
    LostBefore,
    /// The request takes effect, then the connection breaks without a reply.
    LostAfter,
    /// This error instead of an effect, such as `ExpiredTokenException` or `ResourceNotFoundException`.
    Custom {
        /// HTTP status code.
        status: u16,
        /// AWS's error name.
        error: String,
        /// Text for people.
        message: String,
    },
    /// The request takes effect, then the connection breaks after this many bytes of the reply's body, of a stream of
    /// events too.
    CutBody {
        /// Bytes that still reach the caller. A body that is not longer arrives whole, and still ends in an error.
        at: usize,
    },
    /// The connection of a stream of events breaks after some events.
    CutStream {
        /// Events that arrive, besides the initial response.
        events: usize,
    },
    /// A stream of events falls silent: its connection stays open and nothing more comes.
    Silence {
        /// Events that arrive, besides the initial response.
        events: usize,
    },
    /// A stream of events ends with an exception, such as `InternalFailureException` or `ResourceNotFoundException`.
    StreamError {
        /// Events that arrive, besides the initial response.
        events: usize,
        /// AWS's error name.
        error: String,
        /// Text for people.
        message: String,
    },
    /// Whatever a stream of events sends arrives this much later, also once another subscription has its shard.
    LateEvents(Duration),
}

impl Fault {
    /// Whether it befalls streams of events only.
    pub(crate) fn needs_events(&self) -> bool {
        match self {
            Self::CutStream { .. }
            | Self::Silence { .. }
            | Self::StreamError { .. }
            | Self::LateEvents(_) => true,
            Self::Latency(_)
            | Self::LateReply(_)
            | Self::Throttle
            | Self::ErrorBefore(_)
            | Self::ErrorAfter
            | Self::LostBefore
            | Self::LostAfter
            | Self::Custom { .. }
            | Self::CutBody { .. } => false,
        }
    }

    /// The name under which [`Faults::counts`](crate::Faults::counts) counts it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Latency(_) => "latency",
            Self::LateReply(_) => "late_reply",
            Self::Throttle => "throttle",
            Self::ErrorBefore(_) => "error_before",
            Self::ErrorAfter => "error_after",
            Self::LostBefore => "lost_before",
            Self::LostAfter => "lost_after",
            Self::Custom { .. } => "custom",
            Self::CutBody { .. } => "cut_body",
            Self::CutStream { .. } => "cut_stream",
            Self::Silence { .. } => "silence",
            Self::StreamError { .. } => "stream_error",
            Self::LateEvents(_) => "late_events",
        }
    }
}

/// What `service` says when a caller is too fast.
pub(crate) fn throttled(service: Service, protocol: Protocol) -> Reply {
    let message = match service {
        Service::Kinesis => "Rate exceeded",
        Service::DynamoDb => {
            "The level of configured provisioned throughput for the table was exceeded. \
             Consider increasing your provisioning level with the UpdateTable API."
        }
    };
    error_in(protocol, service, 400, "ProvisionedThroughputExceededException", Some(message))
}

/// What `service` says when it fails with `status`.
pub(crate) fn failed(service: Service, protocol: Protocol, status: u16) -> Reply {
    let name = match (status, service) {
        (503, _) => "ServiceUnavailable",
        (_, Service::Kinesis) => "InternalFailure",
        (_, Service::DynamoDb) => "InternalServerError",
    };
    error_in(protocol, service, status, name, None)
}
