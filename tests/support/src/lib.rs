//! Tests without AWS: a [`Harness`] for your own processor, and the simulation by which the library proves itself.

#![forbid(unsafe_code)]

mod harness;

pub use harness::{Harness, Ready, Unfinished};
