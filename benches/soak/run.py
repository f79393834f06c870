#!/usr/bin/env python3
"""Runs a server for a long time among hostile clients, and looks for leaks, wrong bytes and cuts.

    benches/soak/run.py [--minutes 60] [--driver epoll|io-uring] [--seed N] [--share-address]

Needs `cargo build --release`. At once there are connections that come and go, floods, clients that
never read or send slowly (hostile.py), and healthy ones that echo random messages or are idle
(healthy.py). Now and then the server is stopped (SIGSTOP) for up to 25 s. With --share-address a
second server on the same address starts and stops again and again; the first one is judged.

Exits with 1 if the server's memory grows by 1 MiB or more in the last 30 minutes (or the last half
of a shorter run), if an echo is wrong, if a healthy client is disconnected or waits too long, or if
a server does not end in good order. Memory is RSS, and what is compared are the lowest figures of
both halves of that time. Every minute all clients are calm for 12 s, so that each has such a time.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from server import Server

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
HERE = pathlib.Path(__file__).resolve().parent
ECHOING, IDLE = 20, 300
GROWTH_BYTES_MAX = 1 << 20
JUDGED_SECONDS = 30 * 60
RECORD_SECONDS = 10
# Until all healthy clients are connected, and until they have ended.
START_SECONDS, END_SECONDS = 30, 120
STOP_SECONDS = 30
PAUSE_SECONDS = [0.5, 2, 25, 5, 1, 12]
# How long the server runs between two pauses, and how long another server runs, and does not.
BETWEEN_PAUSES = (15, 45)
BETWEEN_RESTARTS = (5, 20)
# Together not longer than a quarter of the shortest run, a half of the time that is judged.
STORM_SECONDS, CALM_SECONDS = 48, 12
MINUTES_MIN = 5

Record = collections.namedtuple("Record", "at low high")


class PinnedServer(Server):
    """A server on processor 0, with its log in a file."""

    def __init__(self, driver, port, is_shared, log):
        command = [TARGET / "wireloop", "--workers", "1", "--driver", driver]
        command += ["--share-address"] * is_shared
        allowed = os.sched_getaffinity(0)
        # It inherits what this thread may use.
        os.sched_setaffinity(0, {processors()[0]})
        try:
            super().__init__(command, port, stderr=log)
        finally:
            os.sched_setaffinity(0, allowed)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def end(self):
        """Ends it in good order; what was wrong with that."""
        self.process.send_signal(signal.SIGCONT)
        try:
            self.stop(STOP_SECONDS)
        except RuntimeError as error:
            return str(error)
        return None


class Clients:
    """A process of clients, which tells what it has done in lines of JSON and ends with its input."""

    def __init__(self, name, *arguments):
        command = [sys.executable, HERE / name, *map(str, arguments)]
        self.name, self.said = name, {}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=leave_server_alone
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.said = json.loads(line)

    def wait_for(self, key, seconds):
        """Whether it says that within the time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.said.get(key):
                return True
            time.sleep(0.1)
        time.sleep(0.2)
        return bool(self.said.get(key))

    def end(self):
        self.process.stdin.close()

    def tell(self, order):
        self.process.stdin.write(f"{order}\n".encode())
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.process.wait()


def leave_server_alone():
    """Clients keep to the last processor, where there is more than one."""
    os.sched_setaffinity(0, {processors()[-1]})


def processors():
    return sorted(os.sched_getaffinity(0))


class Course:
    """The memory of the server over time."""

    def __init__(self):
        self.records, self.readings = [], []

    def read(self, server):
        self.readings.append(server.memory("VmRSS"))

    def record(self, at):
        known = [reading for reading in self.readings if reading]
        if known:
            self.records.append(Record(at, min(known), max(known)))
        self.readings = []

    def growth(self, seconds):
        """By how much the lowest figures differ, and the two of them."""
        judged = min(JUDGED_SECONDS, seconds / 2)
        start, middle = seconds - judged, seconds - judged / 2
        early = [record.low for record in self.records if start < record.at <= middle]
        late = [record.low for record in self.records if record.at > middle]
        return min(late) - min(early), min(early), min(late)


