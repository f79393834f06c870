"""The healthy clients of a soak run, a process of their own.

    healthy.py PORT ECHOING IDLE SEED

So many send random messages of up to 1 MiB, one at a time, and compare every byte of the echoes; so
many are idle and answer pings. None may ever be disconnected. Between `calm` and `storm` (orders.py)
all are idle. A line of JSON a second says what has been until then. With the end of its input each
connection is checked by one more echo, and the last line has `done`.
"""

import asyncio
import json
import pathlib
import random
import sys
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
import orders
import wire

SIZE_MAX = 1 << 20
PAUSE_SECONDS_MAX = 0.4
# No echo takes longer, however long the server was stopped.
ECHO_SECONDS_MAX = 90
TEXT_LETTERS = "the quick brown fox äöü€😀 0123456789 ".encode()


class Wrong(Exception):
    """An echo that is not what was sent."""


class Peer:
    """A connection."""

    def __init__(self, counts, generator, is_compressed):
        self.counts, self.random, self.is_compressed = counts, generator, is_compressed

    async def open(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.writer.write(wire.handshake(wire.DEFLATE if self.is_compressed else ""))
        answer = await self.reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"the handshake was answered with {answer[:40]}")

    async def echo(self):
        """Sends a message and compares its echo."""
        opcode, payload = self.message()
        begun = time.monotonic()
        # Reads while it sends, as the server may have a ping to be answered.
        receiving = asyncio.ensure_future(self.receive())
        try:
            self.send(opcode, payload)
            await self.writer.drain()
            answer = await asyncio.wait_for(receiving, ECHO_SECONDS_MAX)
        finally:
            receiving.cancel()
        if answer != (opcode, payload):
            raise Wrong(f"an echo of {len(answer[1])} bytes is not the message of {len(payload)}")
        self.counts["echoes"] += 1
        self.counts["bytes"] += len(payload)
        self.counts["longest_s"] = max(self.counts["longest_s"], time.monotonic() - begun)

    def message(self):
        """Few messages are long: the sizes are even on a logarithmic scale."""
        size = int(SIZE_MAX ** self.random.random()) - 1 if self.random.random() > 0.02 else SIZE_MAX
        if self.random.random() < 0.5:
            return wire.BINARY, self.random.randbytes(size)
        text = self.random.randbytes(min(size, 64)).hex().encode() + TEXT_LETTERS
        text *= size // len(text) + 1
        return wire.TEXT, text[:size].decode(errors="ignore").encode()

    def send(self, opcode, payload):
        """In one frame, or in some fragments."""
        cuts = self.random.choice([0, 0, 0, 1, 4])
        places = sorted(self.random.randrange(len(payload) + 1) for _ in range(cuts))
        for start, end in zip([0, *places], [*places, None]):
            self.write(opcode, payload[start:end], final=end is None)
            opcode = wire.CONTINUATION

    def write(self, opcode, payload, final=True):
        self.writer.write(wire.frame(opcode, payload, final, key=self.random.randbytes(4)))

    async def receive(self):
        """The next message; answers pings until it comes."""
        parts, kind, is_compressed = [], None, False
        while True:
            first, payload = await self.frame()
            opcode = first & 0x0F
            if opcode == wire.PING:
                self.counts["pings"] += 1
                self.write(wire.PONG, payload)
                continue
            if opcode == wire.CLOSE:
                code = int.from_bytes(payload[:2], "big")
                raise ConnectionError(f"closed with {code} {payload[2:].decode(errors='replace')}")
            if opcode != wire.CONTINUATION:
                kind, is_compressed = opcode, bool(first & 0x40)
            parts.append(payload)
            if first & 0x80:
                data = b"".join(parts)
                return kind, inflate(data) if is_compressed else data

    async def frame(self):
        first, length = await self.reader.readexactly(2)
        if length >= 126:
            length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
        return first, await self.reader.readexactly(length)


def inflate(data):
    return zlib.decompressobj(-15).decompress(data + wire.TAIL)


class Clients:
    """All of them."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.counts = {"open": 0, "echoes": 0, "bytes": 0, "pings": 0, "longest_s": 0.0}
        self.faults = {"cut": [], "wrong": []}
        self.over, self.awake = asyncio.Event(), asyncio.Event()

    async def run(self, port, echoing, idle):
        lives = []
        for number in range(echoing + idle):
            peer = Peer(self.counts, random.Random(self.random.random()), number % 2 == 0)
            await peer.open(port)
            self.counts["open"] += 1
            lives.append(self.live(number, peer, is_echoing=number < echoing))
        self.report(ready=True)
        reports = asyncio.create_task(self.reports())
        end = asyncio.create_task(self.obey())
        await asyncio.gather(*lives)
        await end
        reports.cancel()
        self.report(done=True)

    async def live(self, number, peer, is_echoing):
        name = f"{'echoing' if is_echoing else 'idle'} client {number}"
        try:
            await (self.echo(peer) if is_echoing else self.idle(peer))
            await peer.echo()
        except (Wrong, zlib.error) as error:
            self.faults["wrong"].append(f"{name}: {error}")
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            self.faults["cut"].append(f"{name}: {type(error).__name__} {error}")
        self.counts["open"] -= 1

    async def echo(self, peer):
        while True:
            await self.awake.wait()
            if self.over.is_set():
                return
            await peer.echo()
            await asyncio.sleep(peer.random.random() * PAUSE_SECONDS_MAX)

    async def idle(self, peer):
        receiving = asyncio.create_task(peer.receive())
        ending = asyncio.create_task(self.over.wait())
        await asyncio.wait([receiving, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if receiving.done():
            raise Wrong(f"a message that nobody sent: {receiving.result()!r:.60}")
        # The task goes on in the stead of the one that the last echo would begin.
        peer.receive = lambda: receiving

    async def obey(self):
        await orders.follow(self.awake)
        self.over.set()
        self.awake.set()

    async def reports(self):
        while True:
            await asyncio.sleep(1)
            self.report()

    def report(self, **more):
        print(json.dumps({**self.counts, **self.faults, **more}), flush=True)


if __name__ == "__main__":
    PORT, ECHOING, IDLE, SEED = map(int, sys.argv[1:])
    asyncio.run(Clients(SEED).run(PORT, ECHOING, IDLE))
