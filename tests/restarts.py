"""Restarts a server under load, again and again: what becomes of the connections?

    restarts.py WIRELOOP [ARGS] [--restarts N]

Two processes take turns on one address (--share-address). The new one is started, then the old one
gets SIGTERM, while clients connect, ask for a page or a WebSocket, read the answer and start again.

With net.ipv4.tcp_migrate_req=1 no connection may be lost. Without it the kernel resets those that
are in their handshake when a socket is closed; what the server has accepted must not be lost then
either. Both are done in a network namespace of its own, which takes root or user namespaces.
"""

import argparse
import multiprocessing
import os
import socket
import struct
import subprocess
import sys
import time

import wire
from server import Server

CLIENTS = 2
PORT = 8181
DEADLINE = 20
# How long each server serves alone before the next one starts.
PAUSE = 0.1
INSIDE = "WIRELOOP_RESTARTS_INSIDE"

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Counts(dict):
    """How the connections ended."""

    ALL = ("answered", "refused", "reset", "ended")

    def __init__(self):
        super().__init__((name, 0) for name in self.ALL)

    def add(self, others):
        for name, count in others.items():
            self[name] += count


def connection(request, status):
    """Makes one connection; how it ended. One that was not established was refused."""
    with socket.socket() as client:
        client.settimeout(DEADLINE)
        # A client that ends with a reset leaves no port behind in TIME_WAIT.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            client.connect(("127.0.0.1", PORT))
        except (ConnectionRefusedError, ConnectionResetError):
            return "refused"
        try:
            client.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                received = client.recv(65536)
                if not received:
                    return "ended"
                answer += received
        except (ConnectionResetError, BrokenPipeError):
            return "reset"
        if not answer.startswith(status):
            raise AssertionError(f"not the answer that was due: {answer[:200]!r}")
        return "answered"


def client(number, is_over, results):
    """Makes connections until the end."""
    counts = Counts()
    kinds = [(GET, b"HTTP/1.1 200 "), (wire.handshake(), b"HTTP/1.1 101 ")]
    try:
        while not is_over.is_set():
            counts[connection(*kinds[number % 2])] += 1
            number += 1
        results.put(counts)
    except BaseException as error:
        results.put(repr(error))


def start(command):
    return Server([*command, "--quiet", "--share-address"], PORT)


def restarts(command, count):
    """Restarts a server so many times; how the connections ended, and how long a stop took."""
    is_over, results = multiprocessing.Event(), multiprocessing.Queue()
    server = start(command)
    clients = [
        multiprocessing.Process(target=client, args=(number, is_over, results), daemon=True)
        for number in range(CLIENTS)
    ]
    for process in clients:
        process.start()
    begun, slowest = time.monotonic(), 0
    for _ in range(count):
        time.sleep(PAUSE)
        new = start(command)
        # It says that it listens before all of its workers do.
        time.sleep(PAUSE)
        stopped = time.monotonic()
        server.stop(DEADLINE)
        slowest = max(slowest, time.monotonic() - stopped)
        server = new
    is_over.set()
    counts = Counts()
    for result in [results.get(timeout=2 * DEADLINE) for _ in clients]:
        if not isinstance(result, Counts):
            sys.exit(f"a client failed: {result}")
        counts.add(result)
    rate = sum(counts.values()) / (time.monotonic() - begun)
    server.stop(DEADLINE)
    return counts, rate, slowest


def sysctl(name, value):
    with open(f"/proc/sys/net/ipv4/{name}", "w") as file:
        file.write(str(value))


def compare(command, count):
    """The same with and without migration."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    faults = []
    for migrates in (1, 0):
        sysctl("tcp_migrate_req", migrates)
        counts, rate, slowest = restarts(command, count)
        said = ", ".join(f"{number} {name}" for name, number in counts.items())
        migration = "with migration" if migrates else "without migration"
        print(f"{count} restarts {migration}: {said}; {rate:.0f}/s, a stop took up to {slowest:.2f} s")
        lost = {name: counts[name] for name in counts if name != "answered" and counts[name]}
        if not migrates:
            # Reset or refused by the kernel: they had not been accepted.
            lost = {name: lost[name] for name in lost if name == "ended"}
        if lost or not counts["answered"]:
            faults.append(f"{migration}: {lost or 'no connection at all'}")
    if faults:
        sys.exit(f"connections were lost {'; '.join(faults)}")
    print(f"restarts: {2 * count} OK")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--restarts", type=int, default=5)
    arguments, command = parser.parse_known_args()
    if not command:
        parser.error("the program is missing")
    if INSIDE in os.environ:
        return compare(command, arguments.restarts)
    # Others than root make a user namespace too, where that is allowed.
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-r", "-n"]
    if subprocess.run([*unshare, "true"]).returncode != 0:
        sys.exit("no network namespace can be made, to set net.ipv4.tcp_migrate_req: run it as root")
    environment = {**os.environ, INSIDE: "1"}
    inside = [*unshare, sys.executable, *sys.argv]
    sys.exit(subprocess.run(inside, env=environment).returncode)


main()
