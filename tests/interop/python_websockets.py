#!/usr/bin/env python3
"""PyPI's `websockets` as the client of a running echo server: python_websockets.py [--kept] URL

`--kept` says that the server was started with `--compression kept`.
"""

import asyncio
import os
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Close

SECONDS = 60
SIZES = [1, 125, 126, 127, 65535, 65536, 1 << 20, 16 << 20]
CONNECTIONS = 200
PIPELINED = 10_000

TCP_INFO = 11

MODE = "kept" if "--kept" in sys.argv else "fresh"
ECHO = "ws" + sys.argv[-1].removeprefix("http").rstrip("/") + "/echo"
checks = 0


def check(truth, what):
    global checks
    if not truth:
        raise AssertionError(what)
    checks += 1


def client(**options):
    # No limit here: the server's limits are what is tested. No proxy, whatever the environment says.
    return connect(ECHO, max_size=None, proxy=None, **options)


async def echoes(socket, message, what):
    await socket.send(message)
    check(await socket.recv() == message, f"{what} comes back as it was sent")


async def messages():
    async with client(compression=None, ping_interval=None) as socket:
        for text in ["", "a", "Grüße, 世界 🌍", "\0", "\u07ff\u0800\uffff\U00010000\U0010ffff"]:
            await echoes(socket, text, f"text {text!r}")
        await echoes(socket, b"", "empty binary")
        for size in SIZES:
            await echoes(socket, os.urandom(size), f"{size} bytes")
            await echoes(socket, "x" * size, f"{size} characters")
        await echoes(socket, "é世🌍" * 100_000, "long text of many lengths of character")


async def fragments():
    async with client(compression=None) as socket:
        for parts in [["a", "b", "c"], ["", "", ""], [b"a", b"", b"c"], ["世" * 50_000] * 3, [b"x" * 70_000] * 16]:
            await socket.send(parts)
            check(await socket.recv() == parts[0][:0].join(parts), "fragments come back as one message")

        async def parts():
            yield "before "
            await (await socket.ping(b"between"))
            yield "after"

        await socket.send(parts())
        check(await socket.recv() == "before after", "a ping between two fragments is answered and does no harm")


async def pings():
    async with client(compression=None) as socket:
        for payload in [b"", b"x", os.urandom(125)]:
            check(await (await socket.ping(payload)) >= 0, f"a ping of {len(payload)} bytes has its pong")
        many = [await socket.ping(bytes([number])) for number in range(100)]
        await asyncio.gather(*many)
        check(True, "a hundred pings have their pongs")
        await socket.pong(b"nobody asked")
        await echoes(socket, "on", "text after an unsolicited pong")


async def closes():
    for code, reason in [(1000, "bye"), (1000, ""), (1001, "gone"), (3000, "a"), (4999, "ü" * 61)]:
        async with client() as socket:
            await socket.close(code, reason)
            answer = socket.protocol.close_rcvd
            check(answer == Close(code, reason), f"close {code} {reason!r} is answered with the same, not {answer}")
    async with client() as socket:
        await socket.send("last words")
        await socket.close()
        check(socket.protocol.close_rcvd.code == 1000, "close after an unread echo is clean")
    socket = await client()
    socket.transport.abort()
    async with client() as socket:
        await echoes(socket, "still there", "text after another client's reset")


async def subprotocols():
    async with client(subprotocols=["echo"]) as socket:
        check(socket.subprotocol == "echo", "the subprotocol echo is chosen")
        await echoes(socket, "a", "text")
    async with client(subprotocols=["other", "echo"]) as socket:
        check(socket.subprotocol == "echo", "echo is chosen from two")
    async with client() as socket:
        check(socket.subprotocol is None, "no subprotocol is chosen where none is offered")
    try:
        async with client(subprotocols=["other"]):
            check(False, "only other subprotocols are refused")
    except InvalidStatus as refused:
        check(refused.response.status_code == 400, "only other subprotocols are refused with 400")


async def compression():
    """Each agreement that can be asked for: what is agreed, and messages of all kinds under it."""
    keeps = MODE == "kept"
    for parameters in [
        {},
        {"client_max_window_bits": True},
        {"client_max_window_bits": 9},
        {"server_max_window_bits": 9},
        {"server_max_window_bits": 15, "client_max_window_bits": 12},
        {"server_no_context_takeover": True},
        {"client_no_context_takeover": True},
        {"server_no_context_takeover": True, "client_no_context_takeover": True, "server_max_window_bits": 10},
    ]:
        offer = ClientPerMessageDeflateFactory(**parameters)
        async with client(compression=None, extensions=[offer], ping_interval=None) as socket:
            agreed = socket.protocol.extensions
            check([one.name for one in agreed] == ["permessage-deflate"], f"{parameters} is accepted")
            agreed = agreed[0]
            fresh = parameters.get("server_no_context_takeover", False) or not keeps
            check(agreed.remote_no_context_takeover == fresh, f"{parameters}: the server's context")
            fresh = parameters.get("client_no_context_takeover", False) or not keeps
            check(agreed.local_no_context_takeover == fresh, f"{parameters}: the client's context")
            bits = parameters.get("server_max_window_bits", 15)
            check(agreed.remote_max_window_bits == bits, f"{parameters}: the server's window")
            await compressed_echoes(socket)
    async with client(compression="deflate") as socket:
        check(len(socket.protocol.extensions) == 1, "the default offer is accepted")
        await compressed_echoes(socket)


async def compressed_echoes(socket):
    text = "some text that repeats itself, " * 2000
    for message in ["", "a", text, b"", os.urandom(100_000), "世界" * 1000, text, b"\0" * 1_000_000, text[:300]]:
        await echoes(socket, message, "a compressed message")
    await socket.send([text[:1000], "", text[1000:]])
    check(await socket.recv() == text, "compressed fragments come back as one message")
    before = received_bytes(socket)
    await echoes(socket, text, "a message that is worth compressing")
    check(received_bytes(socket) - before < len(text) / 5, "it comes back compressed")


def received_bytes(socket):
    """What the kernel has received on the connection (tcpi_bytes_received)."""
    info = socket.transport.get_extra_info("socket").getsockopt(6, TCP_INFO, 256)
    return int.from_bytes(info[128:136], sys.byteorder)


async def many_connections():
    async def one(number):
        async with client(compression=None) as socket:
            for message in [f"{number}", bytes([number]) * 1000] * 5:
                await socket.send(message)
                assert await socket.recv() == message
            await everyone_is_here.wait()
            await socket.send("end")
            assert await socket.recv() == "end"

    everyone_is_here = asyncio.Barrier(CONNECTIONS)
    await asyncio.gather(*(one(number) for number in range(CONNECTIONS)))
    check(True, "many connections at once")


async def pipeline():
    async with client(compression=None) as socket:

        async def send():
            for number in range(PIPELINED):
                await socket.send(str(number))

        sending = asyncio.create_task(send())
        answers = [await socket.recv() for _ in range(PIPELINED)]
        await sending
        check(answers == [str(number) for number in range(PIPELINED)], "pipelined messages come back in order")


async def main():
    for test in [messages, fragments, pings, closes, subprotocols, compression, many_connections, pipeline]:
        started = time.monotonic()
        async with asyncio.timeout(SECONDS):
            await test()
        print(f"  {test.__name__}: {time.monotonic() - started:.2f} s")
    print(f"interop python-websockets: {checks} checks passed")


asyncio.run(main())
