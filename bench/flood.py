#!/usr/bin/python3
"""What a flood of SYNs leaves of a transfer and of new connections, on io-pkt and on the kernel's stack in turn.

    flood.py BUILD_DIR [--runs N] [--seconds S] [--link tap|veth] [--shards N] [--rates R,R,...]

A listener on the near side gets SYNs from ever new addresses (bench_flood); rate 0 is as fast as one core sends. Meanwhile
`bulk` is what the near side sends to its peer, `sink` what it receives, `new` how many new connections per second the very
listener that is flooded completes for its peer. Each figure is the share of what was measured without a flood, in the same
run; median [min..max]. The flood takes its part of the machine's cores from both stacks alike. Needs root.
"""

import argparse
import os
import re
import statistics
import subprocess

import compare

WHAT = {"bulk": compare.CASES["bulk-send"], "sink": compare.CASES["bulk-receive"], "new": compare.CASES["serve-connect-64"]}


class Flood:
    def __init__(self, side, port, seconds, rate):
        lab = side.lab
        mac = subprocess.run(side.run_on("near", [lab.tool("ifconfig"), "en0"]) if side.name == "io-pkt" else
                             ["ip", "-n", side.near, "link", "show", "bn0"], text=True, capture_output=True, check=True).stdout
        mac = re.search(r"(?:address:|link/ether) (\S+)", mac).group(1)
        words = ["ip", "netns", "exec", side.peer, os.path.join(os.path.dirname(lab.net), "bench_flood"), "bp0", mac, side.near_ip,
                 str(port), str(seconds), str(rate)]
        self.process = subprocess.Popen(words, text=True, stdout=subprocess.PIPE)

    def end(self):
        self.process.terminate()
        self.process.wait()


def measure(side, seconds, rate):
    """Figures by name while a flood of `rate` goes on; rate None: none does."""
    answer = {}
    for name, case in WHAT.items():
        flooded = side.lab.spawn(side.run_on("near", [side.lab.net, "server", "4999"]), env=os.environ)
        # `new` measures the listener that is flooded: the port that the measurement takes next.
        port = side.port + 1 if name == "new" else 4999
        flood = Flood(side, port, 10 * seconds + 60, rate) if rate is not None else None
        try:
            answer[name] = side.measure(case, seconds)
        except subprocess.TimeoutExpired:
            answer[name] = 0.0  # nothing got through
        finally:
            if flood:
                flood.end()
            flooded.kill()
            flooded.wait()
    return answer


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    compare.add_side(parser)
    parser.add_argument("--rates", default="50000,0")
    arguments = parser.parse_args()
    rates = [int(r) for r in arguments.rates.split(",")]
    lab = compare.Lab(arguments.build)
    try:
        sides = [compare.Side(lab, "kernel", 1).kernel(), compare.Side(lab, "io-pkt", 2).io_pkt(arguments.link, arguments.shards)]
        for side in sides:  # the way to those who never answer
            subprocess.run(side.run_on("near", [lab.tool("route"), "add", "default", side.peer_ip]) if side.name == "io-pkt" else
                           ["ip", "-n", side.near, "route", "add", "default", "via", side.peer_ip], check=True)
        shares = {}
        for _ in range(arguments.runs):
            for side in sides:
                quiet = measure(side, arguments.seconds, None)
                for rate in rates:
                    for name, figure in measure(side, arguments.seconds, rate).items():
                        shares.setdefault((rate, name, side.name), []).append((figure / quiet[name], figure))
        print(f"{'SYNs/s':>8} {'what':5} {'stack':7} {'share of the figure without a flood':>36}  figure")
        for (rate, name, stack), seen in sorted(shares.items(), key=lambda row: (row[0][0] or 10**9, row[0][1], row[0][2])):
            share = [s for s, _ in seen]
            print(f"{rate or 'all':>8} {name:5} {stack:7} {statistics.median(share):>22.3f} [{min(share):.3f}..{max(share):.3f}]  "
                  f"{statistics.median([f for _, f in seen]):.4g} {WHAT[name].figure}")
    finally:
        lab.close()


main()
