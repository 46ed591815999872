# Sourced by scripts that need an endpoint: starts the loopback server of the checkout at $root, unless KINESIS_ENDPOINT names
# another one, and sets that. The server goes when the script does.

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
