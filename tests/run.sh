#!/usr/bin/env bash
# Runs the tests, from a fresh machine with a Rust toolchain to one table of results.
#
#     tests/run.sh [all|full|quick|rust|fuzz|interop|browser|autobahn|load|instructions]
#
# `all` is the default; `full` is all of it, and steps that take minutes (100 restarts under load,
# floods of memory); `quick` is format, lints and debug tests; `fuzz` runs each fuzz target for
# FUZZ_SECONDS; the last five build the release binary and drive it from outside, once per
# driver. What is missing is installed where that is allowed. A tool that stays missing fails the
# run: nothing is skipped.
set -euo pipefail

DRIVERS=${DRIVERS:-epoll io-uring}
FUZZ_SECONDS=${FUZZ_SECONDS:-10}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export WIRELOOP_CACHE=${WIRELOOP_CACHE:-$PWD/.cache}
export CARGO_TERM_COLOR=never PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
logs=$WIRELOOP_CACHE/logs
binary=${CARGO_TARGET_DIR:-target}/release/wireloop
mode=${1:-all}
restarts=5
[[ $mode != full ]] || restarts=100
results=()
failed=0

wants() {
    local one
    for one in all full "$@"; do
        [[ $mode != "$one" ]] || return 0
    done
    return 1
}

# step NAME COMMAND...: runs it with its output in a log, of which a failure shows the end.
step() {
    local name=$1 log started microseconds result=passed
    log=$logs/${name//[^a-z0-9]/-}.log
    shift
    echo "== $name"
    started=${EPOCHREALTIME/./}
    if ! "$@" >"$log" 2>&1 </dev/null; then
        result=FAILED
        failed=$((failed + 1))
        tail -n 60 "$log" | sed 's/^/   | /'
        echo "   the whole log: $log"
    fi
    microseconds=$((${EPOCHREALTIME/./} - started))
    summary "$log"
    results+=("$(printf '%-32s %6d.%d s  %s' "$name" $((microseconds / 1000000)) $((microseconds / 100000 % 10)) "$result")")
    echo "${results[-1]}"
}

# The lines of a log in which tests say how much they tested.
summary() {
    grep -E '^(autobahn [a-z]+|browser|fuzz|load|interop [a-z-]+|instructions [a-z-]+|pauses|restarts|memory floods): [0-9]+ (OK|checks)' "$1" || true
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8; seen = 1 }
         END { if (seen) printf "cargo test: %d passed, %d failed, %d ignored\n", passed, failed, ignored }' "$1"
}

# has NAME: whether the tool is here. `venv` is a Python module that Debian packages apart.
has() {
    if [[ $1 == venv ]]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null
    else
        command -v "$1" >/dev/null
    fi
}

