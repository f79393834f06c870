"""Ten thousand connections, every echo compared, and what an idle one costs in memory.

    load.py WIRELOOP-BENCH [ARGS]

Fails if anything does, or if a connection costs more than the README may say.
"""

import re
import subprocess
import sys

CONNECTIONS = 10_000
BYTES_MAX = 128


def main():
    command = [*sys.argv[1:], "-c", str(CONNECTIONS), "-d", "3s"]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120)
    print(run.stdout)
    # A machine that has other things to do makes the times invalid (3), but not what is told here.
    if run.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)} ended with {run.returncode}")
    rate = re.search(r"([\d,]+) msg/s", run.stdout)[1]
    cost = int(re.search(r"(\d+) B resident per idle connection", run.stdout)[1])
    if not f"ok: {CONNECTIONS} of {CONNECTIONS} connections" in run.stdout:
        sys.exit("not all connections were opened")
    if cost > BYTES_MAX:
        sys.exit(f"an idle connection costs {cost} B, more than {BYTES_MAX}")
    print(f"load: 2 checks, {CONNECTIONS} connections, {rate} msg/s, {cost} B each when idle")


main()
