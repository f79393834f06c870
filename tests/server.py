"""Starts a wireloop server on a free port for the tests that drive it from outside.

As a program it runs one command against a fresh server and appends the server's URL:

    tests/server.py target/release/wireloop --driver epoll -- tests/interop/curl.sh
"""

import re
import selectors
import subprocess
import sys
import time

START_SECONDS = 10
STOP_SECONDS = 10


class Server:
    """A running server. `url` is http://HOST:PORT; leaving the `with` block stops it."""

    def __init__(self, command, port=0, preexec=None, stderr=None):
        self.process = subprocess.Popen(
            [*command, "--listen", f"127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            preexec_fn=preexec,
        )
        try:
            self.url = self._listening_url()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        self.port = int(self.url.rsplit(":", 1)[1])

    def _listening_url(self):
        """The server prints one line once it accepts connections; nothing else is awaited."""
        deadline = time.monotonic() + START_SECONDS
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0, deadline - time.monotonic())):
                    raise RuntimeError(f"the server said nothing for {START_SECONDS} s")
                byte = self.process.stdout.read1(1)
                if not byte:
                    raise RuntimeError(f"the server ended with code {self.process.wait()}")
                line += byte
        match = re.fullmatch(rb"listening on (http://127\.0\.0\.1:[1-9]\d*)\n", line)
        if not match:
            raise RuntimeError(f"not the line that was promised: {line!r}")
        return match[1].decode()

    def websocket(self, path="/echo"):
        return "ws" + self.url.removeprefix("http") + path

    def memory(self, key):
        """A size in bytes from /proc/PID/status, such as VmRSS; None if the server has ended."""
        with open(f"/proc/{self.process.pid}/status") as status:
            match = re.search(rf"^{key}:\s+(\d+) kB$", status.read(), re.M)
        return int(match[1]) << 10 if match else None

    def stop(self, seconds=STOP_SECONDS):
        """Stops it as a service manager would, and insists on a clean end."""
        self.process.terminate()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"the server ran on for {seconds} s after SIGTERM") from None
        if code != 0:
            raise RuntimeError(f"the server ended with code {code}")

    def __enter__(self):
        return self

    def __exit__(self, kind, _error, _trace):
        if self.process.poll() is not None and kind is None and self.process.returncode != 0:
            raise RuntimeError(f"the server died with code {self.process.returncode}")
        if self.process.poll() is None:
            self.stop()


def main():
    split = sys.argv.index("--")
    with Server(sys.argv[1:split]) as server:
        return subprocess.run([*sys.argv[split + 1 :], server.url]).returncode


if __name__ == "__main__":
    sys.exit(main())
