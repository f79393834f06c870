#!/usr/bin/env python3
"""Measures how long a neighbour waits while others misuse the worker that serves it.

    benches/neighbour/run.py [--driver epoll|io-uring|all] [--server PROGRAM] [--seconds 3]
                             [CASE ...]

Needs `cargo build --release` unless a server is named. For each case (attacks.py) a server with one
worker runs on the first processor. The attackers and the neighbour are on the last one, where the
neighbour is a process of real-time priority, so that it waits for the server only. It sends 20
bytes every 2 ms, whether the echo before has come or not, and a wait is the time from when a
message was to be sent until its echo is there. Before each attack the same is measured at rest,
when all connections of the attack are open already.

Prints a table, and exits with 1 if a wait was longer than the bound of its case, if the neighbour
was cut off, or if an attack did not happen as it should. What else runs on the machine makes waits
longer, at rest, too.
"""

import argparse
import collections
import gc
import multiprocessing
import os
import pathlib
import platform
import resource
import select
import sys
import time

import attacks

# attacks.py has put the directory of the tests on the path.
import wire
from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
DRIVERS = ["epoll", "io-uring"]
INTERVAL = 0.002
# Until the server has handled what came when the connections of the attack were opened.
SETTLE_SECONDS = 0.25
REST_SECONDS = 1.5
# The attack ends so long before its measurement.
MARGIN_SECONDS = 0.2
# An echo that has not come by then does not come.
DEADLINE = 60
PRIORITY = 10
FILES = 20_000

Waits = collections.namedtuple("Waits", "p50 p99 longest")


class CutOff(Exception):
    """The neighbour lost its connection, or got something else than its echoes."""


class Neighbour:
    """A process with a connection that measures when it is told to."""

    def __init__(self):
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=live, args=(other,), daemon=True)
        self.process.start()
        self.refusal = self.pipe.recv()

    def connect(self, port):
        self.pipe.send(port)

    def begin(self, seconds):
        self.pipe.send(seconds)

    def waits(self):
        """What was begun, when it is over."""
        waits = self.pipe.recv()
        if isinstance(waits, str):
            raise CutOff(waits)
        return Waits(waits[len(waits) // 2], waits[len(waits) * 99 // 100], waits[-1])

    def end(self):
        """Ends it; why it had no real-time priority, if it had none."""
        self.process.kill()
        self.process.join()
        return self.refusal


def live(pipe):
    """The process of the neighbour."""
    pipe.send(real_time())
    gc.disable()
    try:
        client = wire.connect(pipe.recv())
        client.settimeout(DEADLINE)
        while True:
            pipe.send(sorted(measure(client, pipe.recv())))
    except (OSError, CutOff) as error:
        pipe.send(str(error) or type(error).__name__)


def real_time():
    """Takes priority over all others; why not, if that is refused."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError as error:
        return str(error)
    return None


def measure(client, seconds):
    """Sends on schedule; how long each echo took, in ms."""
    waits, received = [], b""
    start, count, sent = time.monotonic(), int(seconds / INTERVAL), 0
    while len(waits) < count:
        due = start + sent * INTERVAL if sent < count else start + seconds + DEADLINE
        if select.select([client], [], [], max(0, due - time.monotonic()))[0]:
            received += receive(client)
            now = time.monotonic()
            while received.startswith(echo := b"\x82\x14%020d" % len(waits)):
                received = received[len(echo) :]
                waits.append((now - start - len(waits) * INTERVAL) * 1e3)
            if not echo.startswith(received):
                raise CutOff(f"received {received[:40]!r} in place of its echo")
        elif sent < count:
            client.sendall(wire.frame(wire.BINARY, b"%020d" % sent))
            sent += 1
        else:
            raise CutOff(f"got no echo for {DEADLINE} s")
    return waits


def receive(client):
    data = client.recv(1 << 16)
    if not data:
        raise CutOff("was disconnected")
    return data


def run(case, driver, arguments, processor):
    """One case: the waits at rest and under attack, what the attack did, and what is wrong."""
    command = [arguments.server, "--driver", driver, "--workers", "1", "--quiet", *case.options]
    pin = lambda: os.sched_setaffinity(0, {processor})
    rest, waits, faults = None, None, []
    neighbour = Neighbour()
    with Server(command, preexec=pin) as server:
        attack = case.prepare(server.port)
        try:
            neighbour.connect(server.port)
            time.sleep(SETTLE_SECONDS)
            neighbour.begin(REST_SECONDS)
            rest = neighbour.waits()
            neighbour.begin(arguments.seconds + MARGIN_SECONDS)
            attack.run(arguments.seconds)
            waits = neighbour.waits()
        except CutOff as error:
            faults.append(f"the neighbour {error}")
        finally:
            attack.close()
            neighbour.end()
    if waits and waits.longest > case.bound:
        faults.append(f"the neighbour waited for {waits.longest:.1f} ms, more than {case.bound}")
    faults += attack.faults()
    return rest, waits, str(attack), faults


def show(waits):
    return "p50 {:.2f} p99 {:.2f} longest {:.2f} ms".format(*waits) if waits else "cut off"


def table(rows, drivers):
    """The rows in Markdown: for each driver the longest wait at rest, and p99 and longest."""
    head = ["connections that attack, ms"]
    head += [f"{driver}: {what}" for driver in drivers for what in ("at rest", "p99", "longest")]
    lines = [head + ["bound"], ["---"] + ["---:"] * len(head)]
    for case, outcomes in rows:
        cells = [case.text]
        for rest, waits in outcomes:
            cells += [f"{rest.longest:.1f}" if rest else "-"]
            cells += [f"{waits.p99:.1f}", f"{waits.longest:.1f}"] if waits else ["-", "cut off"]
        lines.append([*cells, str(case.bound)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def conditions(allowed, refusal):
    """What the machine is like."""
    priority = f"real-time priority {PRIORITY}"
    if refusal:
        priority = f"NO real-time priority ({refusal}): waits may be those of the neighbour itself"
    return (
        f"Linux {platform.release()}, {os.cpu_count()} processors; server on {allowed[0]}, "
        f"attackers and neighbour on {allowed[-1]}, neighbour with {priority}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--driver", choices=[*DRIVERS, "all"], default="all")
    parser.add_argument("--server", default=TARGET / "wireloop")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("cases", metavar="CASE", nargs="*", help=", ".join(attacks.CASES))
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(attacks.CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[-1]})
    refusal = Neighbour().end()
    drivers = DRIVERS if arguments.driver == "all" else [arguments.driver]
    rows, failed = [], []
    for name in arguments.cases or attacks.CASES:
        case, outcomes = attacks.CASES[name], []
        for driver in drivers:
            rest, waits, done, faults = run(case, driver, arguments, allowed[0])
            outcomes.append((rest, waits))
            said = f"at rest {show(rest)}; attacked {show(waits)}; {done}"
            print(f"{name}, {driver}: {said}", flush=True)
            failed += [f"{name}, {driver}: {fault}" for fault in faults]
        rows.append((case, outcomes))
    print(f"\n{table(rows, drivers)}\n\n{conditions(allowed, refusal)}")
    for fault in failed:
        print(f"FAULT: {fault}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
