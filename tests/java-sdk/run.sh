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

. "$root/tests/loopback.sh"
java -cp "$build/target/classes:$(cat "$build/classpath")" Check "$KINESIS_ENDPOINT"
