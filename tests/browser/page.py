#!/usr/bin/env python3
"""Drives the server's page in Chromium: what a person sees is what is asserted.

    tests/browser/page.py [--screenshot FILE] target/release/wireloop [SERVER ARGUMENT]...
"""

import argparse
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from server import Server
from webdriver import Browser

SECONDS = 10
# The page waits at most 15 s between two attempts.
RECONNECT_SECONDS = 30
CONTROL, ENTER = "\ue009", "\ue007"
HTML = "<img src=x onerror=alert(1)>"

# The last entry of a kind after a number of entries that were there before, or null.
ENTRY = """
    const entries = [...document.querySelectorAll("#log .entry")].slice(arguments[1])
    const entry = entries.reverse().find((entry) => entry.querySelector(".kind").textContent === arguments[0])
    return entry && { text: entry.querySelector(".text").textContent, note: entry.querySelector(".note").textContent }
"""


class Page:
    def __init__(self, browser):
        self.browser = browser
        self.seen = 0
        self.checks = 0

    def check(self, truth, what):
        if not truth:
            raise AssertionError(what)
        self.checks += 1
        print(f"  {what}")

    def mark(self):
        """Only entries that come after this are looked at."""
        self.seen = self.browser.script("return document.querySelectorAll('#log .entry').length")

    def entry(self, kind, seconds=SECONDS):
        return self.browser.wait(f"a log entry {kind}", seconds, ENTRY, kind, self.seen)

    def status(self, status, seconds=SECONDS):
        script = "return document.getElementById('status').textContent === arguments[0]"
        self.browser.wait(f"status {status}", seconds, script, status)

    def write(self, text):
        self.browser.clear("#input")
        self.browser.type("#input", text)

    def connects(self, what, seconds=SECONDS):
        note = self.entry("CONNECTED", seconds)["note"]
        self.check("subprotocol echo" in note, what)
        self.check("compressed" in note, "permessage-deflate is agreed")
        self.status("Connected")

    def sends_text(self):
        self.mark()
        self.write("Grüße, 世界 🌍")
        self.browser.click("#send")
        sent, answer = self.entry("SENDING"), self.entry("RESPONSE")
        self.check(sent["text"] == answer["text"] == "Grüße, 世界 🌍", "a text message comes back")
        self.check("equal" in answer["note"], "the page compares it with what was sent")
        self.mark()
        self.browser.type("#input", CONTROL + ENTER)
        self.check("equal" in self.entry("RESPONSE")["note"], "Ctrl+Enter sends")

    def sends_compressible_text(self):
        self.mark()
        self.browser.script("document.getElementById('input').value = 'worth compressing, '.repeat(20000)")
        self.browser.click("#send")
        self.check("equal" in self.entry("RESPONSE")["note"], "a long text that is compressed both ways comes back")

    def sends_bytes(self):
        self.mark()
        self.write("Ab€")
        self.browser.click("#send-bytes")
        answer = self.entry("RESPONSE")
        self.check(answer["text"] == "41 62 e2 82 ac" and "5 bytes" in answer["note"], "a text's bytes come back")
        for size, shown in [(0, "0 bytes"), (1, "1 byte "), (65_536, "65,536 bytes"), (5_000_000, "5,000,000 bytes")]:
            self.mark()
            self.browser.clear("#size")
            self.browser.type("#size", str(size))
            self.browser.click("#send-random")
            note = self.entry("RESPONSE")["note"]
            self.check(shown in note and "equal" in note, f"{size} random bytes come back")

    def sends_file(self):
        self.mark()
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(range(256)))
            file.flush()
            self.browser.type("#file", file.name)
            answer = self.entry("RESPONSE")
        self.check(answer["text"].startswith("00 01 02") and "256 bytes ✓" in answer["note"], "a file comes back")

    def shows_html_as_text(self):
        self.mark()
        self.write(HTML)
        self.browser.click("#send")
        self.check(self.entry("RESPONSE")["text"] == HTML, "markup in a message is shown as text")
        self.check(not self.browser.alert_is_open(), "no alert is open")
        count = "return document.querySelectorAll('img, #log script').length"
        self.check(self.browser.script(count) == 0, "no element came from the message")

    def shows_round_trips(self):
        shown = "return document.getElementById(arguments[0]).textContent"
        for name in ["rtt-last", "rtt-min", "rtt-median"]:
            value = self.browser.script(shown, name)
            self.check(float(value.removesuffix(" ms")) >= 0, f"{name} is shown")
        self.check(self.browser.script(shown, "echoes") == "10", "ten echoes are counted")

    def has_no_complaints(self):
        complaints = self.browser.complaints()
        self.check(not complaints, "the browser's console has no complaints" + "".join(f"\n    {c}" for c in complaints))

    def disconnects_and_connects(self):
        self.mark()
        self.browser.click("#disconnect")
        self.check("code 1000" in self.entry("DISCONNECTED")["note"], "Disconnect closes with code 1000")
        self.status("Disconnected")
        self.mark()
        self.browser.click("#connect")
        self.connects("Connect connects again")

    def outlives_the_server(self, server, command):
        self.mark()
        server.stop()
        self.check("code 1001" in self.entry("DISCONNECTED")["note"], "a stopping server says 1001, going away")
        self.entry("ERROR")
        self.check(True, "an attempt fails and is shown")
        self.mark()
        with Server(command, server.port):
            self.connects("it connects again by itself", RECONNECT_SECONDS)
            self.sends_text()
            self.mark()
        self.entry("DISCONNECTED")
        self.status("Waiting")
        self.mark()
        with Server(command, server.port):
            # The page may have come back by itself in the meantime, so the click is made inside it.
            self.browser.script("document.getElementById('now').click()")
            self.connects("Now connects at once")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--screenshot")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    with Server(options.command) as server, Browser(["--window-size=1100,900"]) as browser:
        page = Page(browser)
        browser.open(server.url + "/")
        page.connects("the page opens and connects")
        page.sends_text()
        page.sends_compressible_text()
        page.sends_bytes()
        page.sends_file()
        page.shows_html_as_text()
        page.shows_round_trips()
        page.has_no_complaints()
        if options.screenshot:
            pathlib.Path(options.screenshot).write_bytes(browser.screenshot())
        page.disconnects_and_connects()
        page.outlives_the_server(server, options.command)
    print(f"browser: {page.checks} checks passed")


if __name__ == "__main__":
    main()
