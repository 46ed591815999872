//! What tests of real processes share: a stream behind an endpoint, the processes, and the account of what they wrote.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod account;
#[path = "../../examples/support/ordered_puts.rs"]
pub(crate) mod ordered_puts;
pub(crate) mod process;
pub(crate) mod world;