class Weather(threading.Thread):
    """Storm and calm in turn. A calm and a pause of the server wait for each other's end."""

    def __init__(self, clients, steady, over):
        super().__init__(daemon=True)
        self.clients, self.steady, self.over, self.now = clients, steady, over, ""

    def run(self):
        while not self.over.is_set():
            self.tell("storm")
            self.over.wait(STORM_SECONDS)
            with self.steady:
                self.tell("calm")
                self.over.wait(CALM_SECONDS)

    def tell(self, order):
        self.now = order
        for clients in self.clients:
            clients.tell(order)


class Pauses(threading.Thread):
    """Stops the server now and then."""

    def __init__(self, server, generator, steady, over):
        super().__init__(daemon=True)
        self.server, self.random, self.steady, self.over = server, generator, steady, over
        self.taken = []

    def run(self):
        lengths = []
        while not self.over.wait(self.random.uniform(*BETWEEN_PAUSES)):
            lengths = lengths or self.random.sample(PAUSE_SECONDS, len(PAUSE_SECONDS))
            length = lengths.pop()
            with self.steady:
                self.server.process.send_signal(signal.SIGSTOP)
                self.over.wait(length)
                self.server.process.send_signal(signal.SIGCONT)
            self.taken.append(length)


class Restarts(threading.Thread):
    """Starts and stops another server on the same address, again and again."""

    def __init__(self, start, generator, over):
        super().__init__(daemon=True)
        self.begin, self.random, self.over = start, generator, over
        self.count, self.faults = 0, []

    def run(self):
        while not self.over.wait(self.random.uniform(*BETWEEN_RESTARTS)):
            server = self.begin()
            self.over.wait(self.random.uniform(*BETWEEN_RESTARTS))
            if fault := server.end():
                self.faults.append(fault)
            self.count += 1


