#!/usr/bin/env bash
# Holds a million connections on this machine and tells what they cost.
#
#     benches/million.sh [--connections N] [--driver auto|epoll|io-uring] [--rate 10000] [--seconds S]
#
# What it does and prints is said in benches/million.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --quiet --release --workspace
exec python3 benches/million.py "$@"
