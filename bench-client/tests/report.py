#!/usr/bin/env python3
"""Looks at the report of runs in Chromium, wide and narrow, light and dark.

    bench-client/tests/report.py [--screenshots DIRECTORY] target/release/wireloop-bench
"""

import argparse
import contextlib
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "browser"))
import checks
from checks import check
from webdriver import Browser

WIDTHS = [1280, 400]
INVALID, BROKEN_THRESHOLD = 3, 99

# For each chart: its title, its lines, and how many of them are drawn.
CHARTS = """
    return [...document.querySelectorAll(".chart")].map((chart) => {
        const marks = [...chart.querySelectorAll(".mark")]
        const drawn = marks.filter((mark) => mark.getAttribute("d") && mark.getBoundingClientRect().width > 0)
        return [chart.querySelector("h3").textContent, chart.querySelectorAll(".legend li").length, drawn.length]
    })
"""
POINTED = """
    const charts = [...document.querySelectorAll(".chart")]
    const chart = charts.find((one) => one.querySelector("h3").textContent === "Latency by percentile")
    const plot = chart.querySelector(".plot"), box = plot.getBoundingClientRect()
    const at = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 }
    plot.dispatchEvent(new PointerEvent("pointermove", at))
    const tip = plot.querySelector(".tip")
    return tip.hidden ? "" : tip.textContent
"""


def looks_good(browser, path, titles):
    browser.open(path.as_uri())
    what = f"{path.name}: "
    complaints = browser.complaints()
    check(not complaints, f"{what}the console has no complaints {complaints}")
    loaded = browser.script("return performance.getEntriesByType('resource').map((one) => one.name)")
    check(not loaded, f"{what}nothing is loaded {loaded}")
    width, room = browser.script("const page = document.documentElement; return [page.scrollWidth, page.clientWidth]")
    check(width <= room, f"{what}{width} pixels need no scrolling in {room}")
    charts = browser.script(CHARTS)
    check([title for title, _, _ in charts] == titles, f"{what}the charts are {charts}")
    for title, lines, marks in charts:
        check(marks >= lines > 0, f"{what}{title} shows {lines} lines")
    if "Latency by percentile" in titles:
        check(re.match(r"p\d", browser.script(POINTED)), f"{what}a chart tells what is pointed at")


def runs(command, directory):
    """The reports of a run that has all, and of one that has nothing, with the charts of each."""
    full = directory / "full.html"
    thresholds = ["--threshold", "errors==0", "--threshold", "p50<1ns"]
    load = ["-q", "-c", "20", "-R", "2k", "-d", "3s", *thresholds, "--html", str(full)]
    code = subprocess.run([*command, *load], stdout=subprocess.DEVNULL, timeout=60).returncode
    check(code == BROKEN_THRESHOLD, f"a broken threshold is {code}")
    closed = directory / "closed.html"
    load = ["-q", "-c", "3", "-d", "1s", "--html", str(closed)]
    code = subprocess.run([*command, *load], stdout=subprocess.DEVNULL, timeout=60).returncode
    check(code in (0, INVALID), f"a closed loop ended with {code}")
    empty = directory / "empty.html"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    load = ["-q", "-c", "3", "-d", "1s", "--html", str(empty), f"ws://127.0.0.1:{port}/<b>"]
    load[-1] = load[-1].replace("<b>", "?a&amp;b")
    code = subprocess.run([*command, *load], stdout=subprocess.DEVNULL, timeout=60).returncode
    check(code == 1, f"a server that is not there is {code}")
    search = directory / "search.html"
    load = ["-q", "-c", "4", "--find-max", "p50<20ms", "-R", "100", "--probe", "200ms", "-d", "500ms"]
    load += ["--repeats", "1", "--drain", "300ms", "--html", str(search)]
    with servers(command, "2ms") as [url]:
        code = subprocess.run([*command, *load, url], stdout=subprocess.DEVNULL, timeout=120).returncode
    check(code in (0, INVALID), f"a search ended with {code}")
    versus = directory / "versus.html"
    with servers(command, "0", "20us") as [one, other]:
        load = ["-q", "-c", "4", "-d", "3s", "--slice", "50ms", "--versus", other, "--html", str(versus), one]
        code = subprocess.run([*command, *load], stdout=subprocess.DEVNULL, timeout=60).returncode
    check(code in (0, INVALID), f"a comparison ended with {code}")
    over_time = ["Latency over time", "Rate over time"]
    of_server = ["Connections over time", "Server: processor", "Server: memory"]
    all_charts = ["Latency by percentile", *over_time, "Opening by percentile", *of_server]
    return {
        full: all_charts,
        closed: all_charts,
        empty: [],
        search: ["p99 by rate", *all_charts],
        versus: all_charts,
    }


@contextlib.contextmanager
def servers(command, *times):
    """Servers that are busy for so long with each message."""
    started = []
    try:
        for time in times:
            serve = [*command, "--serve", "0", "--server-spin", time]
            started.append(subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        yield [f"ws://{server.stdout.readline().strip()}/echo" for server in started]
    finally:
        for server in started:
            server.terminate()
            server.communicate()


def shows_decisions(browser, path):
    """What a search and a comparison show beside the charts."""
    rows = "return document.querySelectorAll(arguments[0]).length"
    if path.stem == "search":
        check(browser.script(rows, "#search tbody tr") >= 3, "a search has its trials")
        check("msg/s is the most" in browser.script("return document.querySelector('.answer').textContent"), "a search has an answer")
    if path.stem == "versus":
        check(browser.script(rows, "#versus tbody tr") >= 3, "a comparison has its figures")
        check(browser.script(rows, "#versus .real") >= 1, "a slower server is seen")
        check(browser.script(rows, ".tile") == 0, "two servers have no figures together")
        inside = """
            return [...document.querySelectorAll("#versus td.forest")].every((cell) => {
                const room = cell.getBoundingClientRect()
                return [...cell.querySelectorAll("i")].every((mark) => {
                    const box = mark.getBoundingClientRect()
                    return box.left >= room.left && box.right <= room.right && box.height > 0
                })
            })
        """
        check(browser.script(inside), "intervals are within their cells")
        scrolls = "const box = document.querySelector('#versus .scroll'); return box.scrollWidth > box.clientWidth"
        wide = browser.script("return innerWidth") > 1000
        check(not (wide and browser.script(scrolls)), "a wide page has room for the intervals")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--screenshots", type=pathlib.Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Browser() as browser:
        reports = runs(options.command, pathlib.Path(directory))
        for scheme in ["light", "dark"]:
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.devtools("Emulation.setEmulatedMedia", features=features)
            grounds = []
            for width in WIDTHS:
                size = {"width": width, "height": 1600, "deviceScaleFactor": 1, "mobile": False}
                browser.devtools("Emulation.setDeviceMetricsOverride", **size)
                for path, titles in reports.items():
                    looks_good(browser, path, titles)
                    shows_decisions(browser, path)
                    grounds.append(browser.script("return getComputedStyle(document.body).backgroundColor"))
                    if options.screenshots:
                        name = f"{path.stem}-{scheme}-{width}.png"
                        (options.screenshots / name).write_bytes(browser.screenshot())
            check(len(set(grounds)) == 1 and ("246" in grounds[0]) == (scheme == "light"), f"{scheme} is {grounds}")
    print(f"browser: {checks.count} checks passed")


main()
