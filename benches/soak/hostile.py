"""The hostile clients of a soak run, a process of their own, which ends with its input.

    hostile.py PORT SEED

All the time connections come and go, others never read, and others send slowly. Beside them one kind
of flood follows the other. Between `calm` and `storm` (orders.py) all but a few connections have
ended. A line of JSON a second says what has been done.
"""

import asyncio
import collections
import itertools
import json
import pathlib
import random
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
import orders
import wire

PHASE_SECONDS = 15
FLOODING = 4
CHURNING = 16
# Of those that never read and that send slowly, so many stay while it is calm.
STALLING, STALLING_ALWAYS = 24, 4
WAIT_SECONDS = 10
# Linux: no port is taken before the connection is made, so that addresses do not run out of them.
IP_BIND_ADDRESS_NO_PORT = 24
GET = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"

FLOODS = {
    "pongs": ("", wire.frame(wire.PONG) * 20_000),
    "pings": ("", wire.frame(wire.PING, b"x" * 20) * 10_000),
    "fragments": (
        "",
        wire.frame(wire.BINARY, b"a", final=False)
        + wire.frame(wire.CONTINUATION, b"a", final=False) * 50_000
        + wire.frame(wire.CONTINUATION, b"a"),
    ),
    "empty messages": ("", wire.frame(wire.BINARY) * 20_000),
    "large bombs": (wire.DEFLATE, wire.bomb((16 << 20) - 64)),
    "small bombs": (wire.DEFLATE, wire.bomb(1 << 10) * 2000),
    "long messages": ("", wire.frame(wire.BINARY, bytes(4 << 20))),
    "pipelined requests": (None, GET * 500),
}

# Each of these ends its connection.
VIOLATIONS = [
    wire.frame(3),
    wire.frame(wire.PING, b"x" * 126),
    wire.frame(wire.PING, final=False),
    wire.frame(wire.CONTINUATION, b"x"),
    wire.frame(wire.TEXT, b"\xff\xfe"),
    wire.frame(wire.TEXT, b"\xf0\x9f"),
    wire.frame(wire.BINARY, b"x", compressed=True),
    wire.frame(wire.BINARY, length=1 << 62),
    wire.frame(wire.BINARY, b"x", final=False) + wire.frame(wire.TEXT, b"x"),
    wire.frame(wire.CLOSE, struct.pack(">H", 1005)),
    wire.frame(wire.CLOSE, b"x"),
    b"\x82\x01x",
    random.Random(1).randbytes(2000),
]

# Requests that are refused, or never end.
REQUESTS = [
    b"",
    b"G",
    b"GET /echo HTTP/1.1\r\nHost: loc",
    b"\r\n" * 40,
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2000,
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nabc",
    wire.handshake()[:-2],
    wire.handshake("Sec-WebSocket-Extensions: permessage-deflate; nonsense=\r\n"),
    bytes(range(256)),
    GET,
]


