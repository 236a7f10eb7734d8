"""Two stacks in the same place, ours and the kernel's: what each answers to the same packets and calls, in words that leave out what is chosen
at random (sequence numbers, identifiers, timestamps)."""
import os
import re
import select
import subprocess
import time

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6, _ICMPv6Error
from scapy.layers.l2 import ARP
from scapy.packet import Raw

from lab import OURS, OURS6
from namespaces import LIMIT
from station import STATION, STATION6, KernelLab, StationLab, describe, is_noise

PYTHON = "/usr/bin/python3"
OPEN, CLOSED = 7000, 7999
FLAGS = "FSRPAUEC"

# Carries out calls that come line by line, each an expression of Python, and says what they gave.
PLAYER = r"""
import errno, select, socket, struct, sys
from socket import *
s = {}
def new(name, kind=SOCK_STREAM, family=AF_INET):
    s[name] = socket(family, kind)
    s[name].setblocking(False)
def accept(name, to):
    s[to], who = s[name].accept()
    s[to].setblocking(False)
    return who[0]
def wait(name, *wanted):
    'What poll() says once one of these is there.'
    names = {'IN': 1, 'PRI': 2, 'OUT': 4, 'ERR': 8, 'HUP': 16, 'RDHUP': 0x2000}
    poll = select.poll()
    poll.register(s[name], sum(names[w] for w in wanted))
    poll.poll(3000)
    poll.modify(s[name], sum(names.values()))
    got = poll.poll(0)
    said = ' '.join(sorted(n for n in names if got and got[0][1] & names[n]))
    return said if set(said.split()) & set(wanted) else 'not ' + ' '.join(wanted) + ' but ' + said
def tried(text):
    try: return repr(eval(text))
    except OSError as fault: return errno.errorcode.get(fault.errno, str(fault))
print('ready', flush=True)
for line in sys.stdin: print(tried(line), flush=True)
"""


class Side:
    """One of the two: its station, and a program whose calls are told."""

    def __init__(self, name):
        self.name = name
        self.lab = StationLab() if name == "io-pkt" else KernelLab()
        if name == "io-pkt":
            self.lab.__enter__()
            for setting in ("net.inet.icmp.errppslimit=1000000", "net.inet.icmp.errburst=65536"):
                self.lab.stack.utility("sysctl", "-w", setting)
        self.station = self.lab.station
        self.players = []
        self.player()

    def player(self):
        """A new program on this side."""
        command, more = [PYTHON, "-u", "-c", PLAYER], {}
        if self.name == "io-pkt":
            command, more = self.lab.stack.command_on(command), {"env": self.lab.stack.environment(preload=False)}
        else:
            command = self.lab.namespace.command(command)
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)
        self.players.append(self.program)
        assert self.program.stdout.readline() == "ready\n"

    def call(self, text):
        self.program.stdin.write(text + "\n")
        self.program.stdin.flush()
        assert select.select([self.program.stdout], [], [], LIMIT)[0], f"{self.name} hangs in {text}"
        return self.program.stdout.readline().strip()

    def end_program(self):
        self.program.stdin.close()
        self.program.wait(LIMIT)
        self.players.remove(self.program)

    def close(self):
        for program in self.players:
            program.kill()
            program.wait()
        if self.name == "io-pkt":
            self.lab.__exit__(None)
        else:
            self.lab.close()


# ---- words


def tcp_options(tcp):
    """Kinds in their order, with values that do not depend on chance. Padding counts."""
    words = []
    for kind, value in tcp.options:
        if kind == "MSS":
            words.append(f"mss {value}")
        elif kind == "Timestamp":
            words.append(f"ts {'echo ' + str(value[1]) if value[1] else ''}".strip())
        elif kind == "WScale":
            words.append("ws")
        else:
            words.append(str(kind).lower())
    return "[" + ", ".join(words) + "]"


