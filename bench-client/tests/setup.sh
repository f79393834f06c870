#!/usr/bin/env bash
# Installs what reads the load generator's files in the tests into the cache: PyPI's `hdrhistogram`
# in a virtual environment. A second call finds it in place and returns at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${WIRELOOP_CACHE:-$root/.cache}
hdrhistogram=0.10.8

if ! "$cache/hdr/bin/python" -c 'import hdrh' 2>/dev/null; then
    python3 -m venv --clear "$cache/hdr"
    "$cache/hdr/bin/pip" install --quiet --disable-pip-version-check "hdrhistogram==$hdrhistogram"
fi
