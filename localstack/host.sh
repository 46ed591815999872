#!/usr/bin/env bash
# LocalStack without Docker: Kinesis and DynamoDB on 127.0.0.1:4566, in a network namespace of their own.
#
#   host.sh install            from PyPI and npm, into target/localstack; a minute
#   host.sh run CMD [ARGS...]  starts LocalStack, runs CMD with AWS_ENDPOINT_URL set, and stops everything whatever happens
#
# and from within CMD:
#
#   host.sh pause|resume       SIGSTOP and SIGCONT to all of LocalStack
#   host.sh restart            SIGKILL, and a new one: it has forgotten everything
#
# Needs Python 3.13 or newer with venv (LOCALSTACK_PYTHON, or on the PATH, or pyenv's), node, npm, curl, unshare and ip.
# LOCALSTACK_DYNAMODB=dynamodb-local installs DynamoDB Local instead of the free MiniStack: it needs Java 17, and its licence an
# AWS account. LOCALSTACK_ROOT is where all of it goes.
# Exit code 3: something of that is missing, and it says what.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${LOCALSTACK_ROOT:-$here/../target/localstack}
# The newest runtime that is open and asks for no token; what it runs as Kinesis and as DynamoDB.
localstack=2026.3.0 kinesis=0.5.2 ministack=1.5.33 dynamodb_local=amplify-dynamodb-simulator@2.9.30

missing() { echo "missing: $*" >&2; exit 3; }
need() { for command in "$@"; do command -v "$command" >/dev/null || missing "$command"; done; }

python() {
    local candidate
    for candidate in "${LOCALSTACK_PYTHON:-}" python3.13 python3.14 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[3-9]*/bin/python3; do
        # The shim of a version that pyenv has not activated fails here.
        if [[ -n $candidate ]] && "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# LocalStack starts `java -jar DynamoDBLocal.jar -port N`; what stands in for java here starts something else on that port.
install_ministack() {
    "$python" -m venv "$root/venv-ministack"
    "$root/venv-ministack/bin/pip" install -q "ministack==$ministack"
    : >"$lib/dynamodb-local/2/DynamoDBLocal.jar"
    cat >"$lib/java/21/bin/java" <<SHIM
#!/bin/sh
while [ \$# -gt 0 ]; do [ "\$1" = -port ] && port=\$2; shift; done
exec env TMPDIR="$root/tmp" GATEWAY_PORT=\$port BIND_HOST=127.0.0.1 SERVICES=dynamodb "$root/venv-ministack/bin/ministack"
SHIM
}

# AWS's own package brings it. The agent that LocalStack adds is for tables with many indexes, and nowhere to be had.
install_dynamodb_local() {
    need java
    npm pack --silent --pack-destination "$root/tmp" "$dynamodb_local" >/dev/null
    tar xzf "$root"/tmp/amplify-dynamodb-simulator-*.tgz -C "$lib/dynamodb-local/2" --strip-components=2 package/emulator
    cat >"$lib/java/21/bin/java" <<SHIM
#!/bin/sh
for argument; do
    shift
    case "\$argument" in -javaagent:*) ;; *) set -- "\$@" "\$argument" ;; esac
done
exec "$(readlink -f "$(command -v java)")" "\$@"
SHIM
}

install() {
    local python lib
    python=$(python) || missing "Python 3.13 or newer with venv; LOCALSTACK_PYTHON names one"
    need npm node curl
    root=$(mkdir -p "$root" && cd "$root" && pwd)
    lib=$root/fs/var/lib/localstack/lib
    mkdir -p "$lib/java/21/bin" "$lib/dynamodb-local/2" "$lib/kinesis-local/$kinesis" "$root/tmp"
    "$python" -m venv "$root/venv"
    # Newer ones of these three break it.
    printf 'cbor2==5.8.0\npyopenssl==25.3.0\nlocalstack-twisted==25.5.0\n' >"$root/pins.txt"
    "$root/venv/bin/pip" install -q -c "$root/pins.txt" "localstack-core[runtime]==$localstack"
    # Where LocalStack's own installer would put it.
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$lib/kinesis-local/$kinesis" "kinesis-local@$kinesis"
    case ${LOCALSTACK_DYNAMODB:-ministack} in
        ministack) install_ministack ;;
        dynamodb-local) install_dynamodb_local ;;
        *) missing "a DynamoDB that is called $LOCALSTACK_DYNAMODB" ;;
    esac
    chmod +x "$lib/java/21/bin/java"
    : >"$root/installed"
}

run() {
    need unshare ip curl node
    [[ -e $root/installed ]] || missing "LocalStack; run '$0 install' first"
    local map=()
    [[ $(id -u) == 0 ]] || map=(--map-root-user)
    unshare "${map[@]}" --net --pid --fork --mount-proc true || missing "the right to make namespaces (unshare)"
    # Its servers listen on every address, and their children outlive it: both end with the namespaces.
    exec unshare "${map[@]}" --net --pid --fork --mount-proc --kill-child "$here/host.sh" inside "$@"
}

# LocalStack's process and all that it has started.
processes() {
    local pid
    for pid in "$@"; do
        echo "$pid"
        # shellcheck disable=SC2046
        processes $(cat /proc/"$pid"/task/*/children 2>/dev/null)
    done
}

# Starts LocalStack in the background and waits until it is ready.
serve() {
    # OVERRIDE_IN_DOCKER: in a container that is not its own it would write to /var/lib and /etc.
    env OVERRIDE_IN_DOCKER=0 XDG_CACHE_HOME="$root/cache" FILESYSTEM_ROOT="$root/fs" \
        GATEWAY_LISTEN=127.0.0.1:4566 LOCALSTACK_HOST=127.0.0.1:4566 DNS_ADDRESS=0 \
        SKIP_SSL_CERT_DOWNLOAD=1 DISABLE_EVENTS=1 SERVICES=kinesis,dynamodb EAGER_SERVICE_LOADING=1 \
        KINESIS_LATENCY="${KINESIS_LATENCY:-50}" KINESIS_SHARD_LIMIT=500 KINESIS_PERSISTENCE=0 \
        KINESIS_MOCK_VERSION="$kinesis" DYNAMODB_IN_MEMORY=1 LS_LOG=warn \
        "$root/venv/bin/python" -m localstack.runtime.main >>"$root/localstack.log" 2>&1 &
    local server=$! begun=$SECONDS
    disown # the shell need not tell that it was killed
    echo $server >"$root/pid"
    until curl -fs http://127.0.0.1:4566/_localstack/init/ready 2>/dev/null | grep -q '"completed": true'; do
        if ! kill -0 $server 2>/dev/null || ((SECONDS - begun > 60)); then
            tail -20 "$root/localstack.log" >&2
            echo "LocalStack does not start; its log is $root/localstack.log" >&2
            exit 1
        fi
        sleep 0.1
    done
    echo "LocalStack $localstack is ready after $((SECONDS - begun)) s" >&2
}

signal() {
    # shellcheck disable=SC2046
    kill "-$1" $(processes "$(cat "$root/pid")")
}

inside() {
    root=$(cd "$root" && pwd)
    ip link set lo up
    : >"$root/localstack.log"
    serve
    export LOCALSTACK_CONTROL=$here/host.sh AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
    local status=0
    "$@" || status=$?
    signal TERM || true
    exit $status
}

case ${1:-} in
    install) install ;;
    run) shift && run "$@" ;;
    inside) shift && inside "$@" ;;
    pause) signal STOP ;;
    resume) signal CONT ;;
    restart)
        signal KILL
        serve
        ;;
    *) sed -n '2,16s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
