"""For tests of two stacks against each other: programs on both that do what the test says, and a capture of what went between."""
import collections
import dataclasses
import itertools
import json
import socket
import struct
import subprocess

from lab import OURS, OURS6, PEER, PEER6, PEER_INTERFACE
from namespaces import wait_until

PYTHON = "/usr/bin/python3"
FAMILIES = ("inet", "inet6")
_ports = itertools.count(6000)
AGENT = r"""
import errno, fcntl, json, select, socket, struct, sys, time
socket.setdefaulttimeout(15)
def ready(s, events=select.POLLIN, limit=0):
    p = select.poll(); p.register(s, events)
    return bool(p.poll(limit))
def exactly(s, count):
    out = b''
    while len(out) < count:
        got = s.recv(count - len(out))
        if not got: break
        out += got
    return out
circle = bytes(i * 131 % 251 for i in range(251))
def pattern(count): return (circle * (count // 251 + 1))[:count]
names = dict(globals())
for line in sys.stdin:
    code, value = json.loads(line), None
    try:
        try: compiled = compile(code, 'said', 'eval')
        except SyntaxError: exec(code, names)
        else: value = eval(compiled, names)
        answer = {'value': value if isinstance(value, (int, str, bool, list, tuple)) else value.decode('latin1') if isinstance(value, bytes) else None}
    except OSError as error: answer = {'error': errno.errorcode.get(error.errno, str(error))}
    except Exception as fault: answer = {'fault': repr(fault) + ' in ' + code}
    print(json.dumps(answer), flush=True)
"""


class Refused(Exception):
    """A call of an agent failed; the argument is the errno's name."""


class Agent:
    """A program that evaluates Python. One statement at a time; begin() and end() let it wait while another does something."""

    def __init__(self, lab, on_stack, namespace=None):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": None}
        self.program = lab.start(on_stack, PYTHON, "-u", "-c", AGENT, **pipes) if namespace is None else lab.start_in(
            namespace, PYTHON, "-u", "-c", AGENT, **pipes)

    def begin(self, code):
        self.program.process.stdin.write(json.dumps(code).encode() + b"\n")
        self.program.process.stdin.flush()

    def end(self):
        line = self.program.process.stdout.readline()
        assert line, "the agent has ended"
        answer = json.loads(line)
        assert "fault" not in answer, answer["fault"]
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["value"]

    def __call__(self, code):
        self.begin(code)
        return self.end()

    def refused(self, code):
        """The errno's name with which it fails."""
        try:
            value = self(code)
        except Refused as error:
            return str(error)
        raise AssertionError(f"{code} gave {value!r}")


@dataclasses.dataclass
class Segment:
    at: float
    ours: bool         # sent by our stack
    sport: int
    dport: int
    flags: str         # letters of FSRPAUECN, in this order
    seq: int
    ack: int
    window: int
    urgent: int
    length: int        # of the payload
    options: dict      # by OPTION_NAMES
    ecn: int           # of the IP header
    size: int          # of the IP packet
    frame: bytes

    @property
    def end(self):
        return (self.seq + self.length + ("S" in self.flags) + ("F" in self.flags)) & 0xFFFFFFFF

    def has(self, flags):
        return all(letter in self.flags for letter in flags)

    @property
    def sacks(self):
        words = self.options.get("SAck", ())
        return list(zip(words[::2], words[1::2]))


def difference(a, b):
    """a - b of sequence numbers."""
    return (a - b + (1 << 31)) % (1 << 32) - (1 << 31)


OPTION_NAMES = {2: "MSS", 3: "WScale", 4: "SAckOK", 5: "SAck", 8: "Timestamp"}


def options_of(data):
    found, at = {}, 0
    while at < len(data) and data[at] != 0:
        if data[at] == 1:
            at += 1
            continue
        kind, length = data[at], data[at + 1]
        value = data[at + 2:at + length]
        words = struct.unpack(f">{len(value) // 4}I", value) if kind in (5, 8) else int.from_bytes(value, "big")
        found[OPTION_NAMES.get(kind, kind)] = words
        at += length
    return found


