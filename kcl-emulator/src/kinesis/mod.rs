//! Kinesis Data Streams as a pure state machine: requests and the present time in, replies out.

use std::time::SystemTime;

use bytes::Bytes;

use crate::Limits;

/// An HTTP reply of the service: what a front writes to the wire.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    /// `x-amzn-ErrorType` of an error reply (AWS's error name), else `None`.
    pub error: Option<String>,
    /// The body, in the content type of the request.
    pub body: Bytes,
}

/// The whole state of the service for one account and region.
#[derive(Debug)]
pub struct Kinesis {}

impl Kinesis {
    /// An empty account in `region`. `seed` feeds every choice that AWS makes at random.
    #[must_use]
    pub fn new(_account: &str, _region: &str, _limits: Limits, _seed: u64) -> Self {
        Self {}
    }

    /// Answers one request. `operation` is the part of `X-Amz-Target` after the dot; `body` is JSON 1.1.
    pub fn call(&mut self, _now: SystemTime, _operation: &str, _body: &[u8]) -> Reply {
        Reply { status: 400, error: None, body: Bytes::new() }
    }
}
