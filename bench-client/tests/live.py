#!/usr/bin/env python3
"""Looks at the live view of runs in a real terminal, which tmux has.

    bench-client/tests/live.py [--show] target/release/wireloop-bench

The terminal has to be as it was before on every way out of a run.
"""

import argparse
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

import checks
from checks import check


class Terminal:
    """A shell in a terminal of its own, of so many columns and rows."""

    def __init__(self, directory, columns, rows, show):
        # One server goes while the next one comes.
        self.socket, self.show = str(directory / f"tmux-{columns}"), show
        size = ["-x", str(columns), "-y", str(rows)]
        environment = {**os.environ, "PS1": "$ ", "TERM": "xterm-256color"}
        environment.pop("TMUX", None)
        self.environment = environment
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, "env", "PS1=$ ", "sh")
        self.until("$", 10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")

    def tmux(self, *words):
        command = ["tmux", "-S", self.socket, *words]
        return subprocess.run(command, env=self.environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    def type(self, text):
        self.tmux("send-keys", "-l", text + "\n")

    def interrupt(self):
        self.tmux("send-keys", "C-c")

    def seen(self):
        return self.tmux("capture-pane", "-p")

    def settings(self):
        """What the kernel and tmux know of the terminal."""
        tty = self.tmux("display", "-p", "#{pane_tty}").strip()
        modes = self.tmux("display", "-p", "#{alternate_on} #{cursor_flag} #{wrap_flag}").strip()
        stty = subprocess.run(["stty", "-a", "-F", tty], check=True, stdout=subprocess.PIPE, text=True).stdout
        # The shell's line editor, if it has one, has settings of its own while it waits.
        flags = [word for word in re.findall(r"-?\becho\b|-?\bisig\b|susp = [^;]*", stty)]
        return modes, flags

    def until(self, text, seconds, absent=False):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seen = self.seen()
            if (text in seen) != absent:
                return seen
            time.sleep(0.1)
        sys.exit(f"not within {seconds} s: {text!r}\n{seen}")

    def shown(self, seen, what):
        if self.show:
            print(f"--- {what}\n{seen}")


def has_all(seen, parts, what):
    for part in parts:
        check(part in seen, f"{what} tells {part!r}:\n{seen}")


def is_sane(terminal, before, what):
    """A shell's line is seen again, on a screen that has the summary and nothing of the view."""
    terminal.type("echo a$((1+1))b")
    seen = terminal.until("a2b", 10)
    terminal.shown(seen, f"{what}, after it")
    check("$ echo a$((1+1))b" in seen, f"{what} leaves a terminal that echoes:\n{seen}")
    check("━" not in seen and "╭" not in seen, f"{what} leaves nothing of its view:\n{seen}")
    check(terminal.settings() == before, f"{what} leaves {terminal.settings()}, not {before}")
    return seen


def usual(terminal, command, before):
    terminal.type(f"{command} -c 20 -R 5k -d 6s; echo code $?")
    terminal.until("measured", 10)
    time.sleep(5.5)
    seen = terminal.seen()
    terminal.shown(seen, "a run")
    parts = ["ws://", "20 connections", "measuring", "━", " of 6 s", "msg/s", "5,000 offered", "peak"]
    table = ["p50", "p90", "p99", "p99.9", "max", "last second", "measured", "≤", "█"]
    has_all(seen, [*parts, *table, "20 of 20", "server", "client", "MiB", "errors  none"], "the view")
    check(terminal.settings()[0].startswith("1 0"), "the view has a screen of its own, without a cursor")
    rate = int(re.search(r"([\d,]+) msg/s", seen)[1].replace(",", ""))
    check(2500 < rate < 7500, f"a rate of 5,000 is {rate}")
    terminal.type("typed ahead")
    terminal.until("code ", 20)
    seen = is_sane(terminal, before, "a run")
    has_all(seen, ["ok: 20 of 20 connections", "latency", "code "], "the summary")
    check("typed ahead" not in seen, f"what is typed during a run is not for the shell:\n{seen}")


def interrupted(terminal, command, before):
    terminal.type(f"clear; {command} -c 3 -d 60s; echo code $?")
    terminal.until("measuring", 10)
    terminal.interrupt()
    terminal.until("code ", 20)
    has_all(is_sane(terminal, before, "Ctrl-C"), ["interrupted: these are the results"], "the summary")
    # Nothing answers, so that the end has to be waited for.
    terminal.type(f"clear; {command} -c 3 -d 60s --connect-timeout 60s --drain 60s ws://127.0.0.1:{port()}/; echo code $?")
    terminal.until("connecting", 10)
    terminal.interrupt()
    terminal.interrupt()
    terminal.until("code ", 20)
    is_sane(terminal, before, "a second Ctrl-C")


def failed(terminal, command, before):
    terminal.type(f"clear; {command} -c 3 -d 60s & sleep 5; kill $!; wait; echo code $?")
    seen = terminal.until("measuring ", 10)
    check("━" not in seen, f"a run in the background writes lines:\n{seen}")
    terminal.until("code ", 20)
    is_sane(terminal, before, "a run in the background")
    terminal.type(f"clear; {command} -c 3 -d 2s --no-tui; echo code $?")
    terminal.until("code ", 20)
    is_sane(terminal, before, "--no-tui")


def small(directory, command, show):
    with Terminal(directory, 40, 10, show) as terminal:
        before = terminal.settings()
        terminal.type(f"NO_COLOR=1 {command} -c 5 -d 9s; echo code $?")
        terminal.until("measuring", 10)
        time.sleep(3)
        seen = terminal.seen()
        terminal.shown(seen, "a small terminal")
        has_all(seen, ["measuring", "msg/s", "p99", "5 of 5", "errors  none"], "a small view")
        colored = terminal.tmux("capture-pane", "-p", "-e")
        check(not re.search(r"\x1b\[(3[0-7]|9[0-7]|38;[\d;]+)m", colored), "NO_COLOR is honoured")
        terminal.tmux("resize-window", "-x", "100", "-y", "30")
        terminal.until("last second", 10)
        terminal.until("code ", 20)
        is_sane(terminal, before, "a terminal that grows")


silent = None


def port():
    """A server that takes connections and says nothing."""
    global silent
    import socket
    silent = socket.create_server(("127.0.0.1", 0))
    return silent.getsockname()[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--show", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = shlex.join([str(pathlib.Path(options.command[0]).resolve()), *options.command[1:]])
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        with Terminal(directory, 100, 30, options.show) as terminal:
            before = terminal.settings()
            for part in [usual, interrupted, failed]:
                part(terminal, command, before)
        small(directory, command, options.show)
    print(f"load: {checks.count} checks passed")


main()