class Hostile:
    """All of them, on one event loop."""

    def __init__(self, port, seed):
        self.port = port
        self.random = random.Random(seed)
        self.counts = collections.Counter()
        self.phase = ""
        # What ends when it is to be calm.
        self.living = []
        self.awake = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    async def run(self):
        stalls = [self.deaf, self.slow, self.slow_request]
        lives = [self.repeat(self.churn) for _ in range(CHURNING)]
        lives += [self.repeat(stalls[n % 3]) for n in range(STALLING)]
        lives += [self.repeat(stalls[n % 3], is_calm=True) for n in range(STALLING_ALWAYS)]
        lives += [self.direct(), self.calm(), self.report()]
        ending = asyncio.ensure_future(orders.follow(self.awake))
        tasks = [asyncio.ensure_future(life) for life in lives]
        await asyncio.wait([ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
        broken = next((task for task in tasks if task.done()), None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if broken:
            broken.result()

    async def direct(self):
        """One phase after the other, as long as it is not calm."""
        for self.phase in itertools.cycle([*FLOODS, "violations"]):
            life = self.violate if self.phase == "violations" else self.flood
            tasks = [asyncio.ensure_future(self.repeat(life)) for _ in range(FLOODING)]
            await asyncio.sleep(PHASE_SECONDS)
            await self.awake.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def calm(self):
        """Ends what there is whenever it is to be calm."""
        while True:
            await self.awake.wait()
            while self.awake.is_set():
                await asyncio.sleep(0.1)
            for task in self.living:
                task.cancel()

    async def repeat(self, life, is_calm=False):
        """Lives one life after the other; that it is cut short is what the server is for."""
        while True:
            if not is_calm:
                await self.awake.wait()
            task = asyncio.ensure_future(life())
            if not is_calm:
                self.living.append(task)
            try:
                await task
            except (OSError, EOFError, asyncio.TimeoutError):
                self.counts["ended by the server"] += 1
            except asyncio.CancelledError:
                if asyncio.current_task().cancelling():
                    task.cancel()
                    raise
            finally:
                if not is_calm:
                    self.living.remove(task)
            self.counts[life.__name__] += 1
            await asyncio.sleep(self.random.random() * 0.1)

    async def report(self):
        while True:
            print(json.dumps({"phase": self.phase, "lives": self.counts}), flush=True)
            await asyncio.sleep(1)

    # What a life may be.

    async def churn(self):
        """A connection of a moment, which may end anywhere."""
        with await self.connected() as peer:
            kind = self.random.randrange(5)
            if kind == 0:
                await self.send(peer, self.random.choice(REQUESTS))
            elif kind == 1:
                request = wire.handshake()
                await self.send(peer, request[: self.random.randrange(len(request))])
            else:
                await self.upgrade(peer, self.random.choice(["", wire.DEFLATE]))
                payload = self.random.randbytes(int(100_000 ** self.random.random()))
                message = wire.frame(wire.BINARY, payload, key=self.random.randbytes(4))
                is_whole = kind == 2
                await self.send(peer, message[: None if is_whole else len(message) // 2])
                if is_whole:
                    await self.receive(peer)
                    await self.send(peer, wire.frame(wire.CLOSE, struct.pack(">H", 1000)))
            if self.random.random() < 0.3:
                await asyncio.sleep(self.random.random())
            if self.random.random() < 0.3:
                # Resets instead of closing.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def flood(self):
        """Sends as much as the server takes, and reads what comes."""
        headers, unit = FLOODS[self.phase]
        with await self.connected() as peer:
            if headers is not None:
                await self.upgrade(peer, headers)
            draining = asyncio.ensure_future(self.drain(peer))
            try:
                while True:
                    await self.loop.sock_sendall(peer, unit)
            finally:
                draining.cancel()
                await asyncio.gather(draining, return_exceptions=True)

    async def violate(self):
        """Breaks the protocol, and waits for the end."""
        with await self.connected() as peer:
            await self.upgrade(peer, "")
            await self.send(peer, self.random.choice(VIOLATIONS))
            while await self.receive(peer):
                pass

    async def deaf(self):
        """Sends messages and never reads an echo."""
        with await self.connected(receive_bytes=4096) as peer:
            await self.upgrade(peer, "")
            unit = wire.frame(wire.BINARY, bytes(16 << 10))
            while True:
                await self.loop.sock_sendall(peer, unit)

    async def slow(self):
        """Sends a message a few bytes at a time."""
        with await self.connected() as peer:
            await self.upgrade(peer, "")
            await self.trickle(peer, wire.frame(wire.BINARY, bytes(64 << 10)))

    async def slow_request(self):
        """Sends a request a few bytes at a time."""
        with await self.connected() as peer:
            await self.trickle(peer, wire.handshake("A: b\r\n" * 50))

    async def trickle(self, peer, data):
        step = self.random.randrange(1, 50)
        for start in range(0, len(data), step):
            await self.loop.sock_sendall(peer, data[start : start + step])
            await asyncio.sleep(0.5)

    # What a life is made of.

    async def connected(self, receive_bytes=None):
        peer = socket.socket()
        try:
            peer.setblocking(False)
            peer.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            if receive_bytes:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            peer.bind((f"127.0.0.{self.random.randrange(2, 250)}", 0))
            await self.limited(self.loop.sock_connect(peer, ("127.0.0.1", self.port)))
        except BaseException:
            peer.close()
            raise
        return peer

    async def upgrade(self, peer, headers):
        await self.send(peer, wire.handshake(headers))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await self.received(peer)
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(answer[:40])

    async def received(self, peer):
        data = await self.receive(peer)
        if not data:
            raise EOFError
        return data

    async def send(self, peer, data):
        await self.limited(self.loop.sock_sendall(peer, data))

    async def receive(self, peer):
        return await self.limited(self.loop.sock_recv(peer, 1 << 16))

    async def limited(self, action):
        return await asyncio.wait_for(action, WAIT_SECONDS)

    async def drain(self, peer):
        while await self.loop.sock_recv(peer, 1 << 18):
            pass


async def main():
    port, seed = map(int, sys.argv[1:])
    await Hostile(port, seed).run()


if __name__ == "__main__":
    asyncio.run(main())