def segment_of(at, frame):
    """None: no segment of TCP. (Scapy takes a millisecond for each.)"""
    if frame[12:14] == b"\x08\x00" and frame[23] == 6:
        size, tcp, tos = int.from_bytes(frame[16:18], "big"), 14 + (frame[14] & 15) * 4, frame[15]
        source = socket.inet_ntop(socket.AF_INET, frame[26:30])
    elif frame[12:14] == b"\x86\xdd" and frame[20] == 6:
        size, tcp, tos = int.from_bytes(frame[18:20], "big") + 40, 54, (frame[14] << 4 | frame[15] >> 4) & 255
        source = socket.inet_ntop(socket.AF_INET6, frame[22:38])
    else:
        return None
    sport, dport, seq, ack, bits, window, _, urgent = struct.unpack_from(">HHIIHHHH", frame, tcp)
    header = (bits >> 12) * 4
    flags = "".join(letter for i, letter in enumerate("FSRPAUECN") if bits >> i & 1)
    return Segment(at, source in (OURS, OURS6), sport, dport, flags, seq, ack, window, urgent, 14 + size - tcp - header,
                   options_of(frame[tcp + 20:tcp + header]), tos & 3, size, frame)


class Capture:
    """What passes the peer's interface, since the beginning: its stack's own packets before the path, ours behind it."""

    def __init__(self, lab):
        self.lab = lab
        self.file = lab.folder / "interop.pcap"
        self.tcpdump = lab.start_in_peer("tcpdump", "-i", PEER_INTERFACE, "-U", "--immediate-mode", "-B", "65536", "-w", self.file)
        wait_until(lambda: "listening on" in self.tcpdump.text(), lambda: self.tcpdump.text())
        self.by_port = collections.defaultdict(list)
        self.at, self.frames, self.marks = 24, [], itertools.count(1)
        self.marker = Agent(lab, False)
        self.marker("m = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")

    def _read(self):
        data = self.file.read_bytes()[self.at:]
        at = 0
        while at + 16 <= len(data):
            seconds, micros, length, _ = (int.from_bytes(data[at + i:at + i + 4], "little") for i in (0, 4, 8, 12))
            if at + 16 + length > len(data):
                break
            frame = data[at + 16:at + 16 + length]
            self.frames.append(frame)
            if (segment := segment_of(seconds + micros / 1e6, frame)) is not None:
                for port in {segment.sport, segment.dport}:
                    self.by_port[port].append(segment)
            at += 16 + length
        self.at += at

    def all(self):
        """Every frame until now. A datagram that nobody reads marks "now"."""
        mark = f"mark {next(self.marks)} of the capture"
        self.marker(f"m.sendto(b'{mark}', ('{OURS}', 9))")

        def marked():
            self._read()
            return any(mark.encode() in frame for frame in self.frames[-200:])
        wait_until(marked, "the mark in the capture")
        return self.frames

    def icmp_errors(self, kind):
        """What the last word of the header says of ICMP errors of (type, code), of ICMPv6 if the type is below 3."""
        found = []
        for frame in self.all():
            at = 14 + (frame[14] & 15) * 4 if frame[12:14] == b"\x08\x00" and frame[23] == 1 else 54 if frame[12:14] == b"\x86\xdd" and frame[20] == 58 else None
            if at is not None and (frame[at], frame[at + 1]) == kind and (kind[0] < 3) == (at == 54):
                found.append(int.from_bytes(frame[at + 4:at + 8], "big"))
        return found

    def segments(self, port):
        """Of TCP from or to the port, in order."""
        self.all()
        return list(self.by_port[port])


