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

. "$root/tests/loopback.sh"

cd "$here"
export PYTHONDONTWRITEBYTECODE=1
"$venv/bin/python" -m pytest "$@"
[ "$moto" = no ] || "$venv/bin/python" compare_moto.py
