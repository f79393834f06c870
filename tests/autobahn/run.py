#!/usr/bin/env python3
"""Runs the Autobahn testsuite against a wireloop server and compares every case.

    tests/autobahn/run.py [--groups 1,2,9] BINARY [SERVER ARGUMENT]...

Each case must behave and close exactly as `expected.json` says, and none may be missing.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from server import Server

CACHE = pathlib.Path(os.environ.get("WIRELOOP_CACHE") or HERE.parent.parent / ".cache") / "autobahn"
EXPECTED = json.loads((HERE / "expected.json").read_text())
DEFAULT_GROUPS = "1,2,3,4,5,6,7,9,10"
AGENT = "wireloop"
SUITE_SECONDS = 600

# The suite is single-threaded, slow with large messages, and waits for seconds in a few
# cases. Several processes at once use all cores and spend the waits side by side.
PROCESSES = 4
# Groups with many slow cases, as the number of subgroups to deal out.
SUBGROUPS = {"9": 8, "12": 5, "13": 7}


def case_patterns(groups):
    """The groups as patterns of the suite, the slow ones first and in pieces."""
    slow = [f"{group}.{part}.*" for group in groups if group in SUBGROUPS for part in range(1, SUBGROUPS[group] + 1)]
    return slow + [f"{group}.*" for group in groups if group not in SUBGROUPS]


def write_spec(folder, spec):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    common = {"outdir": str(folder), "exclude-cases": [], "exclude-agent-cases": {}}
    path = folder / "spec.json"
    path.write_text(json.dumps(common | spec))
    return path


def start_suite(mode, spec):
    log = open(spec.parent / "wstest.log", "w")
    return subprocess.Popen(
        [CACHE / "wstest", "-m", mode, "-s", spec],
        cwd=spec.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
    )


def test_server(url, groups, folder):
    """The suite as client of the server at `url`; returns every case's result."""
    patterns = case_patterns(groups)
    shares = [patterns[first::PROCESSES] for first in range(min(PROCESSES, len(patterns)))]
    running = []
    for number, cases in enumerate(shares):
        spec = {"servers": [{"agent": AGENT, "url": url}], "cases": cases}
        running.append(start_suite("fuzzingclient", write_spec(folder / str(number), spec)))
    try:
        for process in running:
            if process.wait(SUITE_SECONDS) != 0:
                raise RuntimeError(f"wstest ended with code {process.returncode}, see {folder}")
    finally:
        for process in running:
            process.kill()
            process.wait()
    results = {}
    for number in range(len(shares)):
        results |= read_results(folder / str(number))
    return results


def read_results(folder):
    results = json.loads((folder / "index.json").read_text())[AGENT]
    return {case: [result["behavior"], result["behaviorClose"]] for case, result in results.items()}


def case_order(case):
    return [int(part) for part in case.split(".")]


def deviations(results, groups, exceptions):
    """One line for every case or group that is not as expected."""
    for case in sorted(results, key=case_order):
        wanted = exceptions.get(case, EXPECTED["default"])
        if results[case] != wanted:
            yield f"case {case}: behavior {results[case][0]}, close {results[case][1]}; expected {wanted[0]}, {wanted[1]}"
    counts = collections.Counter(case.split(".")[0] for case in results)
    for group in groups:
        if counts[group] != EXPECTED["cases"][group]:
            yield f"group {group}: {counts[group]} cases ran, expected {EXPECTED['cases'][group]}"


def summary(results):
    """Each case counts once, as the worse of its two verdicts."""
    names = {"OK": 0, "INFORMATIONAL": 1, "NON-STRICT": 2}
    counts = collections.Counter(max(names.get(verdict, 3) for verdict in pair) for pair in results.values())
    return f"autobahn: {counts[0]} OK, {counts[1]} informational, {counts[2]} non-strict, {counts[3]} failed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", default=DEFAULT_GROUPS, help="comma-separated (default: %(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    groups = options.groups.split(",")
    with Server(options.command) as server:
        results = test_server(server.websocket(), groups, CACHE / "reports" / "server")
    found = list(deviations(results, groups, EXPECTED["server"]))
    print(*found, sep="\n", end="\n" if found else "")
    print(summary(results))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