class Run:
    """One run."""

    def __init__(self, arguments, log):
        self.arguments, self.log = arguments, log
        self.random = random.Random(arguments.seed)
        self.seconds = arguments.minutes * 60
        self.faults, self.course = [], Course()

    def go(self):
        port = free_port() if self.arguments.share_address else 0
        self.server = self.start(port)
        clients = []
        try:
            healthy = Clients("healthy.py", self.server.port, ECHOING, IDLE, self.arguments.seed)
            clients.append(healthy)
            if not healthy.wait_for("ready", START_SECONDS):
                sys.exit("soak: the healthy clients could not connect")
            hostile = Clients("hostile.py", self.server.port, self.arguments.seed)
            clients.append(hostile)
            self.watch(healthy, hostile)
            self.finish(healthy, hostile)
        finally:
            for one in clients:
                one.kill()
            if self.server.process.poll() is None:
                self.server.process.kill()
        return self.judge(healthy.said, hostile.said)

    def start(self, port):
        return PinnedServer(self.arguments.driver, port, self.arguments.share_address, self.log)

    def watch(self, healthy, hostile):
        """Lets all of it go on for as long as the run lasts."""
        over, steady = threading.Event(), threading.Lock()
        generator = lambda: random.Random(self.random.random())
        self.pauses = Pauses(self.server, generator(), steady, over)
        self.weather = Weather([healthy, hostile], steady, over)
        begin = lambda: self.start(self.server.port)
        self.restarts = Restarts(begin, generator(), over)
        helpers = [self.pauses, self.weather] + [self.restarts] * self.arguments.share_address
        for helper in helpers:
            helper.start()
        try:
            self.read(healthy, hostile)
        finally:
            over.set()
            for helper in helpers:
                helper.join()
        self.faults += self.restarts.faults

    def read(self, healthy, hostile):
        """Reads the server's memory each second."""
        begun = time.monotonic()
        for second in range(1, int(self.seconds) + 1):
            time.sleep(max(0, begun + second - time.monotonic()))
            if self.server.process.poll() is not None:
                self.faults.append(f"the server ended with {self.server.process.returncode}")
                return
            for clients in [healthy, hostile]:
                if clients.process.poll() is not None:
                    sys.exit(f"soak: {clients.name} has failed")
            self.course.read(self.server)
            if second % RECORD_SECONDS == 0:
                self.course.record(second)
                self.show(second, healthy.said, hostile.said)

    def show(self, second, healthy, hostile):
        low, high = (figure / (1 << 20) for figure in self.course.records[-1][1:])
        phase = hostile["phase"] if self.weather.now == "storm" else "calm"
        print(
            f"{second:6} s  RSS {low:6.2f} to {high:6.2f} MiB  {healthy['open']} healthy clients, "
            f"{healthy['echoes']:,} echoes  {phase}",
            flush=True,
        )

    def finish(self, healthy, hostile):
        """Ends the hostile clients, checks each healthy one once more, and stops the server."""
        if self.server.process.poll() is not None:
            return
        self.cpu, self.files = self.server.cpu_seconds(), self.server.descriptors()
        hostile.end()
        hostile.process.wait(STOP_SECONDS)
        healthy.end()
        if not healthy.wait_for("done", END_SECONDS):
            self.faults.append(f"healthy clients had not ended after {END_SECONDS} s")
        if fault := self.server.end():
            self.faults.append(fault)

    def judge(self, healthy, hostile):
        """Prints what came out; whether it is good."""
        growth, early, late = self.course.growth(self.seconds)
        if growth >= GROWTH_BYTES_MAX:
            self.faults.append(f"memory has grown by {growth / (1 << 20):.2f} MiB")
        self.faults += [f"wrong: {fault}" for fault in healthy["wrong"]]
        self.faults += [f"cut: {fault}" for fault in healthy["cut"]]
        self.log.seek(0)
        panics = [line for line in self.log.read().decode().splitlines() if "panick" in line]
        self.faults += [f"log: {line}" for line in panics[:10]]
        lives = ", ".join(f"{count:,} {name}" for name, count in sorted(hostile["lives"].items()))
        print(
            f"\n{self.arguments.driver}, {self.arguments.minutes:g} minutes, seed "
            f"{self.arguments.seed}\n"
            f"memory   {early / (1 << 20):.2f} MiB, then {late / (1 << 20):.2f}: grown by "
            f"{growth / 1024:+.0f} KiB; at most "
            f"{max(record.high for record in self.course.records) / (1 << 20):.1f} MiB\n"
            f"healthy  {healthy['echoes']:,} echoes of {healthy['bytes'] / (1 << 20):,.0f} MiB, each "
            f"byte compared, in {healthy['longest_s']:.1f} s at most; {healthy['pings']:,} pings\n"
            f"         {len(healthy['wrong'])} wrong, {len(healthy['cut'])} cut\n"
            f"hostile  {lives}\n"
            f"pauses   {len(self.pauses.taken)}, {sum(self.pauses.taken):.0f} s in all; "
            f"{self.restarts.count} restarts of another server"
        )
        if hasattr(self, "cpu"):
            print(f"server   {self.cpu:.0f} s of CPU time, {self.files} descriptors at the end")
        for fault in self.faults[:20]:
            print(f"FAULT: {fault}")
        print(f"soak: {'FAILED' if self.faults else 'ok'}", flush=True)
        return not self.faults


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--driver", choices=["epoll", "io-uring"], default="epoll")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--share-address", action="store_true")
    arguments = parser.parse_args()
    if arguments.minutes < MINUTES_MIN:
        parser.error(f"the memory can be judged from {MINUTES_MIN} minutes on")
    # Ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("soak: ended by a signal"))
    with tempfile.TemporaryFile() as log:
        return 0 if Run(arguments, log).go() else 1


if __name__ == "__main__":
    sys.exit(main())
