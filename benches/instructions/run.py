#!/usr/bin/env python3
"""Counts the instructions that an echo costs the server in user space, and compares the count.

    benches/instructions/run.py [--update] [--driver epoll]...

For each driver a worker (server.rs) runs under callgrind, and one connection has it echo messages
of 20 bytes, one in flight: a few in a first run, many in a second. The difference is what the
additional echoes cost; start and end cancel out. Fails if that is more than 5 % above the figure in
expected.json. `--update` writes what was counted there.

The count depends on the compiler and the C library. It should not depend on the machine as long as
that is an x86-64 one with AVX2, because valgrind presents the same processor on all of those to
code that chooses by it (simdutf8, memchr, the C library's memcpy).
"""

import argparse
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
EXPECTED = pathlib.Path(__file__).resolve().parent / "expected.json"
FEW, MANY = 2_000, 12_000
TOLERANCE = 0.05
KEY = b"\x37\xfa\x21\x3d"
PAYLOAD = b"twenty bytes of data"
TIMEOUT = 60

REQUEST = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def echo(port, count):
    """Lets one connection echo so many messages, one after the other."""
    masked = bytes(byte ^ KEY[i % 4] for i, byte in enumerate(PAYLOAD))
    frame = bytes([0x82, 0x80 | len(PAYLOAD)]) + KEY + masked
    answer = bytes([0x82, len(PAYLOAD)]) + PAYLOAD
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(REQUEST)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1) or sys.exit("instructions: the server ended the connection")
        for _ in range(count):
            connection.sendall(frame)
            received = connection.recv(len(answer), socket.MSG_WAITALL)
            if received != answer:
                sys.exit(f"instructions: a wrong echo: {received!r}")


def instructions(driver, count):
    """What the whole life of a server with so many echoes takes."""
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "callgrind.out"
        command = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [TARGET / "examples" / "instructions", driver]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            address = re.search(r":(\d+)$", server.stdout.readline().strip())
            if not address:
                sys.exit(f"instructions: no server on {driver} under valgrind: see above")
            echo(int(address[1]), count)
            if server.wait(TIMEOUT) != 0:
                sys.exit(f"instructions: the server on {driver} failed: see above")
        except (OSError, subprocess.TimeoutExpired) as error:
            sys.exit(f"instructions: the server on {driver} is stuck under valgrind: {error}")
        finally:
            server.kill()
        return int(re.search(r"^totals: (\d+)$", out.read_text(), re.MULTILINE)[1])


def measure(driver):
    few, many = (instructions(driver, count) for count in (FEW, MANY))
    return round((many - few) / (MANY - FEW), 1)


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def tools():
    """What the counts depend on."""
    return {
        "rustc": output("rustc", "--version").split()[1],
        "valgrind": output("valgrind", "--version"),
        "libc": os.confstr("CS_GNU_LIBC_VERSION"),
    }


def main():
    parser = argparse.ArgumentParser(prog="benches/instructions/run.py")
    parser.add_argument("--update", action="store_true", help="write what was counted")
    parser.add_argument("--driver", action="append", help="default: all that have a figure")
    arguments = parser.parse_args()
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    figures = expected.get("instructions_per_echo", {})
    drivers = arguments.driver or list(figures) or ["epoll"]
    build = ["cargo", "build", "--quiet", "--release", "--example", "instructions"]
    subprocess.run(build, cwd=ROOT, check=True)
    counted = {driver: measure(driver) for driver in drivers}
    now, then = tools(), expected.get("counted_with")
    if arguments.update:
        figures |= counted
        content = {"counted_with": now, "instructions_per_echo": figures}
        EXPECTED.write_text(json.dumps(content, indent=4) + "\n")
    is_good = True
    for driver, count in counted.items():
        if driver not in figures:
            sys.exit(f"instructions: no figure for {driver} to compare {count} with: use --update")
        change = count / figures[driver] - 1
        print(
            f"instructions {driver}: 1 checks, {count} in user space per echo, "
            f"{change:+.1%} to {figures[driver]}"
        )
        is_good &= change <= TOLERANCE
        if abs(change) > TOLERANCE:
            print(f"if that is as it should be: {parser.prog} --update --driver {driver}")
    if now != then and not arguments.update:
        print(f"note: counted with {now}, expected with {then}")
    if not is_good:
        sys.exit(f"instructions: an echo costs over {TOLERANCE:.0%} more than expected: see above")


main()
