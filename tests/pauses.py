"""Stops a server for longer than its peers have to answer: those that answered stay connected.

    pauses.py WIRELOOP [ARGS] [--peers N] [--require-freezer]

The peers are pinged every 2 s, have 2 s to answer, and do so at once; only the pings of the last
moments before the server stands still are answered after that, within 0.8 s. It goes on 6 s later,
when the time for these answers has long been over. No peer may be closed or reset then, and each
must get an echo.

The server is stopped by SIGSTOP, and by the freezer of control groups (v1 or v2), as when a virtual
machine or a container is suspended. That takes root and a hierarchy that can be written to. Where
it cannot be done it is said, and is a failure with --require-freezer.
"""

import argparse
import os
import pathlib
import resource
import selectors
import signal
import sys
import time

import wire
from server import Server

OPTIONS = ["--ping-interval", "2s", "--pong-timeout", "2s", "--quiet"]
# First the peers answer pings. Then they do not read for a moment, in which most are pinged for the
# second time: that is 3 to 4 s after they were connected. Then the server is stopped. Afterwards
# there is time for a deadline that was missed to show.
WARM_SECONDS, HOLD_SECONDS, STOP_SECONDS, SETTLE_SECONDS = 3, 0.8, 6, 5
ECHO_SECONDS = 20
STATE_SECONDS = 5
SPARE_FILES = 100
HELLO = b"are you there?"


class Peer:
    """A connection that answers pings."""

    def __init__(self, port):
        self.client = wire.connect(port)
        self.client.setblocking(False)
        self.received, self.pongs, self.echoed, self.end = b"", 0, False, None

    def read(self):
        try:
            data = self.client.recv(1 << 16)
            self.end = None if data else "the connection ended"
            self.received += data
            while self.end is None and (frame := self.frame()):
                self.handle(*frame)
        except OSError as error:
            self.end = str(error)

    def frame(self):
        """Takes the next frame, which is a short one."""
        length = 2 + self.received[1] if len(self.received) >= 2 else 2
        if len(self.received) < length:
            return None
        frame, self.received = self.received[:length], self.received[length:]
        return frame[0] & 0x0F, frame[2:]

    def handle(self, opcode, payload):
        if opcode == wire.PING:
            self.send(wire.PONG, payload)
            self.pongs += 1
        elif opcode == wire.CLOSE:
            code = int.from_bytes(payload[:2], "big")
            self.end = f"closed with {code} {payload[2:].decode()}"
        else:
            self.echoed = payload == HELLO

    def send(self, opcode, payload):
        self.client.send(wire.frame(opcode, payload))

    def ask(self):
        if self.end is None:
            try:
                self.send(wire.BINARY, HELLO)
            except OSError as error:
                self.end = str(error)


class Peers(list):
    """All of them."""

    def __init__(self, port, count):
        self.selector = selectors.DefaultSelector()
        for number in range(count):
            self.append(peer := Peer(port))
            self.selector.register(peer.client, selectors.EVENT_READ, peer)
            if number % 100 == 99:
                self.pump(0)

    def pump(self, seconds, is_over=lambda: False):
        """Answers pings for so long."""
        end = time.monotonic() + seconds
        while not is_over():
            left = end - time.monotonic()
            for key, _ in self.selector.select(max(0, left)):
                key.data.read()
                if key.data.end is not None:
                    self.selector.unregister(key.fileobj)
            if left <= 0:
                return

    def pongs(self):
        return sum(peer.pongs for peer in self)

    def check(self):
        """How many of them get an echo, and why others do not."""
        for peer in self:
            peer.ask()
        self.pump(ECHO_SECONDS, lambda: all(peer.echoed or peer.end for peer in self))
        ends = {peer.end or "no echo came" for peer in self if not peer.echoed or peer.end}
        return sum(peer.echoed and not peer.end for peer in self), sorted(ends)

    def close(self):
        for peer in self:
            peer.client.close()
        self.selector.close()


