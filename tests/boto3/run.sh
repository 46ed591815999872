#!/bin/sh
# Runs the suite against the loopback server, or against KINESIS_ENDPOINT if that is set.
#   run.sh [--moto] [pytest arguments]     --moto also compares answers with moto's (installs it)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/target/boto3-venv
moto=no
if [ "${1:-}" = "--moto" ]; then
    moto=yes
    shift
fi

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
[ "$moto" = no ] || "$venv/bin/pip" install --quiet --disable-pip-version-check 'moto[server]==5.2.5'

if [ -z "${KINESIS_ENDPOINT:-}" ]; then
    cargo build --quiet --manifest-path "$root/Cargo.toml" -p kcl-emulator
    work=$(mktemp -d)
    "$root/target/debug/kcl-emulator" --port 0 >"$work/out" 2>"$work/err" &
    server=$!
    trap 'kill "$server" 2>/dev/null || :; wait "$server" 2>/dev/null || :; rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    tries=0
    until KINESIS_ENDPOINT=$(sed -n 's/^listening on //p' "$work/out") && [ -n "$KINESIS_ENDPOINT" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
            echo "the server did not start" >&2
            cat "$work/err" >&2
            exit 1
        fi
        sleep 0.1
    done
    export KINESIS_ENDPOINT
fi

cd "$here"
export PYTHONDONTWRITEBYTECODE=1
"$venv/bin/python" -m pytest "$@"
[ "$moto" = no ] || "$venv/bin/python" compare_moto.py
