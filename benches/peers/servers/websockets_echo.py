"""Python's websockets on uvloop as an echo server: websockets_echo.py PORT"""

import asyncio
import logging
import sys

import uvloop
from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    options = {"compression": None, "ping_interval": None, "backlog": 4096}
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), **options) as server:
        await server.serve_forever()


logging.disable()  # Clients that go without a Close are no news.
uvloop.run(main())
