"""io-pkt-v6-hc while somebody scans and floods it (nmap, hping3) and sends what Scapy makes of a seed: a service goes on answering, a connection
loses no byte, and what it all cost is given back.

IOPKT_SCAN_SECONDS: how long each of the two runs (a few seconds); scripts/soak has ten minutes on a build with sanitizers.
IOPKT_SCAN_SEED: the seed of what Scapy sends; each run prints its own.
"""
import itertools
import os
import random
import re
import socket
import subprocess
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption, fragment
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6MLQuery, ICMPv6MLQuery2, ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS,
                                ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo, ICMPv6NDOptRDNSS, ICMPv6NDOptRouteInfo,
                                ICMPv6NDOptSrcLLAddr, ICMPv6NDOptUnknown, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6Unknown, IPv6,
                                IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, HBHOptUnknown, RouterAlert)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw, fuzz
from scapy.volatile import RandIP, RandIP6

from lab import FULL, OURS, OURS6, PEER, PEER6, PEER_INTERFACE
from namespaces import wait_until
from stack import is_built_with
from station import in_namespace

PORT, PYTHON = 7001, "/usr/bin/python3"
SECONDS = float(os.environ.get("IOPKT_SCAN_SECONDS", "5"))
# Freed memory stays with the address sanitizer for a while: its quarantine.
MORE_MEMORY = (640 if is_built_with("address") else 96) << 20

SERVICE = """
import socket, threading
def echo(client):
    try:
        while data := client.recv(65536): client.sendall(data)
    except OSError: pass
    client.close()
def datagrams():
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.bind(('::', %d))
    while True:
        # An answer that has no way is told with the next call.
        try: s.sendto(*s.recvfrom(65536))
        except OSError: pass
server = socket.create_server(('::', %d), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
threading.Thread(target=datagrams, daemon=True).start()
print('ready', flush=True)
while True:
    try: threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()
    except OSError: pass
""" % (PORT, PORT)
# One connection for the whole time; each block is another, and has to come back as it went. It ends when it is told.
TRANSFER = """
import random, select, socket, sys
blocks = random.Random(7)
s = socket.create_connection((sys.argv[1], %d), 300)
count = 0
while not select.select([sys.stdin], [], [], 0.002)[0]:
    block = blocks.randbytes(blocks.randrange(1, 40000))
    s.sendall(block)
    back = b''
    while len(back) < len(block):
        data = s.recv(65536)
        assert data, f'the connection ended after {count} blocks'
        back += data
    assert back == block, f'block {count} is another'
    count += 1
    if count == 1: print('goes', flush=True)
s.close()
print('blocks', count, flush=True)
""" % PORT
ASK = """
import socket, sys
for address in sys.argv[1:]:
    s = socket.create_connection((address, %d), 30)
    s.sendall(address.encode())
    assert s.recv(100) == address.encode()
    s.close()
    s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.2)
    for _ in range(100):
        s.sendto(b'?', (address, %d))
        try:
            if s.recv(100) == b'?': break
        except OSError: pass
    else: raise AssertionError('no datagram comes back')
    s.close()
print('answered')
""" % (PORT, PORT)

NMAP = ["nmap", "-n", "-Pn", "-sS", "-sU", "-sV", "-O", "-T5", "--max-retries", "1", "--version-intensity", "1", "--max-os-tries", "1",
        "-p", f"T:1-60,{PORT},U:1-15,{PORT}"]
# Of hping3: SYNs of all origins, other flags, datagrams, ICMP, fragments that do and do not come together, and headers that are wrong.
FLOODS = [words.split() for words in (
    f"-S -p {PORT}", "-S -p ++1", f"-S -p {PORT} --rand-source", f"-S -p {PORT} -a 10.9.0.77", f"-S -F -p {PORT}", f"-F -S -R -P -A -U -p {PORT}",
    f"-p {PORT}", "-F -p ++1", f"-R -p {PORT}", f"-A -p {PORT} -d 100", f"-X -Y -S -p {PORT}", "-2 -p ++1 -d 64",
    f"-2 -p {PORT} -d 64", "-1 -d 56", "-1 -C 17", "-1 -f -d 600", "-1 -d 5000", f"-S -f -d 200 -p {PORT}",
    f"-S -x -p {PORT} -d 100", f"-2 -g 1000 -d 100 -p {PORT}", "-0 -H 200 -d 40", "-1 --lsrr 10.9.0.1", "-1 -G", f"-S -b -p {PORT}", f"-S -O 1 -p {PORT}")]
