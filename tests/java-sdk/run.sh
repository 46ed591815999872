#!/bin/sh
# Builds the program with Maven into target/java-sdk and runs it against the loopback server, or KINESIS_ENDPOINT.
set -eu

for tool in java mvn; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool here"; exit 0; }
done
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/target/java-sdk

mkdir -p "$build"
cp -R "$here/pom.xml" "$here/src" "$build"
mvn -q -B -f "$build/pom.xml" compile dependency:build-classpath -Dmdep.outputFile="$build/classpath"

if [ -z "${KINESIS_ENDPOINT:-}" ]; then
    cargo build --quiet --manifest-path "$root/Cargo.toml" -p kcl-emulator
    : >"$build/out"
    "$root/target/debug/kcl-emulator" --port 0 >"$build/out" 2>"$build/err" &
    server=$!
    trap 'kill "$server" 2>/dev/null || :; wait "$server" 2>/dev/null || :' EXIT
    trap 'exit 130' INT TERM
    tries=0
    until KINESIS_ENDPOINT=$(sed -n 's/^listening on //p' "$build/out") && [ -n "$KINESIS_ENDPOINT" ]; do
        tries=$((tries + 1))
        [ "$tries" -le 100 ] && kill -0 "$server" 2>/dev/null || { cat "$build/err" >&2; exit 1; }
        sleep 0.1
    done
fi
java -cp "$build/target/classes:$(cat "$build/classpath")" Check "$KINESIS_ENDPOINT"
