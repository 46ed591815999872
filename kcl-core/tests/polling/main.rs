//! Polling by the real SDK against the emulator, in one process and in virtual time.

mod adapter;
mod bench;
mod one_stream;
mod reading;
