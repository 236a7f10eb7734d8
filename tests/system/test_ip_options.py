"""IP_OPTIONS, IP_RECVOPTS and IP_RETOPTS: the same calls on the kernel's stack and on ours, over loopback; ping -R and -T to us and from us;
what options cost a connection."""
import re

import pytest

from lab import OURS, PEER

SCRIPT = r"""
import errno, select, socket, struct
IP, OPTIONS, RECVOPTS, RETOPTS = 0, 4, 6, 7
def tried(what, call):
    try: print(what, call())
    except OSError as error: print(what, errno.errorcode[error.errno])
def hexed(data): return data.hex(' ')
def stamped(data):
    # What the clock says is the one thing that differs.
    out = bytearray(data)
    for at in range(len(out) - 1):
        if out[at] == 68:
            flag, each = out[at + 3] & 15, 4 if out[at + 3] & 15 == 0 else 8
            for slot in range(at + 4 + each - 4, at + out[at + 2] - 1, each): out[slot:slot + 4] = b'TIME'
            break
    return hexed(out)
def heard(s):
    out = []
    while select.select([s], [], [], 1 if not out else 0)[0]:
        data, control, flags, name = s.recvmsg(2000, 400)
        out.append((data[:8], [(l, t, stamped(v)) for l, t, v in control], flags))
    return out
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0)); return s
RR = bytes([1, 7, 15, 4]) + bytes(12)
TS, TSA = bytes([68, 12, 5, 0]) + bytes(8), bytes([68, 36, 5, 1]) + bytes(32)
PRE = bytes([68, 20, 5, 3, 127, 0, 0, 1, 0, 0, 0, 0, 10, 9, 9, 9, 0, 0, 0, 0])

print('-- set and get')
s = udp()
print(hexed(s.getsockopt(IP, OPTIONS, 40)))
for what, value in ('rr', RR), ('ts', TS), ('odd', b'\x94\x04\0\0\x01'), ('none', b''), ('long', bytes(41)), ('zeroes', bytes(40)), \
        ('bad length', bytes([7, 200, 4, 0])), ('bad pointer', bytes([7, 7, 3, 0, 0, 0, 0])), ('two', RR[1:] + RR[1:]), ('cut', bytes([7])), \
        ('begun', bytes([131, 7, 8, 127, 0, 0, 1])), ('no hop', bytes([131, 3, 4])), ('full', bytes([7, 7, 8, 1, 2, 3, 4])):
    tried(what, lambda: s.setsockopt(IP, OPTIONS, value)); print(hexed(s.getsockopt(IP, OPTIONS, 40)))
s.setsockopt(IP, OPTIONS, RR); print('cut', hexed(s.getsockopt(IP, OPTIONS, 5)))
for option in RECVOPTS, RETOPTS:
    tried('get', lambda: s.getsockopt(IP, option)); tried('set', lambda: s.setsockopt(IP, option, 7)); tried('get', lambda: s.getsockopt(IP, option))

print('-- datagrams')
r, s = udp(), udp()
to = r.getsockname()
for on in (RECVOPTS,), (RETOPTS,), (RECVOPTS, RETOPTS):
    for option in RECVOPTS, RETOPTS: r.setsockopt(IP, option, int(option in on))
    for what, value in ('none', b''), ('rr', RR), ('ts', TS), ('tsa', TSA), ('prespecified', PRE), ('alert', b'\x94\x04\0\0'):
        s.setsockopt(IP, OPTIONS, value); s.sendto(b'x', to); print(on, what, heard(r))
s.setsockopt(IP, OPTIONS, b'')
tried('by message', lambda: s.sendmsg([b'x'], [(IP, RETOPTS, RR)], 0, to)); print(heard(r))
s.setsockopt(IP, OPTIONS, TS)
tried('over the socket', lambda: s.sendmsg([b'x'], [(IP, RETOPTS, RR)], 0, to)); print(heard(r))
tried('not sent so', lambda: s.sendmsg([b'x'], [(IP, RECVOPTS, RR)], 0, to))
tried('answer', lambda: s.sendto(b'x', to)); data, control, flags, name = r.recvmsg(100, 400)
back = [v for l, t, v in control if t == RETOPTS][0]
s.setsockopt(IP, RECVOPTS, 1); tried('with what came', lambda: r.sendmsg([b'y'], [(IP, RETOPTS, back)], 0, name)); print(heard(s))
s.setsockopt(IP, OPTIONS, RR); tried('largest', lambda: s.sendto(bytes(65491), to)); print([d for d in heard(r)][:1])

print('-- streams')
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(); l.setsockopt(IP, OPTIONS, TS)
c = socket.socket(); c.setsockopt(IP, OPTIONS, RR); c.connect(l.getsockname()); a, name = l.accept()
print(hexed(c.getsockopt(IP, OPTIONS, 40)))
print('accepted', hexed(a.getsockopt(IP, OPTIONS, 40)))
c.sendall(bytes(200000)); c.shutdown(socket.SHUT_WR)
got = 0
while data := a.recv(65536): got += len(data)
print(got)
c = socket.socket(); c.connect(l.getsockname()); a, name = l.accept(); print('none', hexed(a.getsockopt(IP, OPTIONS, 40)))
c.setsockopt(IP, OPTIONS, RR); c.sendall(b'later'); print(a.recv(100))
print('-- without CAP_NET_RAW')
import os
r, s, t = udp(), udp(), socket.socket()
to = r.getsockname(); r.setsockopt(IP, RETOPTS, 1)
LOOSE, STRICT = bytes([1, 131, 7, 4, 127, 0, 0, 1]), bytes([137, 7, 4, 127, 0, 0, 1, 0])
tried('a way of its own before', lambda: s.sendmsg([b'w'], [(IP, RETOPTS, LOOSE)], 0, to))
os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
for what, value in ('loose', LOOSE), ('strict', STRICT), ('malformed', LOOSE[:5]), ('unknown', b'\x99\x04\0\0'), ('rr', RR):
    for x in s, t: tried(what, lambda: x.setsockopt(IP, OPTIONS, value))
s.setsockopt(IP, OPTIONS, b'')
for what, value in ('loose', LOOSE), ('rr', RR): tried(what + ' by message', lambda: s.sendmsg([b'x'], [(IP, RETOPTS, value)], 0, to))
tried('loose before rr', lambda: s.sendmsg([b'x'], [(IP, RETOPTS, LOOSE), (IP, RETOPTS, RR)], 0, to))
print('-- end')
"""

