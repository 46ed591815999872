//! The library end to end on whatever answers: its own emulator, LocalStack, or AWS.
//!
//! ```text
//! cargo test --test localstack                                            on our emulator
//! AWS_ENDPOINT_URL=... cargo test --test localstack --features localstack on a LocalStack that runs; `just localstack` starts one
//! KCL_TEST_AWS=i-pay cargo test --test localstack                         on AWS, with your credentials: it costs money
//! ```
//!
//! The tests are the same everywhere. What an endpoint is known to do otherwise than AWS stands in `differences.rs`.
//! [`place`] says what is asked for, makes streams and tables under names of their own, and removes them at the end.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says what it met")]
#![expect(
    clippy::disallowed_methods,
    reason = "the test stands outside of the library: it has a clock and tasks of its own"
)]

mod differences;
mod fleets;
mod gaps;
#[path = "../loopback/mod.rs"]
mod loopback;
mod member;
mod outages;
mod place;
mod reading;
mod reshards;
mod table;
