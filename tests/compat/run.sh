#!/bin/sh
# A fleet of our workers and of the real Java KCL 2.x on one stream and one table; seven minutes. On a busy
# machine COMPAT_SLACK=20 grants every limit of time so many seconds more.
set -eu
cd "$(dirname "$0")/../.."
cargo build --quiet --locked --example consume
exec cargo test --quiet --locked --test compat -- --include-ignored --nocapture
