"""Fills a server's memory from thousands of peers: does it stay within its budget, and serve others?

    memory_floods.py WIRELOOP [ARGS] [--peers N]

Three floods, each against a server of its own with --memory 512m and 2 GiB of address space:

    never     2,000 peers send messages of 1 MiB and read no echo
    pipeline  10,000 peers send messages of 64 KiB without waiting for echoes, and read none
    partial   1,000 peers send all but the last byte of 16 MiB each

The server's resident memory must stay within the budget, fall to nearly what it was 5 s after the peers
have gone, and a neighbour that sends 20 bytes at a time must get every echo. --peers N makes as many at
most, for a short run.
"""

import argparse
import multiprocessing
import os
import resource
import selectors
import socket
import sys
import time

import wire
from server import Server

BUDGET_MIB = 512
ADDRESS_SPACE = 2 << 30
# How far above the start memory may be when the peers have gone.
LEFT_MIB = 16
FLOOD_TIME = 8
SETTLE_TIME = 5
DEADLINE = 20


def message(length):
    return wire.frame(wire.BINARY, b"x" * length)


FLOODS = {
    "never": (2_000, message(1 << 20) * 3),
    "pipeline": (10_000, message(1 << 16) * 40),
    "partial": (1_000, message(16 << 20)[:-1]),
}


def start(command):
    """A server with a limit on its address space."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    options = ["--workers", "1", "--quiet", "--memory", f"{BUDGET_MIB}m"]
    return Server([*command, *options], preexec=limit)


def mebibytes(server, key):
    size = server.memory(key)
    if size is None:
        sys.exit("memory_floods: the server has ended")
    return size / (1 << 20)


def connect(port):
    """A connection that has sent its handshake and not read the answer."""
    client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    client.sendall(wire.handshake())
    return client


def neighbour(port, pipe):
    """Sends small messages one after the other until told to stop; sends back how long each took."""
    client = wire.connect(port)
    pipe.send("ready")
    data, waits = message(20), []
    while not pipe.poll():
        start = time.monotonic()
        client.sendall(data)
        echo = client.recv(22, socket.MSG_WAITALL)
        if len(echo) != 22:
            pipe.send("cut off")
            return
        waits.append(time.monotonic() - start)
        time.sleep(0.002)
    pipe.send(sorted(waits))


class Peer:
    """One of the flooding connections."""

    def __init__(self, client):
        client.setblocking(False)
        self.client, self.sent, self.is_open = client, 0, False

    def go_on(self, data, events, counts):
        """Goes on as far as the server takes it; whether there is more to do."""
        try:
            if not self.is_open:
                self.is_open = b" 101 " in self.client.recv(4096)
                counts["refused"] += not self.is_open
                return self.is_open
            if events & selectors.EVENT_WRITE:
                self.sent += self.client.send(data[self.sent : self.sent + (1 << 17)])
            return self.sent < len(data)
        except BlockingIOError:
            return True
        except OSError:
            counts["ended"] += 1
            return False


def flood(server, count, data):
    """Floods a server; what became of the peers."""
    selector, peers = selectors.DefaultSelector(), []
    counts = {"refused": 0, "ended": 0}

    def pump(time_left):
        for key, events in selector.select(time_left):
            peer = key.data
            if not peer.go_on(data, events, counts):
                selector.unregister(peer.client)
            elif key.events == selectors.EVENT_READ and peer.is_open:
                selector.modify(peer.client, selectors.EVENT_WRITE, peer)

    for number in range(count):
        peer = Peer(connect(server.port))
        peers.append(peer)
        selector.register(peer.client, selectors.EVENT_READ, peer)
        if number % 50 == 49:
            pump(0)
    end = time.monotonic() + FLOOD_TIME
    while time.monotonic() < end:
        pump(0.05)
    for peer in peers:
        peer.client.close()
    return counts


def run(name, command, most):
    """One flood; what is wrong."""
    count, data = FLOODS[name]
    count = min(count, most)
    server = start(command)
    pipe, other = multiprocessing.Pipe()
    process = multiprocessing.Process(target=neighbour, args=(server.port, other))
    process.start()
    assert pipe.recv() == "ready"
    before = mebibytes(server, "VmRSS")
    counts = flood(server, count, data)
    peak = mebibytes(server, "VmHWM")
    pipe.send("stop")
    waits = pipe.recv()
    process.join()
    time.sleep(SETTLE_TIME)
    left = mebibytes(server, "VmRSS") - before
    faults = []
    try:
        server.stop(DEADLINE)
    except RuntimeError as error:
        faults.append(str(error))
    if waits == "cut off":
        faults.append("the neighbour was cut off")
        waits = [0]
    if peak > BUDGET_MIB:
        faults.append(f"it took {peak:.0f} MiB")
    if left > LEFT_MIB:
        faults.append(f"{left:.0f} MiB stayed")
    print(
        f"{name}: {count} peers, {counts['refused']} refused, {counts['ended']} ended; "
        f"{peak:.0f} MiB at most, {left:.0f} MiB left; neighbour: {len(waits)} echoes, "
        f"p99 {waits[len(waits) * 99 // 100] * 1e3:.1f} ms, longest {waits[-1] * 1e3:.1f} ms"
        + "".join(f"; WRONG: {fault}" for fault in faults),
        flush=True,
    )
    return faults


def main():
    parser = argparse.ArgumentParser(prog="memory_floods.py")
    parser.add_argument("--peers", type=int, default=10_000, help="at most so many")
    arguments, command = parser.parse_known_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not command or not os.access(command[0], os.X_OK):
        parser.error("give the program and its arguments")
    most = min(arguments.peers, hard - 100)
    faults = [fault for name in FLOODS for fault in run(name, command, most)]
    if faults:
        sys.exit(1)
    print(f"memory floods: {len(FLOODS)} OK")


main()
