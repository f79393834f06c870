"""What clients written in Python put on the wire: handshakes and frames."""

import socket
import struct
import zlib

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
# What ends each block of a compressed message and is left out (RFC 7692, 7.2.1).
TAIL = b"\0\0\xff\xff"


def handshake(headers=""):
    """A request for the route that echoes."""
    return (
        "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"{headers}\r\n"
    ).encode()


def connect(port, headers="", source="127.0.0.1", seconds=20):
    """A connection to the route that echoes, after the handshake."""
    client = socket.create_connection(("127.0.0.1", port), seconds, (source, 0))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(handshake(headers))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        received = client.recv(4096)
        if not received:
            raise ConnectionError(f"the handshake was answered with {answer[:200]!r}")
        answer += received
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(f"the handshake was answered with {answer[:200]!r}")
    return client


def frame(opcode, payload=b"", final=True, compressed=False, key=b"\0\0\0\0", length=None):
    """A masked frame, which may claim another length than it has."""
    length = len(payload) if length is None else length
    head = bytes([(0x80 if final else 0) | (0x40 if compressed else 0) | opcode])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 1 << 16:
        head += struct.pack(">BH", 0x80 | 126, length)
    else:
        head += struct.pack(">BQ", 0x80 | 127, length)
    return head + key + masked(payload, key)


def masked(payload, key):
    """The payload by a key, which masks and unmasks."""
    if key == b"\0\0\0\0" or not payload:
        return payload
    keys = (key * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
    return number.to_bytes(len(payload), "big")


def bomb(size):
    """A compressed message of so many zeros."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return frame(BINARY, data.removesuffix(TAIL), compressed=True)
