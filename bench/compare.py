#!/usr/bin/python3
"""Measures io-pkt and the kernel's own stack on the same link in the same run, in turn, and prints ratios.

    compare.py BUILD_DIR [--runs N] [--seconds S] [--link tap|veth] [--shards N] [CASE ...]

Two namespaces: the peer is always the kernel. On the near side the programs run once on the kernel's stack and once on
io-pkt, A B A B, and every figure is the median of the runs with its spread. Needs root.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


class Net:
    """A case of bench_net."""

    def __init__(self, mode, extra, figure, server="peer"):
        self.mode, self.extra, self.figure, self.server = mode, extra, figure, server

    def serve(self, lab, port):
        return [lab.net, "server", port]

    def ask(self, lab, host, port, seconds):
        return [lab.net, self.mode, host, port, str(seconds), self.extra]

    def read(self, said):
        return float(re.search(rf"\b{self.figure}=([0-9.]+)", said).group(1))


class Iperf:
    """What iperf3 says that arrived. Gbit/s."""

    figure = "gbit"

    def __init__(self, *words, server="peer"):
        self.words, self.server = words, server

    def serve(self, lab, port):
        return ["iperf3", "-s", "-1", "-p", port]

    def ask(self, lab, host, port, seconds):
        return ["iperf3", "-J", "-c", host, "-p", port, "-t", str(max(1, round(seconds))), *self.words]

    def read(self, said):
        end = json.loads(said)["end"]
        if "sum_received" in end and "-u" not in self.words:
            return end["sum_received"]["bits_per_second"] / 1e9
        return end["sum"]["bits_per_second"] / 1e9 * (1 - end["sum"]["lost_percent"] / 100)


CASES = {
    "bulk-send": Net("bulk", "1", "gbit"),
    "bulk-receive": Net("sink", "1", "gbit"),
    "bulk-send-8": Net("bulk", "8", "gbit"),
    "iperf3-send": Iperf(),
    "iperf3-receive": Iperf("-R"),
    "iperf3-send-8": Iperf("-P", "8"),
    "iperf3-receive-8": Iperf("-P", "8", "-R"),
    "iperf3-udp-send": Iperf("-u", "-b", "0", "-l", "1400"),
    "rr-64": Net("rr", "64", "rate"),
    "connect-64": Net("connect", "64", "rate"),
    "serve-connect-64": Net("connect", "64", "rate", "near"),
    "serve-rr-64": Net("rr", "64", "rate", "near"),
}


def sh(*words, **kw):
    return subprocess.run(words, check=True, text=True, **kw)


class Side:
    """The near side on one of the two stacks: its own namespace, link and peer."""

    def __init__(self, lab, name, number):
        self.lab, self.name = lab, name
        self.near, self.peer = f"{lab.tag}{number}n", f"{lab.tag}{number}p"
        self.near_ip, self.peer_ip = f"10.{90 + number}.0.2", f"10.{90 + number}.0.1"
        for ns in (self.near, self.peer):
            sh("ip", "netns", "add", ns)
            lab.undo.append(("ip", "netns", "del", ns))
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        self.env = dict(os.environ)
        self.port = 5000

    def veth(self):
        sh("ip", "link", "add", "bn0", "netns", self.near, "type", "veth", "peer", "name", "bp0", "netns", self.peer)
        sh("ip", "-n", self.peer, "addr", "add", self.peer_ip + "/24", "dev", "bp0")
        sh("ip", "-n", self.peer, "link", "set", "bp0", "up")

    def kernel(self):
        self.veth()
        sh("ip", "-n", self.near, "addr", "add", self.near_ip + "/24", "dev", "bn0")
        sh("ip", "-n", self.near, "link", "set", "bn0", "up")
        return self

    def io_pkt(self, link, shards):
        build = self.lab.build
        prefix = tempfile.mkdtemp(prefix="iob")
        os.chmod(prefix, 0o755)
        self.lab.dirs.append(prefix)
        if link == "veth":
            self.veth()
            driver = ["-d", "packet", "if=bn0"]
        else:
            driver = ["-d", "tap", f"netns={self.peer},ifname=bp0,hostip={self.peer_ip}/24"]
        self.env.update(SOCK=prefix, IOPKT_RUN_DIR=prefix + "/run", IOPKT_QUIET="1")
        daemon = ["ip", "netns", "exec", self.near, build + "/sbin/io-pkt-v4-hc", "--foreground", f"-t{shards}", *driver,
                  "-p", "tcpip", f"prefix={prefix}"]
        self.lab.spawn(daemon, env=self.env)
        deadline = time.monotonic() + 30
        while subprocess.run([self.lab.tool("ifconfig"), "en0", self.near_ip + "/24"], env=self.env, stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() > deadline:
                sys.exit("compare.py: the stack did not start")
            time.sleep(0.05)
        self.env["LD_PRELOAD"] = build + "/lib/io-pkt/libiopkt-socket.so"
        return self

    def run_on(self, where, words, **kw):
        near = where == "near"
        ns = self.near if near else self.peer
        env = self.env if near else dict(os.environ)
        return ["ip", "netns", "exec", ns, "env"] + [f"{k}={env[k]}" for k in ("SOCK", "LD_PRELOAD", "IOPKT_QUIET") if k in env] + words

    def measure(self, case, seconds):
        self.port += 1
        client = "peer" if case.server == "near" else "near"
        host = self.near_ip if case.server == "near" else self.peer_ip
        serving = self.lab.spawn(self.run_on(case.server, case.serve(self.lab, str(self.port))), env=os.environ)
        try:
            words = self.run_on(client, case.ask(self.lab, host, str(self.port), seconds))
            for attempt in range(100):
                done = subprocess.run(words, text=True, capture_output=True, timeout=seconds * 10 + 60)
                if done.returncode == 0 and '"error"' not in done.stdout:  # iperf3 -J ends well whatever happened
                    return case.read(done.stdout)
                if "refused" not in done.stderr + done.stdout:
                    break
                time.sleep(0.05)
            sys.exit(f"compare.py: {self.name} {words[-8:]}: {done.stderr.strip()} {done.stdout[-500:]}")
        finally:
            serving.kill()
            serving.wait()


class Lab:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        found = [os.path.join(d, f) for d, _, files in os.walk(self.build) for f in files if f == "bench_net"]
        if not found:
            sys.exit("compare.py: bench_net is not built (scripts/build PRESET bench_net)")
        self.net = found[0]
        self.tag = f"iob{os.getpid() % 1000}"
        self.undo, self.children, self.dirs = [], [], []

    def tool(self, name):
        return f"{self.build}/lib/io-pkt/bin/{name}"

    def spawn(self, words, env):
        child = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.children.append(child)
        return child

    def close(self):
        for child in self.children:
            child.kill()
            child.wait()
        for words in reversed(self.undo):
            subprocess.run(words, stderr=subprocess.DEVNULL)
        for path in self.dirs:
            shutil.rmtree(path, ignore_errors=True)


def add_side(parser, link="veth"):
    """The words that say how io-pkt is started."""
    parser.add_argument("--link", choices=("tap", "veth"), default=link)
    parser.add_argument("--shards", type=int, default=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    add_side(parser)
    arguments = parser.parse_args()
    lab = Lab(arguments.build)
    try:
        kernel = Side(lab, "kernel", 1).kernel()
        ours = Side(lab, "io-pkt", 2).io_pkt(arguments.link, arguments.shards)
        print(f"near side: kernel over veth, io-pkt over {arguments.link}, {arguments.shards} shard(s); the peer is the kernel; "
              f"median [min..max] of {arguments.runs} interleaved runs of {arguments.seconds} s")
        print(f"{'case':18} {'kernel':>26} {'io-pkt':>26} {'io-pkt/kernel':>24}")
        for name in arguments.cases or CASES:
            case = CASES[name]
            a, b = [], []
            for _ in range(arguments.runs):
                a.append(kernel.measure(case, arguments.seconds))
                b.append(ours.measure(case, arguments.seconds))
            ratios = [y / x for x, y in zip(a, b)]
            form = lambda v: f"{statistics.median(v):.4g} [{min(v):.4g}..{max(v):.4g}]"
            print(f"{name:18} {form(a):>26} {form(b):>26} {form(ratios):>24} {case.figure}", flush=True)
    finally:
        lab.close()


if __name__ == "__main__":
    main()