def tcp_words(tcp, isn=None, peer_isn=None):
    """Relative to the two initial sequence numbers, where there are some."""
    size = len(bytes(tcp.payload))
    flags = "".join(f for f in FLAGS if f in str(tcp.flags)) or "none"
    seq = "isn" if "S" in flags else "0" if tcp.seq == 0 else "n" if isn is None else str((tcp.seq - isn) % 2**32)
    ack = "" if "A" not in flags else f" ack {(tcp.ack - peer_isn) % 2**32}"
    more = (f" data {size}" if size else "") + (" window 0" if tcp.window == 0 and "R" not in flags else "")
    options = tcp_options(tcp) if "S" in flags else ""
    return f"{flags} seq {seq}{ack}{more}{options and ' ' + options}"


ICMP_NAMES = {0: "echo reply", 3: "unreachable", 5: "redirect", 11: "time exceeded", 12: "problem", 14: "timestamp reply", 18: "mask reply"}


def icmp_words(frame, sent):
    message = frame[ICMP]
    words = ICMP_NAMES.get(message.type, f"type {message.type}")
    if message.type in (3, 11, 12):
        quote = bytes(message.payload)
        words += f" {message.code}" + (f" at {message.ptr}" if message.type == 12 else "") + f" of {len(quote)} bytes"
        words += "" if any(is_quote(quote, packet) for packet in sent) else ", changed"
    elif message.type == 0:
        words += f" of {len(bytes(message)) - 8} bytes"
    options = [option.option for option in frame[IP].options]
    return words + (f" with options {options}" if options else "") + ("" if frame[IP].src == OURS else f" from {frame[IP].src}")


def is_quote(quote, packet):
    """Checksums of the header may have been seen to."""
    return packet[:10] + packet[12:] == quote[:10] + quote[12:] or packet.startswith(quote)


def words(frame, sent, peer_isn=0):
    """An answer to the packets `sent`, without chance."""
    if ARP in frame:
        arp = frame[ARP]
        return f"arp {'reply' if arp.op == 2 else arp.op} {arp.psrc} to {arp.pdst}"
    if TCP in frame and not isinstance(frame[IPv6].payload if IPv6 in frame else frame[IP].payload, (ICMP, _ICMPv6Error)):
        return tcp_words(frame[TCP], None, peer_isn)
    if IP in frame:
        return icmp_words(frame, sent) if ICMP in frame else frame.summary()
    said = describe(frame)
    if isinstance(frame[IPv6].payload, _ICMPv6Error):
        quote = bytes(frame[IPv6].payload)[8:]
        said += f" of {len(quote)} bytes" + ("" if any(packet.startswith(quote) for packet in sent) else ", changed")
    return said + ("" if frame[IPv6].src == OURS6 else f" from {frame[IPv6].src}" if frame[IPv6].src[:4] != "fe80" else " from the link")


def answers(side, packets, four=False, peer_isn=0, **how):
    """What this side says to these, as one line."""
    sent = [bytes(packet) for packet in packets]
    got = side.station.ask(*packets, four=four, **how)
    for frame in got:
        if TCP in frame and str(frame[TCP].flags)[:2] == "SA":  # nobody goes on
            ip = frame[IP] if IP in frame else frame[IPv6]
            side.station.send(type(ip)(src=ip.dst, dst=ip.src) / TCP(sport=frame[TCP].dport, dport=frame[TCP].sport, flags="R", seq=frame[TCP].ack))
    return "; ".join(words(frame, sent, peer_isn) for frame in got) or "nothing"


# ---- calls, with Scapy as the TCP peer


