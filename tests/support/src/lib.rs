//! Tests without AWS: a [`Harness`] for your own processor, and a simulation of a whole fleet by which the library proves itself.
//!
//! The harness is what most programs want. For it alone leave the simulation out, with the emulator that it brings:
//!
//! ```toml
//! [dev-dependencies]
//! kcl-testkit = { version = "0.1", default-features = false }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! With the feature `sim`, which is on by default, [`sim::run`] plays a seed and judges it by the [`invariants`], and
//! `cargo run -p kcl-testkit --bin sim -- --seed N --trace` shows what happened.

#![forbid(unsafe_code)]

mod harness;
#[cfg(feature = "sim")]
pub mod invariants;
#[cfg(feature = "sim")]
pub mod mutants;
#[cfg(feature = "sim")]
pub mod sim;

pub use harness::{Harness, Ready, Unfinished};
