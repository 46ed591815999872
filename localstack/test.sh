#!/usr/bin/env bash
# The end-to-end suites on LocalStack without Docker: installs it once, starts it, tests, stops it. Two minutes to build, one to
# install, two to test. Exit code 3: something is missing here, and it says what. Settings: host.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

root=${LOCALSTACK_ROOT:-target/localstack}
[[ -e $root/installed ]] || bash localstack/host.sh install || {
    echo "missing: LocalStack could not be installed" >&2
    exit 3
}
# Before LocalStack starts: it reaches nothing but itself.
cargo build --quiet --locked --example consume
cargo test --quiet --locked --test localstack --features localstack --no-run
suites() {
    RUST_BACKTRACE=0 cargo test --quiet --offline --locked --test localstack --features localstack -- --nocapture "$@"
}
export -f suites
bash localstack/host.sh run bash -ec '
    suites --test-threads 4
    suites --test-threads 1 --ignored outages::
' 2>&1 | tee "$root/suites.log"
echo
echo "expected differences met:"
grep -ohE '(EXPECTED DIFFERENCE|GAP CLOSED) .*' "$root/suites.log" | sort -u || echo none
