#!/usr/bin/python3
"""Opens many connections to one instance of io-pkt, keeps them all, asks each once more, and prints what one costs in memory.

    many.py BUILD_DIR [--connections N] [--groups N] [--link tap|veth] [--shards N]

Each group is a client process of its own and an address and process of the peer's. Needs root; raises the limit of descriptors
(RLIMIT_NOFILE) as far as it may: where that is too little, scripts/vm runs it in a virtual machine.
"""

import argparse
import os
import pathlib
import re
import resource
import select
import subprocess
import sys

import compare

PORT = 4998


def serve(address):
    import socket
    with socket.create_server((address, PORT), backlog=4096) as listener:
        poll = select.epoll()
        poll.register(listener, select.EPOLLIN)
        kept = {}
        print("listening", flush=True)
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    one, _ = listener.accept()
                    kept[one.fileno()] = one
                    poll.register(one, select.EPOLLIN)
                elif byte := kept[fd].recv(1):
                    kept[fd].send(byte)
                else:
                    poll.unregister(fd)
                    kept.pop(fd).close()


def hold(address, count):
    import socket
    kept = [socket.create_connection((address, PORT)) for _ in range(count)]
    print("connected", flush=True)
    for line in sys.stdin:
        for one in kept:
            one.send(b"x")
        for one in kept:
            assert one.recv(1) == b"x"
        print("asked", flush=True)


def memory(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}


def slab():
    return int(re.search(r"^Slab:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M).group(1))


def raise_limit(most):
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, max(most, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    except (OSError, ValueError):
        sys.exit(f"many.py: RLIMIT_NOFILE {resource.getrlimit(resource.RLIMIT_NOFILE)[1]} may not be raised to {most}; scripts/vm can")


def measure(arguments, lab):
    side = compare.Side(lab, "io-pkt", 2).io_pkt(arguments.link, arguments.shards)
    stack = lab.children[-1].pid
    for sysctl in ("net.core.somaxconn=8192", "net.ipv4.tcp_max_syn_backlog=8192"):
        subprocess.run(["ip", "netns", "exec", side.peer, "sysctl", "-qw", sysctl], check=True)
    pipes = {"text": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    def start(where, *words):
        child = subprocess.Popen(side.run_on(where, ["/usr/bin/python3", __file__, *map(str, words)]), **pipes)
        lab.children.append(child)
        return child

    def expect(children, word):
        for child in children:
            if child.stdout.readline().strip() != word:
                sys.exit(f"many.py: a process ended before it was {word}")

    servers = []
    for group in range(arguments.groups):
        address = f"10.92.0.{100 + group}"
        compare.sh("ip", "-n", side.peer, "addr", "add", address + "/24", "dev", "bp0")
        servers.append((address, start("peer", "--serve", address)))
    expect([server for _, server in servers], "listening")
    before, slab_before = memory(stack), slab()
    count = arguments.connections // arguments.groups * arguments.groups

    def own_and_shared(after):
        per = lambda name: (after[name] - before[name]) * 1024 / count
        return f"the stack's own {per('Private_Dirty'):.0f} bytes, with shared memory that is touched {per('Rss'):.0f}"

    clients = [start("near", "--hold", address, arguments.connections // arguments.groups) for address, _ in servers]
    expect(clients, "connected")
    slab_after = slab()
    idle = memory(stack)
    said = subprocess.run(side.run_on("near", [lab.tool("netstat"), "-f", "inet", "-n"]), text=True, capture_output=True, check=True).stdout
    print(f"{said.count('ESTABLISHED')} connections of {len(clients)} client processes are established with {len(servers)} peers", flush=True)
    print(f"memory of one idle connection: {own_and_shared(idle)}; the kernel's slabs of the whole machine, with the peer's sockets "
          f"{(slab_after - slab_before) * 1024 / count:.0f}", flush=True)
    for client in clients:
        client.stdin.write("ask\n")
        client.stdin.flush()
    expect(clients, "asked")
    print(f"each of the {count} was asked and answered; then, with what the burst has left in pools and a page of each ring: "
          f"{own_and_shared(memory(stack))}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=10)
    compare.add_side(parser, link="tap")
    arguments = parser.parse_args()
    raise_limit(arguments.connections + arguments.connections // 10 + 1024)
    lab = compare.Lab(arguments.build)
    try:
        measure(arguments, lab)
    finally:
        lab.close()


if sys.argv[1:2] == ["--serve"]:
    serve(sys.argv[2])
elif sys.argv[1:2] == ["--hold"]:
    hold(sys.argv[2], int(sys.argv[3]))
else:
    main()
