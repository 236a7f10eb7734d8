"""A station that Scapy speaks for, on a wire whose other end is a stack: ours through devnp-packet, or the kernel's.

The wire is a TAP without any offload: what comes out of it are frames as a wire carries them, and what is written arrives in order.
"""
import contextlib
import ctypes
import fcntl
import ipaddress
import json
import os
import select
import struct
import time

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RS,
                                ICMPv6NDOptDstLLAddr, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6,
                                IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, in6_chksum)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from lab import OURS, OURS6, Lab
from namespaces import LIMIT, Namespace

INTERFACE = "wire0"
STATION, STATION6 = "10.9.0.100", "fd09::100"
STATION_MAC = "02:00:00:00:01:00"
FENCE, FENCE6, FENCE_MAC = "10.9.0.99", "fd09:0:0:0:ffff::99", "02:00:00:00:00:99"
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
IPV6_ERRORS = (ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, ICMPv6ParamProblem)
_libc = ctypes.CDLL(None, use_errno=True)


def solicited_node(address):
    """RFC 4291 section 2.7.1."""
    return str(ipaddress.ip_address(int(ipaddress.ip_address("ff02::1:ff00:0")) | int(ipaddress.ip_address(address)) & 0xFFFFFF))


@contextlib.contextmanager
def in_namespace(namespace):
    """This thread is in that network namespace; sockets that it makes stay there."""
    with open("/proc/thread-self/ns/net") as own, open(namespace.path) as there:
        if _libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns: {namespace.name}")
        try:
            yield
        finally:
            _libc.setns(own.fileno(), CLONE_NEWNET)


def open_tap(namespace, name):
    """A descriptor of a new TAP in that namespace."""
    with in_namespace(namespace):
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


class Station:
    """`addresses`: those it answers for, with their MACs; the table may be changed at any time."""

    def __init__(self, namespace, name=INTERFACE):
        self.tap = open_tap(namespace, name)
        namespace.run(["ip", "link", "set", name, "txqueuelen", "10000", "up"])
        self.peer_mac = json.loads(namespace.run(["ip", "-j", "link", "show", name]))[0]["address"]
        self.addresses = {STATION: STATION_MAC, STATION6: STATION_MAC, FENCE: FENCE_MAC, FENCE6: FENCE_MAC}
        self.fences = 0
        self.frames = []  # what came and nobody has taken yet

    def close(self):
        os.close(self.tap)

    # ---- sending

    def frame(self, packet, mac=None, to=None):
        """An IP packet of Scapy's, or of bytes, in a frame to the stack; a group's address has the group's MAC."""
        if Ether in packet if not isinstance(packet, bytes) else False:
            return bytes(packet)
        data = bytes(packet)
        six = data[0] >> 4 == 6 if data else True
        if to is None:
            to = self.peer_mac
            if six and data[24:25] == b"\xff":
                to = "33:33:" + ":".join(f"{b:02x}" for b in data[36:40])
        mac = mac or STATION_MAC
        return b"".join(bytes.fromhex(m.replace(":", "")) for m in (to, mac)) + (b"\x86\xdd" if six else b"\x08\x00") + data

    def send(self, *packets, **how):
        for packet in packets:
            self.send_frame(self.frame(packet, **how))

    def send_frame(self, frame):
        os.write(self.tap, frame)

    # ---- receiving

    def _read(self, limit):
        """The next frame, decoded, or None. Questions for our addresses are answered on the way and seen all the same."""
        if not select.select([self.tap], [], [], max(0, limit))[0]:
            return None
        data = os.read(self.tap, 65536)
        if data[12:14] == b"\x08\x00":
            data = data[:14 + int.from_bytes(data[16:18], "big")]  # a short frame is padded
        frame = Ether(data)
        if IPv6 in frame and isinstance(frame[IPv6].payload, ICMPv6ND_NS) and frame[ICMPv6ND_NS].tgt in self.addresses and frame[IPv6].src != "::":
            target, asker = frame[ICMPv6ND_NS].tgt, frame[IPv6].src
            mac = self.addresses[target]
            self.send(IPv6(src=target, dst=asker, hlim=255) / ICMPv6ND_NA(tgt=target, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac), mac=mac)
        elif ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst in self.addresses:
            mac = self.addresses[frame[ARP].pdst]
            self.send_frame(bytes(Ether(src=mac, dst=frame.src) / ARP(op=2, hwsrc=mac, psrc=frame[ARP].pdst, hwdst=frame.src, pdst=frame[ARP].psrc)))
        return frame

    def wait(self, wanted, limit=LIMIT, what=""):
        """The first frame for which wanted(frame) is true, and drops those before it."""
        end = time.monotonic() + limit
        while True:
            frame = self.frames.pop(0) if self.frames else self._read(end - time.monotonic())
            if frame is not None and wanted(frame):
                return frame
            assert time.monotonic() < end, f"waited {limit} s for {what or wanted}"

    def fence(self, four=False):
        """An echo request and what came before its reply: one by one the stack has seen to all that was sent before it."""
        self.fences = self.fences % 65535 + 1
        if four:
            question = IP(src=FENCE, dst=OURS) / ICMP(id=0xFE, seq=self.fences)
        else:
            question = IPv6(src=FENCE6, dst=OURS6) / ICMPv6EchoRequest(id=0xFE, seq=self.fences)
        self.send(question, mac=FENCE_MAC)
        before, self.frames = self.frames, []
        end = time.monotonic() + LIMIT
        while True:
            frame = self._read(end - time.monotonic())
            if frame is None:
                raise AssertionError(f"the stack does not answer; it sent {[f.summary() for f in before]}")
            reply = frame.getlayer(ICMP) if four else frame.getlayer(ICMPv6EchoReply)
            if reply is not None and reply.id == 0xFE and reply.type in (0, 129):
                if reply.seq == self.fences:
                    return before
                continue
            before.append(frame)

    def ask(self, *packets, four=False, noise=False, **how):
        """What the stack answers to these, without what it says of its own accord. Output and timers may come behind the packets of a
        turn: the second fence is of a later one."""
        self.fence(four)
        self.send(*packets, **how)
        return [frame for frame in self.fence(four) + self.fence(four) if noise or not is_noise(frame)]


