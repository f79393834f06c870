"""What run.py tells its clients on their standard input, whose end is theirs: `storm` and `calm`."""

import asyncio
import sys


async def follow(awake):
    """Sets and clears the event as it is told, until the end."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line == b"storm\n":
            awake.set()
        else:
            awake.clear()
