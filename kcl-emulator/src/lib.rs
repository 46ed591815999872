//! Kinesis and DynamoDB in one process.

mod kinesis;
mod limits;

pub use kinesis::{Kinesis, Reply};
pub use limits::Limits;
