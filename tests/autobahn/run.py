#!/usr/bin/env python3
"""Runs the Autobahn testsuite against wireloop and compares every case.

    tests/autobahn/run.py [--groups 1,2,9] server BINARY [SERVER ARGUMENT]...
    tests/autobahn/run.py [--groups 1,2,9] client BENCH_BINARY

`server` is tested by the suite's fuzzing client, `client` (the load generator's protocol) by its
fuzzing server. Each case must behave and close exactly as `expected.json` says, and none may be
missing.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from server import Server

CACHE = pathlib.Path(os.environ.get("WIRELOOP_CACHE") or HERE.parent.parent / ".cache") / "autobahn"
EXPECTED = json.loads((HERE / "expected.json").read_text())
DEFAULT_GROUPS = "1,2,3,4,5,6,7,9,10,12,13"
AGENTS = {"server": "wireloop", "client": "wireloop-bench"}
SUITE_SECONDS = 1200
START_SECONDS = 20

# The suite is single-threaded, slow with large messages, and waits for seconds in a few
# cases. Several processes at once use all cores and spend the waits side by side.
PROCESSES = 4
# Groups with many slow cases, as the number of subgroups to deal out.
SUBGROUPS = {"12": 5, "13": 7, "9": 8}


def case_patterns(groups):
    """The groups as patterns of the suite, the slow ones first and in pieces."""
    slow = [f"{group}.{part}.*" for group in SUBGROUPS if group in groups for part in range(1, SUBGROUPS[group] + 1)]
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
        [CACHE / "wstest", "-m", mode, "-s", spec, "--webport", "0"],
        cwd=spec.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
    )


def shares(groups):
    """The cases, dealt out to the processes."""
    patterns = case_patterns(groups)
    return [patterns[first::PROCESSES] for first in range(min(PROCESSES, len(patterns)))]


def test_server(url, groups, folder):
    """The suite as client of the server at `url`; returns every case's result."""
    running = []
    for number, cases in enumerate(shares(groups)):
        spec = {"servers": [{"agent": AGENTS["server"], "url": url}], "cases": cases}
        running.append(start_suite("fuzzingclient", write_spec(folder / str(number), spec)))
    wait_for(running, folder)
    return read_results(folder, len(running), "server")


def test_client(command, groups, folder):
    """The suite as server; the client runs its cases, one after the other."""
    suites, clients = [], []
    try:
        for number, cases in enumerate(shares(groups)):
            url = f"ws://127.0.0.1:{free_port()}"
            spec = {"url": url, "cases": cases}
            suites.append(start_suite("fuzzingserver", write_spec(folder / str(number), spec)))
            wait_until_open(url)
            clients.append(subprocess.Popen([*command, "--autobahn", url], stdin=subprocess.DEVNULL))
        wait_for(clients, folder)
    finally:
        for process in [*clients, *suites]:
            process.kill()
            process.wait()
    return read_results(folder, len(suites), "client")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until_open(url):
    address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return socket.create_connection(address).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def wait_for(processes, folder):
    deadline = time.monotonic() + SUITE_SECONDS
    try:
        for process in processes:
            if process.wait(max(0, deadline - time.monotonic())) != 0:
                raise RuntimeError(f"{process.args[0]} ended with code {process.returncode}, see {folder}")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def read_results(folder, count, role):
    results = {}
    for number in range(count):
        index = json.loads((folder / str(number) / "index.json").read_text())[AGENTS[role]]
        results |= {case: [result["behavior"], result["behaviorClose"]] for case, result in index.items()}
    return results


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


def summary(role, results):
    """Each case counts once, as the worse of its two verdicts."""
    names = {"OK": 0, "INFORMATIONAL": 1, "NON-STRICT": 2}
    counts = collections.Counter(max(names.get(verdict, 3) for verdict in pair) for pair in results.values())
    return f"autobahn {role}: {counts[0]} OK, {counts[1]} informational, {counts[2]} non-strict, {counts[3]} failed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", default=DEFAULT_GROUPS, help="comma-separated (default: %(default)s)")
    parser.add_argument("role", choices=AGENTS)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    groups = options.groups.split(",")
    folder = CACHE / "reports" / options.role
    if options.role == "server":
        with Server(options.command) as server:
            results = test_server(server.websocket(), groups, folder)
    else:
        results = test_client(options.command, groups, folder)
    found = list(deviations(results, groups, EXPECTED[options.role]))
    print(*found, sep="\n", end="\n" if found else "")
    print(summary(options.role, results))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
