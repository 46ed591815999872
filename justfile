# `just verify` looks and never writes; `just fix` writes.

default: verify

# Everything that CI runs.
ci:
    bash .ci/run

# Format, lints, tests, docs. Writes nothing.
verify: 
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo test --locked
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Format, and the lints that can mend themselves.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# The whole library in one process, with an account at the end.
quickstart:
    cargo run --example quickstart

# A hundred random actions on eight processes and 64 shards, and twenty takeovers: about fourteen minutes. By enhanced
# fan-out with KCL_FAN_OUT=1.
kill:
    cargo build --example consume
    cargo test --test kill -- --ignored --nocapture

# The emulator against a stock boto3.
boto3:
    bash tests/boto3/run.sh

# The emulator against AWS's SDK for Java, with the SDK's own defaults.
java-sdk:
    bash tests/java-sdk/run.sh

# A fleet of ours and of the real Java KCL 2.x on one stream and one table; seven minutes. By enhanced fan-out with
# KCL_FAN_OUT=1.
compat:
    bash tests/compat/run.sh

# The end-to-end suites on LocalStack without Docker: four minutes, with nothing left running. localstack/README.md.
localstack:
    bash localstack/test.sh

# Framework overhead, memory and the emulator's speed, each as a ratio of one run.
bench *ARGS:
    cargo run --release -p kcl-bench -- {{ARGS}}

# Planted bugs, and which invariant of the simulation kills each: `just mutants --report docs/mutants.md`.
mutants *ARGS:
    cargo run --release -p kcl-testkit --bin mutants -- {{ARGS}}

# A failing seed of the simulation: its history, or the shortest schedule that fails.
sim *ARGS:
    cargo run --release -p kcl-testkit --bin sim -- {{ARGS}}

# A million seeds that were never run before, a thousand of them through the real AWS SDK, and all mutants: six to eight hours on two cores.
nightly:
    cargo run --release -p kcl-testkit --bin sim -- --fresh 1000000
    cargo run --release -p kcl-testkit --bin sim -- --fresh 1000 --wire
    cargo run --release -p kcl-testkit --bin mutants

# Bans, licences, sources, advisories.
deny:
    cargo deny check