SHARDS = [1, 2] if FULL else [2]


class Attacked:
    """A lab with a service and, over each family, a connection that goes on for the whole time."""

    def __init__(self, lab):
        self.lab, self.left = lab, []
        # What never comes together is given back before the test ends.
        lab.stack.utility("sysctl", "-w", "net.inet.ip.fragttl=1")
        self.server = lab.start_on_stack(PYTHON, "-u", "-c", SERVICE)
        wait_until(lambda: "ready" in self.server.text(), self.server.text)
        self.begun = lab.stack.drops(), lab.stack.counters()
        self.held = self.sockets()
        self.transfers = [lab.start_in_peer(PYTHON, "-u", "-c", TRANSFER, address, stdin=subprocess.PIPE) for address in (OURS, OURS6)]
        for one in self.transfers:
            wait_until(lambda: "goes" in one.text() or not one.running(), one.text)
        self.answers()
        self.memory = self.resident()

    def sockets(self):
        """And descriptors. Half-open connections have neither, and their time is another one."""
        self.left = [s for s in self.lab.stack.sockets() if s["state"] != "SYN_RECEIVED"]
        return len(self.left), self.lab.stack.descriptors()

    def resident(self):
        with open(f"/proc/{self.lab.stack.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) << 10

    def answers(self):
        """New connections and datagrams of both families go through."""
        assert "Traceback" not in self.server.text(), self.server.text()
        assert self.lab.run(False, PYTHON, "-c", ASK, OURS, OURS6) == "answered\n"
        assert all(one.running() for one in self.transfers), [one.text() for one in self.transfers]

    def grown(self):
        """By name: drops, and all counters."""
        return [{name: value - before.get(name, 0) for name, value in now.items() if value > before.get(name, 0)}
                for before, now in zip(self.begun, (self.lab.stack.drops(), self.lab.stack.counters()))]

    def is_as_before(self):
        """The connections have lost nothing, what was used is given back, and no sanitizer has spoken."""
        self.answers()
        blocks = []
        for one in self.transfers:
            one.process.stdin.close()
            blocks.append(int(re.search(r"blocks (\d+)", one.wait())[1]))
        stack = self.lab.stack
        wait_until(lambda: all(now <= then for now, then in zip(self.sockets(), self.held)), lambda: f"{self.held} sockets and descriptors, now {self.sockets()}: {self.left}")

        def used():
            return {kind: stack.json("netstat", "-m")[kind]["in_use"] for kind in ("mbufs", "clusters", "tags")}
        wait_until(lambda: set(used().values()) == {0}, lambda: f"all buffers back: {used()}", 120)
        memory = self.resident()
        print(f"connections: {blocks} blocks; memory: {self.memory >> 20} MB before, {memory >> 20} MB after")
        assert memory - self.memory < MORE_MEMORY
        assert not re.search("AddressSanitizer|LeakSanitizer|runtime error|ThreadSanitizer", stack.log()), stack.log()


@pytest.fixture(params=SHARDS, ids=map(str, SHARDS))
def attacked(own_lab, request):
    return Attacked(own_lab("tap", request.param, "inet6"))


# ---- nmap and hping3


def flood(lab, kinds, count):
    """So many packets of each kind at once, each 10,000 a second at the most."""
    programs = [lab.start_in_peer("hping3", OURS, "-I", PEER_INTERFACE, "-q", "-n", "-c", count, "-i", "u100", *words) for words in kinds]
    for program in programs:
        program.wait(None, limit=300)
        # Its last words are the sign that all were sent; now and then hping3 dies of a bug of its own behind them.
        assert "hping statistic" in program.text(), program.text()


def scan(lab, address):
    return lab.start_in_peer(*NMAP, *(["-6"] if ":" in address else []), address)


def test_scanned_and_flooded(attacked):
    """All floods at least once with scans going on, whose answers they eat, until the time is over; then the same scans in peace, which end."""
    lab, end = attacked.lab, time.monotonic() + SECONDS
    scans = {address: scan(lab, address) for address in (OURS, OURS6)}
    for round in itertools.count(1):
        for begin in range(0, len(FLOODS), 6):
            flood(lab, FLOODS[begin:begin + 6], 1000)
            assert lab.stack.running(), lab.stack.log()
            attacked.answers()
        for address in scans:
            if not scans[address].running():
                scans[address] = scan(lab, address)
        if time.monotonic() >= end:
            break
    for one in scans.values():
        one.kill()
    for one in [scan(lab, address) for address in scans]:
        said = one.wait(limit=300)
        assert re.search(rf"^{PORT}/tcp +open", said, re.M) and "1 host up" in said, said
    drops, counters = attacked.grown()
    print(f"rounds: {round}; dropped: {drops}")
    expected = {"tcp_no_socket", "udp_no_socket", "icmp_rate_limited", "ip_unknown_protocol", "tcp_no_syn_in_listen", "tcp_bad_checksum", "ip_source_route",
                "ip_fragment_limit", "tcp_truncated"}
    assert expected <= set(drops), f"not counted: {expected - set(drops)}"
    attacked.is_as_before()


# ---- Scapy


def addresses(four):
    """Of the sender and of us: usually such as exist."""
    if four:
        return random.choice([PEER, "10.9.0.77", "10.9.0.78", str(RandIP())]), random.choice([OURS] * 12 + ["10.9.0.255", "224.0.0.1", str(RandIP())])
    source = random.choice([PEER6, "fd09::77", "fe80::77", "::", str(RandIP6())])
    return source, random.choice([OURS6] * 12 + ["ff02::1", "ff02::16", "ff02::1:ff00:2", str(RandIP6())])


def options6():
    return [fuzz(HBHOptUnknown(otype=random.randrange(256), optdata=random.randbytes(random.randrange(9)))) for _ in range(random.randrange(4))] + [RouterAlert()]


def typed(kind):
    """What it is stays; all else is at random, the code not so often."""
    fields = {"code": random.choice((0, 0, 0, 1))} if hasattr(kind(), "code") else {}
    return fuzz(kind(type=kind().type, **fields))


def neighbour_options():
    """Of random values, and now and then of a random kind and length."""
    out = Raw(b"")
    for _ in range(random.randrange(4)):
        kind = random.choice((ICMPv6NDOptSrcLLAddr, ICMPv6NDOptPrefixInfo, ICMPv6NDOptMTU, ICMPv6NDOptRouteInfo, ICMPv6NDOptRDNSS, ICMPv6NDOptUnknown))
        out = out / fuzz(kind() if random.random() < 0.2 else kind(type=kind().type, len=kind().len))
    return out


def upper4():
    data = Raw(random.randbytes(random.choice((0, 1, 8, 100, 1000))))
    return random.choice((lambda: fuzz(TCP(dport=random.choice((PORT, 9)))) / data, lambda: fuzz(UDP(dport=random.choice((PORT, 9)))) / data,
                          lambda: fuzz(ICMP()) / data, lambda: fuzz(ICMP(type=random.choice((3, 4, 5, 11, 12)))) / IP(src=OURS, dst=PEER) / fuzz(TCP()),
                          lambda: data))()


def discovery():
    message = typed(random.choice((ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RA, ICMPv6ND_Redirect)))
    if random.random() < 0.3 and hasattr(message, "tgt"):
        message.tgt = random.choice((OURS6, "fd09::77", "fe80::77"))
    return message / neighbour_options()


def upper6():
    data = Raw(random.randbytes(random.choice((0, 1, 8, 100, 1000))))
    about = IPv6(src=OURS6, dst=PEER6) / fuzz(TCP())
    return random.choice((lambda: fuzz(TCP(dport=random.choice((PORT, 9)))) / data, lambda: fuzz(UDP(dport=random.choice((PORT, 9)))) / data,
                          lambda: typed(ICMPv6EchoRequest) / data, lambda: typed(random.choice((ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6ParamProblem))) / about,
                          discovery, discovery, discovery, lambda: typed(random.choice((ICMPv6MLQuery, ICMPv6MLQuery2, ICMPv6MLReport2))), lambda: fuzz(ICMPv6Unknown()) / data,
                          lambda: data))()


def option4():
    return IPOption(copy_flag=random.randrange(2), optclass=random.randrange(4), option=random.randrange(32), length=random.choice((0, 1, 3, 7, 11, 255)),
                    value=random.randbytes(random.randrange(9)))


def packet4():
    source, to = addresses(True)
    ip = IP(src=source, dst=to, options=random.choice(([], [], [option4()])))
    if random.random() < 0.3:
        ip = fuzz(IP(src=source, dst=to, version=4, options=[]))
    packets = [ip / upper4()]
    if random.random() < 0.2:
        packets = fragment(packets[0], fragsize=random.choice((8, 64, 400)))
        random.shuffle(packets)
    return packets


def packet6():
    source, to = addresses(False)
    packet = IPv6(src=source, dst=to, hlim=random.choice((255, 255, 1, 64)), tc=random.randrange(256), fl=random.randrange(1 << 20))
    for _ in range(random.choice((0, 0, 0, 1, 2, 5))):
        packet = packet / random.choice((lambda: IPv6ExtHdrHopByHop(options=options6()), lambda: IPv6ExtHdrDestOpt(options=options6()),
                                         lambda: IPv6ExtHdrFragment(offset=random.choice((0, 0, 1, 8191)), m=random.randrange(2), id=random.randrange(9)),
                                         lambda: IPv6ExtHdrRouting(type=random.randrange(6), segleft=random.randrange(3), addresses=["fd09::5"])))()
    return [packet / upper6()]


def mutated(data):
    """A few bytes of it are others, or it ends early; checksums stay as they were."""
    data = bytearray(data)
    for _ in range(random.randrange(1, 6)):
        data[random.randrange(len(data))] = random.randrange(256)
    return bytes(data[:random.choice((len(data), len(data), random.randrange(15, len(data) + 1)))])


def frames(mac):
    """Without end: some packets of Scapy's, each also mutated."""
    while True:
        kind = random.randrange(11)
        if kind == 0:
            made = [fuzz(ARP(hwlen=6, plen=4, pdst=random.choice((OURS, str(RandIP())))))]
        else:
            made = packet4() if kind < 5 else packet6()
        for packet in made:
            try:
                data = bytes(Ether(src=f"02:00:00:00:00:{random.randrange(256):02x}", dst=random.choice((mac,) * 9 + ("ff:ff:ff:ff:ff:ff",))) / packet)
            except ValueError:
                continue  # a length that no field of Scapy's holds
            yield data[:1514]
            for _ in range(3):
                yield data[:12] + mutated(data[12:1514])


def test_fuzzed(attacked):
    """Packets that have all their fields from a random generator, whole and broken, from the same link."""
    lab, end = attacked.lab, time.monotonic() + SECONDS
    seed = int(os.environ.get("IOPKT_SCAN_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"IOPKT_SCAN_SEED={seed}")
    random.seed(seed)
    with in_namespace(lab.peer):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind((PEER_INTERFACE, 0))
    sent, next_look = 0, time.monotonic()
    for frame in frames(lab.stack.interface("en0")["mac"]):
        wire.send(frame)
        sent += 1
        if time.monotonic() >= next_look:
            attacked.answers()
            assert lab.stack.running(), lab.stack.log()
            next_look = time.monotonic() + max(1, SECONDS / 60)
        if time.monotonic() >= end:
            break
    wire.close()
    drops, counters = attacked.grown()
    print(f"packets: {sent}; dropped: {drops}")
    expected = {"ip_bad_checksum", "tcp_bad_checksum", "udp_bad_checksum", "icmp_bad_checksum", "ip_unknown_protocol", "ip_truncated", "link_unknown_type",
                "arp_malformed", "ip6_unknown_option", "ip6_bad_extension", "nd_malformed"}
    assert expected <= set(drops), f"not counted: {expected - set(drops)}"
    attacked.is_as_before()
