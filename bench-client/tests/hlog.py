#!/usr/bin/env python3
"""Compares what wireloop-bench writes with what Python's `hdrhistogram` reads from it.

    hlog.py WIRELOOP-BENCH [ARGS]

The log of seconds, added up, has to be the histogram of the JSON, as long as the warm-up is nothing,
all messages are answered and an open loop ends on time: a closed one releases a message or two of
each connection as it ends, which are not measured. The percentiles have to be those that the JSON
states, and the lines of the percentile file have to be those that the other implementation writes itself.
"""

import io
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import checks
from checks import check
from hdrh.histogram import HdrHistogram
from hdrh.iterators import PercentileIterator
from hdrh.log import HistogramLogReader

PERCENTILES = {"p50_ns": 50, "p90_ns": 90, "p95_ns": 95, "p99_ns": 99, "p99_9_ns": 99.9, "p99_99_ns": 99.99}
LOADS = [["-c", "20", "-R", "3k"], ["-c", "20"]]
INVALID = 3
NANOS_MAX = 120_000_000_000


def next_tick(self):
    """The ticks of HdrHistogram itself, in Java, which halves distances whole; this package does not."""
    if self.percentile_to_iterate_to >= 100:
        return
    halvings = int(math.log2(100 / (100 - self.percentile_to_iterate_to)))
    self.percentile_to_iterate_to += 100 / (self.percentile_ticks_per_half_distance * 2 ** (halvings + 1))


PercentileIterator.increment_iteration_level = next_tick


def histogram():
    return HdrHistogram(1, NANOS_MAX, 3)


def counts(times):
    return [(item.value_iterated_to, item.count_added_in_this_iter_step) for item in times.get_recorded_iterator()]


def value_at(times, percentile):
    """The least value that so many are not above. The package's own rounds their number to the nearest."""
    wanted = math.ceil(round(percentile * times.get_total_count() / 100, 6))
    seen = 0
    for value, count in counts(times):
        seen += count
        if seen >= wanted:
            return value


def added(path, tag):
    """All seconds of the log with this tag as one."""
    total = histogram()
    reader = HistogramLogReader(str(path), histogram())
    seconds = 0
    while (interval := reader.get_next_interval_histogram()) is not None:
        if interval.get_tag() == tag:
            total.add(interval)
            seconds += 1
    reader.close()
    return total, seconds


def rows(text):
    """The lines of a percentile file, without its head and its end."""
    return [line.split() for line in text.splitlines() if line[:1] == " " and "Value" not in line]


def compare(command, directory):
    files = {name: directory / f"run.{name}" for name in ["json", "hlog", "hgrm"]}
    options = [option for name, path in files.items() for option in [f"--{name}", str(path)]]
    run = subprocess.run([*command, "--quiet", "--warm-up", "0", "-d", "3s", *options], timeout=60)
    # That this machine has other things to do makes no figure of a file wrong.
    check(run.returncode in (0, INVALID), f"the run ended with {run.returncode}")
    results = json.loads(files["json"].read_text())
    check(results["schema"] == "wireloop-bench/1", "the JSON names its schema")
    stats, group = results["tally"]["groups"][0], results["groups"][0]
    for kind in ["response", "service"]:
        stated = stats[kind]
        check(stated["unanswered"] is None, "all messages are answered")
        decoded = HdrHistogram.decode(stated["histogram"])
        check(decoded.get_total_count() == stated["count"], f"{kind}: the JSON's histogram has all times")
        total, seconds = added(files["hlog"], kind)
        check(seconds >= 3, f"{kind}: each second has a line")
        late = total.get_total_count() - stated["count"]
        if group["offered"] is None:
            check(0 <= late <= 2 * group["connections"], f"{kind}: the log has {late} times more than the JSON")
            total = decoded
        check(counts(total) == counts(decoded), f"{kind}: the log adds up to the JSON's histogram and {late} times")
        for name, percentile in PERCENTILES.items():
            if stated[name] is not None:
                found = value_at(total, percentile)
                check(found == stated[name], f"{kind}: {name} is {stated[name]}, not {found}")
        check(total.get_max_value() == stated["max_ns"], f"{kind}: the maximum is equal")
    expected = io.BytesIO()
    HdrHistogram.decode(stats["response"]["histogram"]).output_percentile_distribution(expected, 1e6)
    found = rows(files["hgrm"].read_text())
    wanted = rows(expected.getvalue().decode())
    differing = [pair for pair in zip(found, wanted) if pair[0] != pair[1]]
    check(len(found) == len(wanted) > 20 and not differing, f"the percentile file is that of others {differing[:3]}")


def main():
    with tempfile.TemporaryDirectory() as directory:
        for load in LOADS:
            compare([*sys.argv[1:], *load], pathlib.Path(directory))
    print(f"load: {checks.count} checks, files read by another implementation")


main()
