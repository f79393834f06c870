"""What the connections of others do while run.py measures how long their neighbour waits."""

import dataclasses
import pathlib
import selectors
import socket
import struct
import sys
import time
import typing

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
import wire

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
RECEIVE_BYTES = 1 << 18
# An address has 28,000 ports for connections to one server.
PER_ADDRESS = 10_000
LONGEST = 16 << 20


class Flood:
    """Connections that send the same over and over, as fast as it is taken, and read what comes."""

    def __init__(self, port, count, unit, headers=""):
        self.unit, self.count, self.closed, self.sent, self.received = unit, count, 0, 0, 0
        self.selector = selectors.DefaultSelector()
        for _ in range(count):
            client = wire.connect(port, headers)
            client.setblocking(False)
            # The place in what is sent.
            self.selector.register(client, READ | WRITE, [0])

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.closed < self.count:
            for key, events in self.selector.select(0.01):
                try:
                    self.go_on(key.fileobj, key.data, events)
                except BlockingIOError:
                    pass
                except OSError:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()
                    self.closed += 1

    def go_on(self, client, place, events):
        if events & READ:
            data = client.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionError("closed by the server")
            self.received += len(data)
        if events & WRITE:
            count = client.send(memoryview(self.unit)[place[0] :])
            place[0] = (place[0] + count) % len(self.unit)
            self.sent += count

    def faults(self):
        return [f"the server closed {self.closed} connections of the attack"] if self.closed else []

    def close(self):
        reset_all(self.selector)

    def __str__(self):
        return f"{self.sent / 1e6:.1f} MB sent, {self.received / 1e6:.1f} MB received"


class Heads:
    """Connections that send a request byte by byte; one that is answered makes room for another."""

    def __init__(self, port, count):
        self.port, self.answered, self.request = port, 0, wire.handshake()
        self.selector = selectors.DefaultSelector()
        for _ in range(count):
            self.open()

    def open(self):
        client = socket.create_connection(("127.0.0.1", self.port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        self.selector.register(client, WRITE, iter(range(len(self.request))))

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for key, events in self.selector.select(0.01):
                if events & READ:
                    self.finish(key.fileobj)
                elif (at := next(key.data, None)) is not None:
                    key.fileobj.send(self.request[at : at + 1])
                else:
                    self.selector.modify(key.fileobj, READ)

    def finish(self, client):
        self.answered += client.recv(RECEIVE_BYTES).startswith(b"HTTP/1.1 101 ")
        self.selector.unregister(client)
        reset(client)
        self.open()

    def faults(self):
        return [] if self.answered else ["no request of the attack was answered"]

    def close(self):
        reset_all(self.selector)

    def __str__(self):
        return f"{self.answered:,} requests"


class Crowd:
    """Very many open connections, to which the same happens at once, and which answer nothing.

    Each sends `before` when all of them are open, and `data` when the attack begins. Until the end
    of the attack each must receive what begins with `due`.
    """

    def __init__(self, port, count, due, before=b"", data=b""):
        self.due, self.data, self.count = due, data, 0
        sources = [f"127.0.0.{2 + number // PER_ADDRESS}" for number in range(count)]
        self.clients = [wire.connect(port, source=source) for source in sources]
        for client in self.clients:
            client.setblocking(False)
        self.send(before)

    def send(self, data):
        for client in self.clients if data else []:
            client.send(data)

    def received(self):
        """How many have received what is due since the last call."""
        return sum(self.is_due(client) for client in self.clients)

    def is_due(self, client):
        try:
            return client.recv(RECEIVE_BYTES).startswith(self.due)
        except OSError:
            return False

    def run(self, seconds):
        end = time.monotonic() + seconds
        # What came while the connections were opened is not part of it.
        self.received()
        self.send(self.data)
        time.sleep(max(0, end - time.monotonic()))
        self.count = self.received()

    def faults(self):
        missing = len(self.clients) - self.count
        return [f"{missing} connections did not receive what was due"] if missing else []

    def close(self):
        for client in self.clients:
            reset(client)

    def __str__(self):
        return f"{self.count:,} times at once"


def reset(client):
    """Closes it so that no port is left in TIME_WAIT."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def reset_all(selector):
    for key in list(selector.get_map().values()):
        reset(key.fileobj)
    selector.close()


def fragments(count):
    first = wire.frame(wire.BINARY, b"a", final=False)
    more = wire.frame(wire.CONTINUATION, b"a", final=False)
    return first + more * (count - 2) + wire.frame(wire.CONTINUATION, b"a")


@dataclasses.dataclass
class Case:
    text: str
    # The longest wait that is allowed, in ms.
    bound: int
    # Makes the attack, for a port.
    prepare: typing.Callable
    # Options of the server.
    options: tuple = ()


CASES = {
    "pongs": Case(
        "1 connection of pongs that nobody asked for",
        10,
        lambda port: Flood(port, 1, wire.frame(wire.PONG) * 20_000),
    ),
    "fragments": Case(
        "20 of one-byte fragments, 100,000 a message",
        30,
        lambda port: Flood(port, 20, fragments(100_000)),
    ),
    "empty": Case(
        "20 of empty messages",
        30,
        lambda port: Flood(port, 20, wire.frame(wire.BINARY) * 20_000),
    ),
    "pings": Case(
        "20 of empty pings",
        30,
        lambda port: Flood(port, 20, wire.frame(wire.PING) * 20_000),
    ),
    "bombs": Case(
        "50 of compressed messages, 16 KiB for 16 MiB",
        60,
        lambda port: Flood(port, 50, wire.bomb(LONGEST - 64), wire.DEFLATE),
    ),
    "echoes": Case(
        "5 that echo messages of 16 MiB",
        50,
        lambda port: Flood(port, 5, wire.frame(wire.BINARY, bytes(LONGEST))),
    ),
    # The times to answer the Close end during the attack, too.
    "errors": Case(
        "10,000 that break the protocol at once",
        20,
        lambda port: Crowd(port, 10_000, due=b"\x88", data=b"\x82\x01x"),
        ("--close-timeout", "1s"),
    ),
    "heads": Case(
        "50 that send requests byte by byte",
        20,
        lambda port: Heads(port, 50),
    ),
    # Each was heard before the wait at rest is measured. A ping comes due after three quarters of
    # the interval or more, which is later. The pong timeout does not end during the attack.
    "due": Case(
        "15,000 idle, whose pings come due within 0.75 s",
        20,
        lambda port: Crowd(port, 15_000, due=b"\x89", before=wire.frame(wire.PONG)),
        ("--ping-interval", "3s"),
    ),
}
