#!/usr/bin/env bash
# Compares WebSocket echo servers; docs/BENCHMARKING.md has the method.
#
#     benches/peers/run.sh [--case NAME]... [--servers A,B,C] [--server 'NAME=COMMAND']... [...]
#     benches/peers/run.sh --help     all options
#     benches/peers/run.sh --smoke    tests the comparison itself, with what needs no installing
#
# Builds wireloop, the comparison and the servers in Rust. Where node, npm and python3 are there, it
# installs those for them into the cache; others are left out of the comparison.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
manifest=$root/benches/peers/Cargo.toml
export WIRELOOP_CACHE=${WIRELOOP_CACHE:-$root/.cache}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
peers=$WIRELOOP_CACHE/peers

modules=(ws@8.23 bufferutil@4.1 bun@1.4)
packages=(picows==2.3.1 websockets==17.4 uvloop==0.23.0)

# has NAME: whether this program is here.
has() {
    command -v "$1" >/dev/null
}

install_modules() {
    local npm=(npm install --prefix "$peers" --loglevel=error --no-audit --no-fund --no-save)
    has node && has npm || return 0
    [[ $(cat "$peers/modules" 2>/dev/null) != "${modules[*]}" ]] || return 0
    mkdir -p "$peers"
    "${npm[@]}" "${modules[@]}"
    echo "${modules[*]}" >"$peers/modules"
}

install_packages() {
    python3 -c 'import ensurepip, venv' 2>/dev/null || return 0
    [[ $(cat "$peers/packages" 2>/dev/null) != "${packages[*]}" ]] || return 0
    python3 -m venv "$peers/venv"
    "$peers/venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
    echo "${packages[*]}" >"$peers/packages"
}

cargo build --locked --release --quiet --manifest-path "$root/Cargo.toml" --bin wireloop
if [[ ${1:-} == --smoke ]]; then
    PEERS_SERVERS=wireloop,fastwebsockets,tungstenite \
        cargo test --locked --release --manifest-path "$manifest"
else
    cargo build --locked --release --quiet --manifest-path "$manifest"
    install_modules
    install_packages
    exec "$CARGO_TARGET_DIR/release/peers" "$@"
fi