def is_noise(frame):
    """What a stack says at any time: questions for neighbours and routers, reports of groups."""
    if ARP in frame:
        return frame[ARP].op == 1
    if IPv6 in frame:
        return isinstance(frame[IPv6].payload, (ICMPv6ND_NS, ICMPv6ND_RS, IPv6ExtHdrHopByHop))
    return IP in frame and frame[IP].proto == 2


def checksum_is_right(frame):
    """Of ICMPv6, computed by Scapy from what came."""
    ip = frame[IPv6]
    if ip.nh != 58:
        return True
    return in6_chksum(58, ip, bytes(ip.payload)) == 0


def describe(frame):
    """An answer in a few words, without what is chosen at random."""
    if IPv6 in frame and isinstance(frame[IPv6].payload, ICMPv6ND_NA):
        na = frame[ICMPv6ND_NA]
        link = "" if ICMPv6NDOptDstLLAddr not in frame else " with its MAC"
        return f"na {na.tgt} to {frame[IPv6].dst} R{na.R} S{na.S} O{na.O}{link}"
    for kind, text in ((ICMPv6EchoReply, "echo reply"), (ICMPv6DestUnreach, "unreachable {m.code}"), (ICMPv6PacketTooBig, "too big {m.mtu}"),
                       (ICMPv6TimeExceeded, "time exceeded {m.code}"), (ICMPv6ParamProblem, "problem {m.code} at {m.ptr}")):
        if kind in frame and isinstance(frame[IPv6].payload, kind):
            return text.format(m=frame[kind])
    if IPv6 in frame and IPv6ExtHdrFragment in frame:
        return "fragment"
    return frame.summary()


class StationLab(Lab):
    """A stack of ours, of both families, whose only neighbour is `station`."""

    def __init__(self, shards=1, options=()):
        super().__init__("station", shards, "inet6", options)
        self.station = None

    def driver(self):
        return ["-d", "packet", f"netns={self.wire.name},if={INTERFACE}"]

    def start_stack(self):
        if self.station is None:
            self.station = Station(self.wire)
        super().start_stack()
        for address in (STATION6, FENCE6):
            self.stack.utility("ndp", "-s", address, self.station.addresses[address])
        for address in (STATION, FENCE):
            self.stack.utility("arp", "-s", address, self.station.addresses[address])
        return self.stack

    def _give_peer_inet6(self):
        pass  # the peer is the station

    def close(self, check=True):
        super().close(check)
        if self.station is not None:
            self.station.close()


class KernelLab:
    """The kernel's stack in the same place: its interface has the same addresses."""

    def __init__(self):
        self.namespace = Namespace("ke")
        try:
            self.station = Station(self.namespace, "en0")
            self.namespace.run(["ip", "link", "set", "lo", "up"])
            for setting in ("conf/en0/accept_dad=0", "conf/en0/disable_ipv6=0", "icmp/ratelimit=0"):
                self.set("ipv6/" + setting)
            for setting in ("icmp_ratelimit=0", "icmp_msgs_per_sec=100000", "icmp_msgs_burst=100000"):
                self.set("ipv4/" + setting)
            self.namespace.run(["ip", "address", "add", f"{OURS}/24", "dev", "en0"])
            self.namespace.run(["ip", "address", "add", f"{OURS6}/64", "dev", "en0", "nodad"])
            for address in (STATION, FENCE, STATION6, FENCE6):
                self.namespace.run(["ip", "neighbour", "replace", address, "lladdr", self.station.addresses[address], "dev", "en0", "nud", "permanent"])
        except BaseException:
            self.namespace.delete()
            raise

    def set(self, setting):
        name, value = setting.split("=")
        self.namespace.run(["sh", "-c", f"echo {value} > /proc/sys/net/{name}"])

    def close(self):
        self.namespace.delete()
        self.station.close()