class Play:
    """A scenario on one side. Each step is told in words; both sides' words are compared step by step."""
    numbers = 0

    def __init__(self, side, number, four=True):
        self.side, self.four, self.steps = side, four, []
        self.port, self.peer_port = 8000 + number, 30000 + number
        self.seq = 5000  # ours: of the peer
        self.isn, self.peer_isn, self.sut_port = None, 5000, self.port
        self.seen, self.taken = set(), []

    @property
    def ours(self):
        return OURS if self.four else OURS6

    @property
    def peer(self):
        return STATION if self.four else STATION6

    def note(self, what, said):
        self.steps.append((f"{len(self.steps) + 1} {what}", said))

    def call(self, text):
        """E.g. call("s['c'].recv(10)"); the result, or the error's name."""
        said = self.side.call(text)
        self.note(text, said)
        return said

    def new(self, name, kind="SOCK_STREAM"):
        self.side.call(f"new('{name}', {kind}, {'AF_INET' if self.four else 'AF_INET6'})")

    # -- the peer

    def send(self, flags, data=b"", seq=0, ack=None, window=30000, options=(), urgent=0):
        """`seq`, `ack`: relative to the two initial numbers; the SYN is 0."""
        acked = (self.isn or 0) + (1 if ack is None else ack)
        segment = TCP(sport=self.peer_port, dport=self.sut_port, flags=flags, seq=(self.peer_isn + seq) % 2**32, ack=acked % 2**32 if "A" in flags else 0,
                      window=window, options=list(options), urgptr=urgent)
        self.packet(segment / Raw(data) if data else segment)

    def packet(self, upper):
        ip = IP(src=self.peer, dst=self.ours) if self.four else IPv6(src=self.peer, dst=self.ours)
        self.side.station.send(ip / upper)
        self.taken += self.side.station.fence(self.four)  # it is seen to before the program's next call

    def _words_of(self, frame, acks):
        """Of a segment for our peer that says something new; an acknowledgment alone only where it is asked for."""
        ip = frame.getlayer(IP if self.four else IPv6)
        if ip is None or TCP not in frame or not isinstance(ip.payload, TCP) or frame[TCP].dport != self.peer_port:
            return None
        tcp = frame[TCP]
        if "S" in str(tcp.flags):
            self.isn, self.sut_port = tcp.seq, tcp.sport
        said = tcp_words(tcp, self.isn, self.peer_isn)
        data = len(bytes(tcp.payload))
        if str(tcp.flags) == "A" and data == 0:
            return said if acks else None
        if ("S" in str(tcp.flags) or "F" in str(tcp.flags) or data) and said in self.seen:
            return None  # once more
        self.seen.add(said)
        return re.sub(r"^P?A seq (\d+) ack (\d+) data", r"data seq \1 ack \2 of", said)

    def see(self, count=1, acks=False, what="segments"):
        """So many segments come, and no more than those."""
        got, end = [], time.monotonic() + 5
        station = self.side.station
        while len(got) < count and time.monotonic() < end:
            frame = self.taken.pop(0) if self.taken else station._read(0.5)
            if frame is not None and (said := self._words_of(frame, acks)):
                got.append(said)
        if len(got) >= count:
            got += self._rest(acks)
        self.note(what, "; ".join(got) or "nothing")

    def _rest(self, acks):
        """What still comes. A stack may answer an echo request before it says what TCP has to say in the same turn: the second
        request is of a later one."""
        frames, self.taken = self.taken, []
        frames += self.side.station.fence(self.four) + self.side.station.fence(self.four)
        return [said for frame in frames if (said := self._words_of(frame, acks))]

    def quiet(self, acks=False):
        """What was sent before, and is said of it at once."""
        self.note("segments", "; ".join(self._rest(acks)) or "nothing")

    # -- openings

    def listen(self, backlog=5):
        self.new("l")
        self.side.call("s['l'].setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)")
        self.call(f"s['l'].bind(('{self.ours}', {self.port}))")
        self.call(f"s['l'].listen({backlog})")

    def accepted(self, options=(("MSS", 1460),)):
        """A connection that the peer has opened, as s['c']."""
        self.listen()
        self.send("S", options=options)
        self.see()
        self.send("A", seq=1)
        self.call("wait('l', 'IN')")
        self.call("accept('l', 'c')")

    def connect(self):
        """Up to its SYN."""
        self.new("c")
        self.call(f"s['c'].connect(('{self.peer}', {self.peer_port}))")
        self.see()

    def connected(self):
        self.connect()
        self.send("SA", ack=1, options=[("MSS", 1460)])
        self.call("wait('c', 'OUT')")
