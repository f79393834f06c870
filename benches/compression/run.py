#!/usr/bin/env python3
"""Compares echo servers with permessage-deflate: server CPU per message and messages per second.

    benches/compression/run.py [--rounds N] [--size BYTES]...

All servers run at once, each on processor 0, and one client loads them in short slices in random
order from processor 1. Each message is JSON-like text and is compressed both ways by itself. What
is printed are medians over the slices, and the median of the ratios to wireloop in the same round;
wireloop is entered twice, and how far the second entry is off from 1 is how far the others may be.
Needs node and npm, which installs `ws` and `bun` into the cache; builds the release binaries.
"""

import argparse
import os
import pathlib
import random
import re
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("WIRELOOP_CACHE") or ROOT / ".cache") / "peers"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
MODULES = CACHE / "node_modules"
PEERS = ["ws@8.23", "bun@1.3"]
CONNECTIONS = 50


def servers():
    wireloop = [TARGET / "wireloop", "--listen", "127.0.0.1:0", "--workers", "1", "--quiet"]
    node = ["node", HERE / "node_ws.mjs"]
    return {
        "wireloop": wireloop,
        "wireloop again": wireloop,
        "wireloop, level 6": [*wireloop, "--compression-level", "6"],
        "Bun": [MODULES / ".bin" / "bun", HERE / "bun.js"],
        "Node ws, level 1": [*node, "1"],
        "Node ws, level 6": [*node, "6"],
    }


def install():
    subprocess.run(["cargo", "build", "--release", "--workspace", "--quiet"], cwd=ROOT, check=True)
    if not (MODULES / "bun").exists() or not (MODULES / "ws").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--prefix", CACHE, "--loglevel=error", "--no-audit", "--no-fund", "--no-save"]
        subprocess.run([*npm, *PEERS], check=True)


class Server:
    def __init__(self, command):
        environment = os.environ | {"NODE_MODULES": str(MODULES)}
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", *command], env=environment, stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        address = re.search(r"(127\.0\.0\.1:\d+)", line)
        if not address:
            raise RuntimeError(f"{command[0]} does not say where it listens: {line!r}")
        path = "/echo" if "listening on" in line else "/"
        self.url = f"ws://{address[1]}{path}"

    def slice(self, size, seconds):
        """CPU per message in microseconds, and messages per second."""
        command = ["taskset", "-c", "1", TARGET / "wireloop-bench", self.url, "--server-pid", str(self.process.pid)]
        command += ["-c", str(CONNECTIONS), "--json-like", "-s", str(size), "--compression", "fresh", "--quiet"]
        command += ["-d", f"{seconds}s", "--warm-up", "200ms"]
        report = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        if f"permessage-deflate on {CONNECTIONS} " not in report:
            raise RuntimeError(f"{self.url} does not compress:\n{report}")
        cost = float(re.search(r"server +([\d.]+) us CPU per echo", report)[1])
        rate = float(re.search(r"([\d,]+) msg/s", report)[1].replace(",", ""))
        return cost, rate


def compare(running, size, rounds, seconds):
    slices = {name: [] for name in running}
    for _ in range(rounds):
        for name in random.sample(list(running), len(running)):
            slices[name].append(running[name].slice(size, seconds))
    base = [cost for cost, _ in slices["wireloop"]]
    print(f"\n{size} bytes, {CONNECTIONS} connections, {rounds} rounds of {seconds} s\n")
    print("| server | CPU per message | to wireloop | messages per second |")
    print("|---|---|---|---|")
    for name, results in slices.items():
        cost = statistics.median(cost for cost, _ in results)
        rate = statistics.median(rate for _, rate in results)
        ratio = statistics.median(cost / other for (cost, _), other in zip(results, base))
        print(f"| {name} | {cost:.2f} us | {ratio:.2f} | {rate:,.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--size", type=int, action="append")
    options = parser.parse_args()
    install()
    running = {}
    try:
        for name, command in servers().items():
            running[name] = Server(command)
        for size in options.size or [512, 16384]:
            compare(running, size, options.rounds, options.seconds)
    finally:
        for server in running.values():
            server.process.kill()
            server.process.wait()


main()
