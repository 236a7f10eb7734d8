#!/usr/bin/python3
"""Goodput over a path that loses and delays: kernel to kernel, and kernel to io-pkt and back, in turn, with the same seeds.

    impairment.py BUILD_DIR [--runs N] [--seconds S] [--rate MBIT] [--loss P ...] [--rtt MS ...] [--shards N] [--jobs N]

The path is the project's own (tests/link/impair.cpp, the simulator's links) between two TAPs: a bottleneck of `rate` with a queue of
one bandwidth-delay product (at least 64 frames) in each direction, half of the round trip of delay, and random loss on the way of the
data. The far end is always the kernel; the near one is the kernel or io-pkt, over the same kind of TAP. CUBIC on both sides. A figure
is the median of runs that took turns, kernel and io-pkt with the same seed each. Needs root and bench_net.
"""

import argparse
import concurrent.futures
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from compare import CASES, Lab, sh

SEND, RECEIVE = "near sends", "near receives"


class PathSide:
    """A near end on one of the two stacks, behind a path of its own."""

    def __init__(self, lab, name, number, shards):
        self.lab, self.name, self.port = lab, name, 5000
        tag = f"{lab.tag}{number}"
        self.near, self.far, self.wire = tag + "n", tag + "f", tag + "w"
        self.near_ip, self.far_ip = "10.91.0.2", "10.91.0.1"
        for ns in (self.near, self.far, self.wire):
            sh("ip", "netns", "add", ns)
            lab.undo.append(("ip", "netns", "del", ns))
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        kernel = name == "kernel"
        ends = (self.near if kernel else self.wire, self.far)
        self.path = subprocess.Popen([os.path.join(lab.build, "tests/programs/impair"), ends[0] + ",near0", ends[1] + ",far0"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lab.children.append(self.path)
        if self.path.stdout.readline() != "ready\n":
            sys.exit("impairment.py: the path did not start")
        for ns, interface, address in ((ends[0], "near0", self.near_ip), (self.far, "far0", self.far_ip)):
            sh("ip", "-n", ns, "link", "set", interface, "txqueuelen", "10000", "up")
            if ns != self.wire:
                sh("ip", "-n", ns, "address", "add", address + "/24", "dev", interface)
        self.env = dict(os.environ)
        if not kernel:
            self._start_stack(shards)

    def _start_stack(self, shards):
        prefix = tempfile.mkdtemp(prefix="iob")
        os.chmod(prefix, 0o755)
        self.lab.dirs.append(prefix)
        self.env.update(SOCK=prefix, IOPKT_RUN_DIR=prefix + "/run", IOPKT_QUIET="1")
        daemon = ["ip", "netns", "exec", self.near, self.lab.build + "/sbin/io-pkt-v4-hc", "--foreground", f"-t{shards}", "-d", "packet",
                  f"netns={self.wire},if=near0", "-p", "tcpip", f"prefix={prefix}"]
        self.lab.spawn(daemon, env=self.env)
        tool = self.lab.build + "/lib/io-pkt/bin/ifconfig"
        end = time.monotonic() + 30
        while subprocess.run([tool, "en0", self.near_ip + "/24"], env=self.env, stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() > end:
                sys.exit("impairment.py: the stack did not start")
            time.sleep(0.05)
        self.env["LD_PRELOAD"] = self.lab.build + "/lib/io-pkt/libiopkt-socket.so"

    def set(self, words):
        self.path.stdin.write(words + "\n")
        self.path.stdin.flush()
        answer = self.path.stdout.readline().strip()
        if answer != "ok":
            sys.exit(f"impairment.py: {answer}")

    def command(self, near, words):
        env = self.env if near else {}
        return ["ip", "netns", "exec", self.near if near else self.far, "env"] + [
            f"{k}={env[k]}" for k in ("SOCK", "LD_PRELOAD", "IOPKT_QUIET") if k in env] + words

    def measure(self, near_sends, seconds):
        """The near end is always the client, so that the far end's programs are the kernel's in every run. Mbit/s."""
        case = CASES["bulk-send" if near_sends else "bulk-receive"]
        self.port += 1
        server = self.lab.spawn(self.command(False, case.serve(self.lab, str(self.port))), env=os.environ)
        try:
            words = self.command(True, case.ask(self.lab, self.far_ip, str(self.port), seconds))
            for _ in range(100):
                done = subprocess.run(words, text=True, capture_output=True, timeout=seconds * 10 + 120)
                if done.returncode == 0:
                    return case.read(done.stdout) * 1000
                if "refused" not in done.stderr:
                    break
                time.sleep(0.05)
            sys.exit(f"impairment.py: {self.name}: {done.stderr.strip()} {done.stdout[-500:]}")
        finally:
            server.kill()
            server.wait()


def cell(arguments, number, loss, rtt, direction):
    """The figures of one row: those of the kernel, and ours."""
    lab = Lab(arguments.build)
    lab.tag = f"iob{os.getpid() % 10000}x{number}"
    try:
        sides = [PathSide(lab, name, i, arguments.shards) for i, name in enumerate(("kernel", "io-pkt"))]
        queue = max(64, round(arguments.rate * 1e6 * rtt / 1e3 / 8 / 1514))
        data, acks = ("ab", "ba") if direction == SEND else ("ba", "ab")
        figures = {"kernel": [], "io-pkt": []}
        for run in range(arguments.runs):
            for side in sides:
                side.set(f"delay={rtt / 2} rate={arguments.rate} queue={queue} {data}.loss={loss / 100} {acks}.loss=0 seed={run + 1}")
                figures[side.name].append(side.measure(direction == SEND, arguments.seconds))
        return figures["kernel"], figures["io-pkt"]
    finally:
        lab.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float, default=100, help="Mbit/s of the bottleneck")
    parser.add_argument("--loss", type=float, nargs="+", default=[0, 0.1, 1, 3], help="percent")
    parser.add_argument("--rtt", type=float, nargs="+", default=[1, 10, 50, 100], help="ms")
    parser.add_argument("--direction", choices=("send", "receive"), default=None)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="rows measured at a time: more is quicker, and noisier where the CPU is short")
    arguments = parser.parse_args()
    directions = [d for d in (SEND, RECEIVE) if not arguments.direction or arguments.direction in d]
    rows = [(loss, rtt, d) for d in directions for loss in arguments.loss for rtt in arguments.rtt]
    print(f"{arguments.rate:g} Mbit/s, CUBIC; Mbit/s as median [min..max] of {arguments.runs} interleaved runs of {arguments.seconds:g} s; "
          f"{arguments.shards} shard(s)")
    print(f"{'direction':14} {'loss %':>6} {'RTT ms':>6} {'kernel':>24} {'io-pkt':>24} {'io-pkt/kernel':>14}", flush=True)
    form = lambda v: f"{statistics.median(v):.4g} [{min(v):.4g}..{max(v):.4g}]"
    below, lock = [], threading.Lock()

    def one(item):
        number, (loss, rtt, direction) = item
        kernel, ours = cell(arguments, number, loss, rtt, direction)
        ratio = statistics.median(ours) / statistics.median(kernel)
        with lock:
            print(f"{direction:14} {loss:6g} {rtt:6g} {form(kernel):>24} {form(ours):>24} {ratio:14.3f}", flush=True)
            if ratio < 0.95:
                below.append(f"{direction}, {loss:g} %, {rtt:g} ms: {ratio:.3f}")
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(one, enumerate(rows)))
    print(f"{len(rows)} rows, {len(below)} more than 5 % below the kernel" + "".join("\n  " + line for line in below))


if __name__ == "__main__":
    main()
