#!/usr/bin/env bash
# Fuzzes each target with libFuzzer, coverage and the address sanitizer.
#
#     tests/fuzz/run.sh SECONDS [TARGET...]
#
# Needs a stable toolchain and a C++ compiler. Inputs that reach something new are kept in
# $WIRELOOP_CACHE/fuzz/TARGET beside the seeds, and the executions of all runs are added up in
# TARGET.executions. An input that fails is kept and named, with the command that runs it again.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [TARGET...]}
shift
[[ $# -gt 0 ]] || set -- $(sed -n 's|^path = "targets/\(.*\)\.rs"$|\1|p' tests/fuzz/Cargo.toml)

cache=${WIRELOOP_CACHE:-$PWD/.cache}/fuzz
triple=$(rustc -vV | sed -n 's/^host: //p')
binaries=$cache/target/$triple/release
# A stable compiler has what the sanitizer needs, but lets only its bootstrap use it. The flags
# are those of cargo-fuzz; naming the target keeps them from build scripts.
RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$cache/target RUSTFLAGS="
    -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
    -Zsanitizer=address -Ccodegen-units=1 --cfg fuzzing" \
    cargo build --locked --release --manifest-path tests/fuzz/Cargo.toml --target "$triple"

# total TARGET EXECUTIONS: adds to the count of all runs and prints it.
total() {
    local file=$cache/$1.executions
    (
        flock 9
        echo $(($(cat "$file" 2>/dev/null || echo 0) + $2)) >"$file.new"
        mv "$file.new" "$file"
        cat "$file"
    ) 9>"$file.lock"
}

failed=0
for target in "$@"; do
    corpus=$cache/$target
    log=$cache/$target.log
    seeds=tests/fuzz/seeds/$target
    mkdir -p "$corpus" "$cache/failures"
    result=OK
    "$binaries/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
        -print_final_stats=1 -artifact_prefix="$cache/failures/$target-" \
        "$corpus" "$seeds" >"$log" 2>&1 || result=FAILED
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    all=$(total "$target" "${executions:-0}")
    echo "fuzz: ${executions:-0} $result $target, ${rate:-0} per second, $all in all runs"
    if [[ $result != OK ]]; then
        failed=1
        grep -vE '^#[0-9]+' "$log" | tail -n 40 | sed 's/^/   | /'
        input=$(sed -n 's/^.*Test unit written to //p' "$log" | tail -n 1)
        echo "   the whole log: $log"
        echo "   again: $binaries/$target ${input:-(no input was written)}"
    fi
done
exit $failed
