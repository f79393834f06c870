"""What the checks of a script have in common: the first that fails ends it, and all are counted."""

import sys

count = 0


def check(truth, what):
    global count
    if not truth:
        sys.exit(f"not so: {what}")
    count += 1
