//! The whole library in one process.
fn main() {}
