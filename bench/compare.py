#!/usr/bin/python3
"""Measures io-pkt and the kernel's own stack on the same link in the same run, in turn, and prints ratios.

    compare.py BUILD_DIR [--runs N] [--seconds S] [--link tap|veth] [--shards N] [CASE ...]

Two namespaces: the peer is always the kernel. On the near side the programs run once on the kernel's stack and once on
io-pkt, A B A B, and every figure is the median of the runs with its spread. Needs root.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

CASES = {
    # name: (mode, extra argument, key of the figure, who serves)
    "bulk-send": ("bulk", "1", "gbit", "peer"),
    "bulk-receive": ("sink", "1", "gbit", "peer"),
    "bulk-send-8": ("bulk", "8", "gbit", "peer"),
    "rr-64": ("rr", "64", "rate", "peer"),
    "connect-64": ("connect", "64", "rate", "peer"),
    "serve-connect-64": ("connect", "64", "rate", "near"),
    "serve-rr-64": ("rr", "64", "rate", "near"),
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
            driver = ["-d", "tap", f"netns={self.peer},hostip={self.peer_ip}/24"]
        self.env.update(SOCK=prefix, IOPKT_RUN_DIR=prefix + "/run", IOPKT_QUIET="1")
        daemon = ["ip", "netns", "exec", self.near, build + "/sbin/io-pkt-v4-hc", "--foreground", f"-t{shards}", *driver,
                  "-p", "tcpip", f"prefix={prefix}"]
        self.lab.spawn(daemon, env=self.env)
        tool = build + "/lib/io-pkt/bin/"
        deadline = time.monotonic() + 30
        while subprocess.run([tool + "ifconfig", "en0", self.near_ip + "/24"], env=self.env, stderr=subprocess.DEVNULL).returncode:
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

    def measure(self, mode, extra, key, server, seconds):
        net = self.lab.net
        self.port += 1
        client = "peer" if server == "near" else "near"
        host = self.near_ip if server == "near" else self.peer_ip
        serving = self.lab.spawn(self.run_on(server, [net, "server", str(self.port)]), env=os.environ)
        try:
            words = self.run_on(client, [net, mode, host, str(self.port), str(seconds), extra])
            for attempt in range(100):
                done = subprocess.run(words, text=True, capture_output=True, timeout=seconds * 10 + 60)
                if done.returncode == 0:
                    return float(re.search(rf"\b{key}=([0-9.]+)", done.stdout).group(1))
                if "refused" not in done.stderr:
                    break
                time.sleep(0.05)
            sys.exit(f"compare.py: {self.name} {mode}: {done.stderr.strip()}")
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--link", choices=("tap", "veth"), default="veth")
    parser.add_argument("--shards", type=int, default=1)
    arguments = parser.parse_args()
    lab = Lab(arguments.build)
    try:
        kernel = Side(lab, "kernel", 1).kernel()
        ours = Side(lab, "io-pkt", 2).io_pkt(arguments.link, arguments.shards)
        print(f"near side: kernel over veth, io-pkt over {arguments.link}, {arguments.shards} shard(s); the peer is the kernel; "
              f"median [min..max] of {arguments.runs} interleaved runs of {arguments.seconds} s")
        print(f"{'case':18} {'kernel':>26} {'io-pkt':>26} {'io-pkt/kernel':>24}")
        for name in arguments.cases or CASES:
            mode, extra, key, server = CASES[name]
            a, b = [], []
            for _ in range(arguments.runs):
                a.append(kernel.measure(mode, extra, key, server, arguments.seconds))
                b.append(ours.measure(mode, extra, key, server, arguments.seconds))
            ratios = [y / x for x, y in zip(a, b)]
            form = lambda v: f"{statistics.median(v):.4g} [{min(v):.4g}..{max(v):.4g}]"
            print(f"{name:18} {form(a):>26} {form(b):>26} {form(ratios):>24} {key}", flush=True)
    finally:
        lab.close()


main()