class Signals:
    """Stops a process by SIGSTOP."""

    NAME = "SIGSTOP"

    def __init__(self, process):
        self.process = process

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def remove(self):
        pass


class NoFreezer(Exception):
    """The freezer cannot be used here."""


class Freezer:
    """Stops a process in a control group of its own."""

    NAME = "freezer"

    def __init__(self, process):
        root, self.is_v1 = freezer_root()
        self.group = root / f"wireloop-pauses-{process.pid}"
        try:
            self.group.mkdir()
            try:
                (self.group / "cgroup.procs").write_text(str(process.pid))
            except OSError:
                self.remove()
                raise
        except OSError as error:
            raise NoFreezer(str(error)) from None

    def stop(self):
        if self.is_v1:
            self.set("freezer.state", "FROZEN", "freezer.state", "FROZEN")
        else:
            self.set("cgroup.freeze", "1", "cgroup.events", "frozen 1")

    def go_on(self):
        if self.is_v1:
            self.set("freezer.state", "THAWED", "freezer.state", "THAWED")
        else:
            self.set("cgroup.freeze", "0", "cgroup.events", "frozen 0")

    def set(self, file, value, shown_in, state):
        """Writes a value and waits until the state is shown."""
        (self.group / file).write_text(value)
        deadline = time.monotonic() + STATE_SECONDS
        while state not in (self.group / shown_in).read_text().splitlines():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.group} was not {state} after {STATE_SECONDS} s")
            time.sleep(0.001)

    def remove(self):
        """After the end of the process."""
        self.group.rmdir()


def freezer_root():
    """Where groups with a freezer can be made, and whether that is version 1."""
    mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    for _, path, kind, options, *_ in mounts:
        if kind == "cgroup" and "freezer" in options.split(","):
            return pathlib.Path(path), True
    for _, path, kind, *_ in mounts:
        if kind == "cgroup2":
            return pathlib.Path(path), False
    raise NoFreezer("no hierarchy of control groups is mounted")


def pause(way, command, count):
    """Stops a server that way; whether all peers lived."""
    with Server([*command, *OPTIONS]) as server:
        stopper = way(server.process)
        try:
            return endure(stopper, server, count)
        finally:
            stopper.go_on()
            server.stop()
            stopper.remove()


def endure(stopper, server, count):
    peers = Peers(server.port, count)
    try:
        peers.pump(WARM_SECONDS)
        time.sleep(HOLD_SECONDS)
        stopper.stop()
        stopped, pongs = time.monotonic(), peers.pongs()
        peers.pump(STOP_SECONDS)
        pongs = peers.pongs() - pongs
        stopper.go_on()
        seconds = time.monotonic() - stopped
        peers.pump(SETTLE_SECONDS)
        alive, ends = peers.check()
    finally:
        peers.close()
    if not pongs:
        ends.append("WRONG: no peer had been pinged just before")
    print(
        f"{stopper.NAME}: {alive} of {count} alive after {seconds:.1f} s, in which {pongs} pongs "
        f"were sent" + "".join(f"; {end}" for end in ends),
        flush=True,
    )
    return alive == count and pongs > 0


def main():
    parser = argparse.ArgumentParser(prog="pauses.py", allow_abbrev=False)
    parser.add_argument("--peers", type=int, default=3_000)
    parser.add_argument("--require-freezer", action="store_true")
    arguments, command = parser.parse_known_args()
    if not command:
        parser.error("the program is missing")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(arguments.peers + SPARE_FILES, hard), hard))
    is_good = pause(Signals, command, arguments.peers)
    ways = 1
    try:
        is_good &= pause(Freezer, command, arguments.peers)
        ways += 1
    except NoFreezer as error:
        print(f"freezer: NOT TESTED, it cannot be used here: {error}", flush=True)
        is_good &= not arguments.require_freezer
    if not is_good:
        sys.exit(1)
    print(f"pauses: {ways} OK")


main()
