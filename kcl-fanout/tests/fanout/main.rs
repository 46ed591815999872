//! Fan-out over the emulator, through the real SDK, in virtual time.

mod auto;
mod bench;
mod ends;
mod faults;
mod http2;
mod owners;
mod pressure;
mod reading;
mod registration;