class Connection:
    """`client` and `server` are agents; `c` and `s` name their sockets in what is said to them, `l` the listener."""

    def __init__(self, bed, family, ours_opens):
        self.bed, self.family, self.ours_opens = bed, family, ours_opens
        self.client, self.server = (bed.ours, bed.kernel) if ours_opens else (bed.kernel, bed.ours)
        self.port = next(_ports)
        self.number = self.port
        v6 = family == "inet6"
        ours, peer = (OURS6, PEER6) if v6 else (OURS, PEER)
        self.client_host, self.server_host = (ours, peer) if ours_opens else (peer, ours)
        self.family_name = "socket.AF_INET6" if v6 else "socket.AF_INET"

    def __str__(self):
        return f"{self.family}, {'ours' if self.ours_opens else 'the kernel'} opens"

    def _names(self, code):
        return code.replace("$c", f"c{self.number}").replace("$s", f"s{self.number}").replace("$l", f"l{self.number}")

    def at_client(self, code):
        return self.client(self._names(code))

    def at_server(self, code):
        return self.server(self._names(code))

    def begin(self, at_client, code):
        (self.client if at_client else self.server).begin(self._names(code))

    def end(self, at_client):
        return (self.client if at_client else self.server).end()

    def refused(self, at_client, code):
        return (self.client if at_client else self.server).refused(self._names(code))

    def listen(self, before=""):
        self.at_server(f"$l = socket.socket({self.family_name}, socket.SOCK_STREAM)\n"
                       f"$l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n{before}\n"
                       f"$l.bind(('{self.server_host}', {self.port})); $l.listen(8)")
        return self

    def connect(self, before=""):
        self.at_client(f"$c = socket.socket({self.family_name}, socket.SOCK_STREAM)\n{before}\n"
                       f"$c.connect(('{self.server_host}', {self.port}))")
        return self

    def accept(self):
        self.at_server("$s, _ = $l.accept()")
        return self

    def open(self, client="", server=""):
        return self.listen(server).connect(client).accept()

    def send(self, count, from_client=True):
        """So many bytes are sent, arrive and are what was sent."""
        sender, receiver = ("$c", "$s") if from_client else ("$s", "$c")
        self.begin(not from_client, f"exactly({receiver}, {count}) == pattern({count})")
        self.begin(from_client, f"{sender}.sendall(pattern({count}))")
        self.end(from_client)
        assert self.end(not from_client) is True, f"other bytes arrived: {self}"

    def close(self):
        for agent, names in ((self.client, ("$c",)), (self.server, ("$s", "$l"))):
            for name in names:
                agent(self._names(f"'{name}' in globals() and {name}.close()"))

    def segments(self):
        return self.bed.capture.segments(self.port)


class Bed:
    """A stack of ours and the kernel's behind a Path, an agent on each, and the capture between them."""

    def __init__(self, lab):
        self.lab, self.path = lab, lab.path
        self.ours, self.kernel = Agent(lab, True), Agent(lab, False)
        self.capture = Capture(lab)
        self.connections, self.restore = [], []

    def connection(self, family, ours_opens):
        self.connections.append(Connection(self, family, ours_opens))
        return self.connections[-1]

    def every(self, *, ours_opens=(True, False), families=FAMILIES):
        return [self.connection(family, ours) for family in families for ours in ours_opens]

    def impair(self, *words):
        self.path.set(*words)

    def hold(self):
        """Nothing arrives any more, on either side. Returns a function that lets go of it when both sides have sent something."""
        self.path.set("hold=1")
        before = self.path.counts()

        def release():
            wait_until(lambda: all(self.path.counts()[way]["in"] > before[way]["in"] for way in ("ab", "ba")), "frames of both sides")
            self.path.set("hold=0")
        return release

    def kernel_set(self, name, value):
        """A variable below /proc/sys/net of the peer, for this test."""
        path = f"/proc/sys/net/{name.replace('.', '/')}"
        self.restore.append((self.kernel_set_now, path, self.lab.peer.run(["cat", path]).strip()))
        self.kernel_set_now(path, value)

    def kernel_set_now(self, path, value):
        self.lab.peer.run(["sh", "-c", f"echo '{value}' > {path}"])

    def ours_set(self, name, value):
        was = self.lab.stack.utility("sysctl", "-n", name).strip()
        self.restore.append((self.ours_set_now, name, was))
        self.ours_set_now(name, value)

    def ours_set_now(self, name, value):
        self.lab.stack.utility("sysctl", "-w", f"{name}={value}")

    def either_set(self, on_ours, ours, kernel, value):
        self.ours_set(ours, value) if on_ours else self.kernel_set(kernel, value)

    def kernel_counter(self, name):
        """E.g. TcpExt SyncookiesSent."""
        for words, values in itertools.pairwise(self.lab.peer.run(["cat", "/proc/net/netstat", "/proc/net/snmp"]).splitlines()):
            if name in words.split():
                return int(values.split()[words.split().index(name)])
        raise AssertionError(f"the kernel counts no {name}")

    def end_test(self):
        self.path.set("delay=0", "loss=0", "duplicate=0", "reorder=0", "mark=0", "lose_every=0", "mtu=0", "rate=0", "queue=1000", "hold=0")
        for connection in self.connections:
            connection.close()
        self.connections.clear()
        for undo, *words in reversed(self.restore):
            undo(*words)
        self.restore.clear()
