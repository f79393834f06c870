#!/usr/bin/env bash
# Installs the foreign WebSocket clients into the cache: PyPI's `websockets` in a virtual
# environment and npm's `ws`. A second call finds them in place and returns at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${WIRELOOP_CACHE:-$root/.cache}
websockets=17.4
ws=8

mkdir -p "$cache/node"
if ! "$cache/venv/bin/python" -c 'import websockets' 2>/dev/null; then
    python3 -m venv --clear "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check "websockets==$websockets"
fi
if [[ ! -f $cache/node/node_modules/ws/package.json ]]; then
    npm install --prefix "$cache/node" --loglevel=error --no-audit --no-fund --no-save "ws@$ws"
fi
