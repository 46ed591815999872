//! Tests without AWS: a [`Harness`] for your own processor, and the [simulation](sim) by which the library proves itself.

#![forbid(unsafe_code)]

mod harness;
pub mod invariants;
pub mod mutants;
pub mod sim;

pub use harness::{Harness, Ready, Unfinished};