# tools NAME...: installs what is missing from Debian's packages, and says what stays missing.
tools() {
    local -A package=([cc]=gcc [c++]=g++ [flock]=util-linux [unshare]=util-linux [ip]=iproute2 [venv]=python3-venv [node]=nodejs [chromedriver]=chromium-driver)
    local tool missing=() wanted=() sudo=()
    for tool in "$@"; do
        has "$tool" || wanted+=("${package[$tool]:-$tool}")
    done
    [[ ${#wanted[@]} -gt 0 ]] || return 0
    ((EUID == 0)) || sudo=(sudo -n)
    if command -v apt-get >/dev/null && "${sudo[@]}" true; then
        echo "installing ${wanted[*]}"
        "${sudo[@]}" apt-get update || true
        for tool in "${wanted[@]}"; do
            "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$tool" || true
        done
    else
        echo "neither root nor sudo can install packages here"
    fi
    for tool in "$@"; do
        has "$tool" || missing+=("$tool")
    done
    [[ ${#missing[@]} -eq 0 ]] || echo "MISSING, please install: ${missing[*]}"
    [[ ${#missing[@]} -eq 0 ]]
}

needed_tools() {
    echo cargo cc
    ! wants fuzz || echo c++ flock
    ! wants interop || echo python3 venv node npm curl openssl
    ! wants browser || echo python3 chromium chromedriver
    ! wants autobahn || echo python3 venv
    ! wants load || echo python3 venv tmux groff unshare ip
    ! wants instructions || echo python3 valgrind
}

rust_tests() {
    step 'format' cargo fmt --all --check
    step 'format of the fuzz targets' cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
    step 'format of the comparison' cargo fmt --manifest-path benches/peers/Cargo.toml --check
    step 'lints' cargo clippy --workspace --all-targets -- -D warnings
    if wants rust; then
        step 'documentation' env RUSTDOCFLAGS='-D warnings' \
            cargo doc --workspace --no-deps --document-private-items
    fi
    step 'unit and integration tests' cargo test --workspace
    if wants rust; then
        step 'benchmarks, once each' cargo test --workspace --benches
        step 'lints of the comparison' cargo clippy --locked --manifest-path benches/peers/Cargo.toml \
            --target-dir "${CARGO_TARGET_DIR:-target}" --all-targets -- -D warnings
        step 'comparison with other servers' benches/peers/run.sh --smoke
    fi
}

# manual_page PROGRAM: the formatter has nothing to say about its page.
manual_page() {
    local said
    said=$("$1" --man | groff -man -Tutf8 -ww -z 2>&1) && [[ -z $said ]] || {
        echo "$said"
        return 1
    }
}

outside_tests() {
    local driver server contexts
    ! wants interop || step 'interop clients' tests/interop/setup.sh
    ! wants autobahn || step 'autobahn suite' tests/autobahn/setup.sh
    for driver in $DRIVERS; do
        server=("$binary" --driver "$driver")
        if wants interop; then
            step "interop curl, $driver" python3 tests/server.py "${server[@]}" -- tests/interop/curl.sh
            for contexts in fresh kept; do
                step "interop python, $driver, $contexts" python3 tests/server.py "${server[@]}" --compression $contexts -- \
                    "$WIRELOOP_CACHE/venv/bin/python" tests/interop/python_websockets.py "--$contexts"
                step "interop node, $driver, $contexts" env NODE_MODULES="$WIRELOOP_CACHE/node/node_modules" \
                    python3 tests/server.py "${server[@]}" --compression $contexts -- node tests/interop/node_ws.mjs "--$contexts"
            done
        fi
        ! wants browser || step "browser, $driver" python3 tests/browser/page.py "${server[@]}"
        if wants autobahn; then
            step "autobahn server, $driver" python3 tests/autobahn/run.py server "${server[@]}"
            step "autobahn server, byte by byte, $driver" \
                python3 tests/autobahn/run.py --groups 1,2,3,4,5,6,7,10 server "${server[@]}" --receive-bytes 1
        fi
        if wants load; then
            step "load, $driver" python3 tests/load.py "${binary}-bench" --server-driver "$driver"
            step "pauses, $driver" python3 tests/pauses.py "${server[@]}"
            step "restarts, $driver" python3 tests/restarts.py --restarts "$restarts" "${server[@]}"
            # It takes a minute and up to 12,000 descriptors.
            [[ $mode != full ]] || step "memory floods, $driver" python3 tests/memory_floods.py "${server[@]}"
        fi
        ! wants instructions || step "instructions, $driver" benches/instructions/run.py --driver "$driver"
    done
    if wants load; then
        step 'manual page' manual_page "$binary-bench"
        step 'packages for the files of a run' bench-client/tests/setup.sh
        step 'load, files of a run' "$WIRELOOP_CACHE/hdr/bin/python" bench-client/tests/hlog.py "$binary-bench"
        step 'load, live view' python3 bench-client/tests/live.py "$binary-bench"
    fi
    ! wants interop || step 'interop wss, python server' \
        "$WIRELOOP_CACHE/venv/bin/python" tests/interop/wss_server.py "$binary-bench"
    ! wants browser || step 'browser, report of a run' python3 bench-client/tests/report.py "$binary-bench"
    ! wants autobahn || step 'autobahn client' python3 tests/autobahn/run.py client "$binary-bench"
}

case $mode in
    all | full | quick | rust | fuzz | interop | browser | autobahn | load | instructions) ;;
    *)
        echo "usage: tests/run.sh [all|full|quick|rust|fuzz|interop|browser|autobahn|load|instructions]" >&2
        exit 2
        ;;
esac
mkdir -p "$logs"
# shellcheck disable=SC2046 # the names are words, one argument each.
step 'tools' tools $(needed_tools)
! wants quick rust || rust_tests
! wants fuzz || step 'fuzz' tests/fuzz/run.sh "$FUZZ_SECONDS"
if wants rust interop browser autobahn load instructions; then
    step 'release build' cargo build --release --workspace
fi
! wants interop browser autobahn load instructions || outside_tests

echo
printf '%s\n' "${results[@]}"
echo "$((${#results[@]} - failed)) passed, $failed failed"
((failed == 0))
