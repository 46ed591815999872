#!/bin/sh
# A fleet of our workers and of the real Java KCL 2.x on one stream and one table; five minutes.
set -eu
cd "$(dirname "$0")/../.."
cargo build --quiet --locked --example consume
exec cargo test --quiet --locked --test compat -- --include-ignored --nocapture