SEGMENTS = """
import socket, sys
s = socket.socket()
if sys.argv[1] != '0': s.setsockopt(0, 4, bytes([7, 39, 4]) + bytes(37))
s.connect(('10.9.0.1', 7003)); s.sendall(bytes(300000)); s.shutdown(socket.SHUT_WR); print(len(s.recv(10)))
"""
SINK = """
import socket
l = socket.socket(); l.bind(('', 7003)); l.listen()
for _ in range(2):
    a, name = l.accept(); got = 0
    while data := a.recv(65536): got += len(data)
    print(got, len(a.getsockopt(0, 4, 40)), flush=True); a.close()
"""


@pytest.mark.parametrize("shards", [1, 2])
def test_equal_to_the_kernel(own_lab, shards):
    lab = own_lab(shards=shards)
    kernel = lab.namespace("ke")
    kernel.run(["ip", "link", "set", "lo", "up"])
    wanted = kernel.run(["/usr/bin/python3", "-c", SCRIPT])
    assert "-- end" in wanted
    # Of what a SYN has a connection keeps the way alone (RFC 1122 section 4.2.3.8), not what it recorded.
    assert "accepted 07 0f 0c" in wanted
    wanted = re.sub(r"^accepted .*$", "accepted ", wanted, flags=re.M)
    assert lab.run(True, "/usr/bin/python3", "-c", SCRIPT).splitlines() == wanted.splitlines()


def route(text):
    """The addresses that ping -R shows."""
    return re.findall(r"10\.9\.0\.\d", text.split("RR:")[1].split("---")[0])


def test_ping_records(own_lab):
    """RFC 1122 section 3.2.2.6: what an echo request records is in its answer, whoever asks."""
    lab = own_lab()
    ping = lambda stack, *words: lab.run(stack, "ping", "-n", "-c", "1", "-W", "20", *words, PEER if stack else OURS)
    assert route(ping(False, "-R")) == [PEER, OURS, OURS, PEER]
    assert route(ping(True, "-R")) == [OURS, PEER, PEER, OURS]
    for stack in False, True:
        first, second = (OURS, PEER) if stack else (PEER, OURS)
        # Absolute is only the first; all clocks are that of this machine.
        assert len(re.findall(r"^\s+-?\d+( absolute)?$", ping(stack, "-T", "tsonly").replace("TS:", "   "), re.M)) >= 4
        shown = ping(stack, "-T", "tsandaddr")
        assert re.findall(r"10\.9\.0\.\d", shown.split("TS:")[1].split("---")[0]) == [first, second, second, first]
        assert "unknown" not in shown and "non-standard" not in shown
        assert re.search(rf"TS:\s+{re.escape(second)}\s", ping(stack, "-T", "tsprespec", second))


def test_options_shorten_segments(own_lab):
    """RFC 9293 section 3.7.1: the payload makes room for them, so that nothing is cut."""
    lab = own_lab()
    sink = lab.start(False, "/usr/bin/python3", "-c", SINK)
    lab.wait_listening(False, 7003, sink)
    for how in "1", "0":
        assert lab.run(True, "/usr/bin/python3", "-c", SEGMENTS, how) == "0\n"
    assert sink.wait() == "300000 40\n300000 0\n"
    assert "\t0 packets: cut into fragments" in lab.stack.utility("netstat", "-s")
