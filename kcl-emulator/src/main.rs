//! Loopback server.
fn main() {}
