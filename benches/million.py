"""One million connections on one machine: what they cost, and whether they live.

    benches/million.sh [--connections N] [--driver auto|epoll|io-uring] [--rate 10000] [--seconds S]

As many servers as the limit on open files takes listen on one port (SO_REUSEPORT), one worker each;
as many clients open connections to it, from loopback addresses of their own. Where the limit allows,
that is one of each. The connections are opened at full speed and held idle; then a trickle of RATE
messages per second goes over all of them in turn, for S seconds or one round; at the end one message
is echoed on every connection. Pings are off, and so is compression, which the clients do not offer.

Exits with 1 unless all connections were opened and are alive at the end.
"""

import argparse
import collections
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
# Descriptors that are not connections.
RESERVED_FILES = 64
# The kernel spreads connections over the servers by a hash: on average a server is as full as this,
# so that the fullest one still has room.
FILL = 0.93
# Handshakes in progress at a time, of all clients.
CONNECTING = 512
IDLE_SECONDS = 10
GIB_MAX = 12
PAGE = resource.getpagesize()


class Machine:
    """Servers and clients, ended when this ends."""

    def __init__(self, arguments):
        self.count = arguments.connections
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        room = sys.maxsize if hard == resource.RLIM_INFINITY else hard - RESERVED_FILES
        check_limits(self.count)
        clients = -(-self.count // room)
        servers = 1 if self.count <= room else -(-self.count // int(room * FILL))
        port = free_port()
        self.shares = [
            self.count * (i + 1) // clients - self.count * i // clients for i in range(clients)
        ]
        self.servers, self.clients = [], []
        try:
            for _ in range(servers):
                self.servers.append(start_server(port, arguments.driver))
            for server in self.servers:
                if not server.stdout.readline():
                    sys.exit("million: a server did not start: see the line above")
            for number, share in enumerate(self.shares):
                connecting = max(CONNECTING // clients, 1)
                self.clients.append(start_client(port, number, share, connecting))
            # An answer to nothing: all clients are there.
            self.tell(["check"] * clients)
        except BaseException:
            self.stop()
            raise

    def tell(self, commands):
        """Gives each client its command and returns their answers."""
        try:
            for client, command in zip(self.clients, commands):
                client.stdin.write(command + "\n")
                client.stdin.flush()
            return [json.loads(client.stdout.readline()) for client in self.clients]
        except (BrokenPipeError, json.JSONDecodeError):
            sys.exit("million: a client has ended: see the line above")

    def stop(self):
        # All at once: nobody is to work on what the others' end does to their connections.
        for process in self.clients + self.servers:
            process.kill()
        for process in self.clients + self.servers:
            process.wait()


def start_server(port, driver):
    command = [TARGET / "wireloop", "--quiet", "--workers", "1", "--driver", driver]
    command += ["--listen", f"127.0.0.1:{port}", "--share-address"]
    # A busy machine may take its time.
    command += ["--ping-interval", "0", "--handshake-timeout", "60s"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def start_client(port, number, share, connecting):
    command = [TARGET / "wireloop-bench", "--hold", "-c", str(share)]
    command += ["--connecting", str(connecting)]
    command += ["--hold-source", f"127.{1 + number // 256}.{number % 256}.1"]
    command += [f"ws://127.0.0.1:{port}/echo"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_limits(count):
    """Each connection is two sockets, with a file and a place in an epoll set each."""
    most = int(read("/proc/sys/fs/file-max"))
    if most < 2 * count + 10_000:
        sys.exit(f"million: raise fs.file-max, which is {most}, above {2 * count + 10_000}")
    if int(read("/proc/sys/fs/epoll/max_user_watches")) < 2 * count:
        sys.exit(f"million: raise fs.epoll.max_user_watches to {2 * count}")
    available = meminfo()["MemAvailable"]
    if available < count * 10_000:
        sys.exit(f"million: {available >> 20} MiB are too little: use fewer --connections")


def read(path):
    return pathlib.Path(path).read_text()


def meminfo():
    lines = (line.split() for line in read("/proc/meminfo").splitlines())
    return {words[0].rstrip(":"): int(words[1]) << 10 for words in lines if len(words) == 3}


def slabs():
    """Bytes by kind of object; only root may see that."""
    try:
        lines = read("/proc/slabinfo").splitlines()[2:]
    except OSError:
        return {}
    words = (line.split() for line in lines)
    return {w[0]: int(w[14]) * int(w[5]) * PAGE for w in words}


def pss(processes):
    """The memory of processes: what they share is divided among them."""
    return sum(kilobytes(f"/proc/{process.pid}/smaps_rollup", "Pss:") for process in processes)


def page_tables(process):
    return kilobytes(f"/proc/{process.pid}/status", "VmPTE:")


def kilobytes(path, name):
    return next(int(line.split()[1]) << 10 for line in read(path).splitlines() if name in line)


class Snapshot:
    """The memory of the machine and of the processes, in bytes."""

    def __init__(self, machine=None):
        self.info = meminfo()
        self.slabs = slabs()
        words = read("/proc/net/sockstat").split()
        self.buffers = int(words[words.index("TCP:") + 10]) * PAGE
        processes = machine.servers + machine.clients if machine else []
        self.servers = pss(machine.servers) if machine else 0
        self.user = pss(processes)
        self.tables = sum(page_tables(process) for process in processes)

    def slab(self):
        # Inodes of /proc belong to whoever looks there meanwhile, such as a monitor.
        return self.info["Slab"] - self.slabs.get("proc_inode_cache", 0)

    def kernel(self):
        return self.slab() + self.buffers + self.tables


def costs(title, machine, before, after):
    def each(now, then):
        return round((now - then) / machine.count)

    server = each(after.servers, before.servers)
    kernel = each(after.kernel(), before.kernel())
    slab = each(after.slab(), before.slab())
    buffers = each(after.buffers, before.buffers)
    tables = each(after.tables, before.tables)
    print(f"{title}, bytes per connection:")
    print(f"  server, user space  {server:>6}")
    print(f"  client, user space  {each(after.user, before.user) - server:>6}")
    print(
        f"  kernel, both ends   {kernel:>6}: slab {slab}, socket buffers {buffers}, "
        f"page tables {tables}"
    )
    grown = {name: each(size, before.slabs.get(name, 0)) for name, size in after.slabs.items()}
    largest = sorted(grown.items(), key=lambda item: -item[1])[:10]
    print("    " + ", ".join(f"{name} {size}" for name, size in largest if size >= 16), flush=True)


def total(before, after):
    """In GiB: what belongs to the run, and what the machine has less, be it through others."""
    own = (after.user + after.kernel() - before.kernel()) / 2**30
    available = (before.info["MemAvailable"] - after.info["MemAvailable"]) / 2**30
    print(f"both ends together: {own:.2f} GiB; the machine has {available:.2f} GiB less available")
    return own


def percentiles(title, answers, key):
    counts = collections.Counter()
    for answer in answers:
        for time_ns, times in answer[key]:
            counts[time_ns] += times
    times = sorted(counts)
    if not times:
        return
    wanted, found, seen = [0.5, 0.99, 0.999], [], 0
    for time_ns in times:
        seen += counts[time_ns]
        while wanted and seen >= wanted[0] * counts.total():
            found.append(time_ns)
            wanted.pop(0)
    names = ["p50", "p99", "p99.9", "max"]
    text = ", ".join(f"{n} {t / 1e6:.3f} ms" for n, t in zip(names, [*found, times[-1]]))
    print(f"  {title}: {text}")


def trickle(machine, rate, seconds):
    count, clients = machine.count, len(machine.clients)
    shares = enumerate(machine.shares)
    commands = [f"load {rate * share / count} {i / clients} {seconds}" for i, share in shares]
    answers = machine.tell(commands)
    names = ("sent", "missed", "echoes")
    sent, missed, echoes = (sum(answer[name] for answer in answers) for name in names)
    print(f"trickle: {echoes:,} echoes of {sent:,} messages in {seconds:.0f} s, {missed:,} missed")
    percentiles("write to echo", answers, "service")
    percentiles("due to echo  ", answers, "response")
    return sent == echoes and missed == 0


def run(arguments):
    nothing = Snapshot()
    machine = Machine(arguments)
    try:
        count, servers = machine.count, len(machine.servers)
        empty = Snapshot(machine)
        clients = len(machine.clients)
        print(f"{count:,} connections, {servers} servers, {clients} clients, {arguments.driver}")
        print(f"a server without connections: {empty.servers / servers / 2**20:.2f} MiB (PSS)")
        start = time.monotonic()
        opened = sum(answer["open"] for answer in machine.tell(["open"] * clients))
        elapsed = time.monotonic() - start
        full = [os.stat(f"/proc/{server.pid}/fd").st_size for server in machine.servers]
        print(f"{opened:,} open after {elapsed:.1f} s: {opened / elapsed:,.0f} per second")
        print(f"descriptors per server: {min(full):,} to {max(full):,}", flush=True)
        if opened < count:
            sys.exit(f"million: {count - opened} connections could not be opened")
        costs("just opened", machine, empty, Snapshot(machine))
        time.sleep(IDLE_SECONDS)
        idle = Snapshot(machine)
        costs(f"idle for {IDLE_SECONDS} s", machine, empty, idle)
        gib = total(nothing, idle)
        answered = trickle(machine, arguments.rate, arguments.seconds or count / arguments.rate + 1)
        time.sleep(IDLE_SECONDS)
        costs(f"after the trickle and {IDLE_SECONDS} s", machine, empty, Snapshot(machine))
        start = time.monotonic()
        alive = sum(answer["alive"] for answer in machine.tell(["check"] * clients))
        elapsed = time.monotonic() - start
        print(f"alive at the end: {alive:,} of {count:,}, asked in {elapsed:.1f} s")
        if gib > GIB_MAX:
            print(f"that is more than the {GIB_MAX} GiB it is to fit into")
        return alive == count and answered
    finally:
        machine.stop()


def main():
    parser = argparse.ArgumentParser(prog="benches/million.sh")
    parser.add_argument("--connections", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--driver", default="auto", metavar="auto|epoll|io-uring")
    parser.add_argument("--rate", type=float, default=10_000, help="messages per second in all")
    parser.add_argument("--seconds", type=float, help="of the trickle; default: one round")
    arguments = parser.parse_args()
    if arguments.connections < 1 or arguments.rate <= 0:
        parser.error("give at least one connection and a rate above 0")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(0 if run(arguments) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


main()
