//! The library through its public API, on the real SDK over the in-process emulator, under a paused clock.
//!
//! Each test names the invariants (docs/SEMANTICS.md) that it holds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod failures;
mod fan_out;
mod faults;
mod lifecycle;
mod oracle;
mod properties;
mod reading;
mod reshards;
mod restarts;
mod stream_sets;
mod streams;
mod world;
