"""UDP_SEGMENT, UDP_GRO and UDP_CORK: the same calls on the kernel's stack and on ours, over loopback."""
import pytest

from lab import PEER
from namespaces import wait_until

SCRIPT = r"""
import errno, select, socket, struct
SEGMENT, GRO, CORK, MORE = 103, 104, 1, socket.MSG_MORE
def tried(what, call):
    try: print(what, call())
    except OSError as error: print(what, errno.errorcode[error.errno])
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0)); return s
def heard(s, size=70000):
    out = []
    while select.select([s], [], [], 0.3 if not out else 0)[0]:
        data, control, flags, name = s.recvmsg(size, 200)
        out.append((len(data), data[:1], [(l, t, struct.unpack('i', v)[0]) for l, t, v in control], flags))
    return out
r, s = udp(), udp()
to = r.getsockname()
segment = lambda size: [(socket.IPPROTO_UDP, SEGMENT, struct.pack('H', size))]
def send(what, length, size=None, to=to, flags=0):
    data = b''.join(bytes([97 + i % 26]) * (size or 1000) for i in range(length // (size or 1000) + 1))[:length]
    tried(what, lambda: s.sendmsg([data], segment(size) if size is not None else [], flags, to))

print('-- cut')
send('3 x 1000', 3000, 1000); print(heard(r))
send('with a rest', 2500, 1000); print(heard(r))
send('shorter', 500, 1000); print(heard(r))
send('as long', 1000, 1000); print(heard(r))
send('not cut', 2000, 0); print(heard(r))
send('too many', 2000, 10); print(heard(r))
send('nothing', 0, 100); print(heard(r))
send('all of it', 65000, 1400); print(len(heard(r)))
send('too long', 65508, 1400); print(heard(r))
tried('get', lambda: s.getsockopt(socket.IPPROTO_UDP, SEGMENT))
tried('set', lambda: s.setsockopt(socket.IPPROTO_UDP, SEGMENT, 700)); tried('get', lambda: s.getsockopt(socket.IPPROTO_UDP, SEGMENT))
send('by option', 1500); print(heard(r))
send('message over option', 1500, 1000); print(heard(r))
send('message ends option', 1500, 0); print(heard(r))
tried('bad', lambda: s.setsockopt(socket.IPPROTO_UDP, SEGMENT, 65536)); tried('bad', lambda: s.setsockopt(socket.IPPROTO_UDP, SEGMENT, -1))
tried('unset', lambda: s.setsockopt(socket.IPPROTO_UDP, SEGMENT, 0))
tried('short', lambda: s.sendmsg([b'abc'], [(socket.IPPROTO_UDP, SEGMENT, b'1')], 0, to))
s.setsockopt(socket.SOL_SOCKET, 11, 1); send('without checksums', 3000, 1000); s.setsockopt(socket.SOL_SOCKET, 11, 0); print(heard(r))

print('-- put together')
tried('set', lambda: r.setsockopt(socket.IPPROTO_UDP, GRO, 1)); tried('get', lambda: r.getsockopt(socket.IPPROTO_UDP, GRO))
send('10 x 1000', 10000, 1000); print(heard(r))
send('with a rest', 2500, 1000); print(heard(r))
send('one', 700); print(heard(r))
send('cut off', 3000, 1000); print(heard(r, 1500))
r.setsockopt(socket.IPPROTO_UDP, GRO, 0)
send('not any more', 2000, 1000); print(heard(r))

print('-- cork')
tried('set', lambda: s.setsockopt(socket.IPPROTO_UDP, CORK, 1)); tried('get', lambda: s.getsockopt(socket.IPPROTO_UDP, CORK))
send('a', 100); send('b', 200); print(heard(r))
tried('unset', lambda: s.setsockopt(socket.IPPROTO_UDP, CORK, 0)); print(heard(r))
send('more', 100, flags=MORE); send('last', 50); print(heard(r))
tried('set', lambda: s.setsockopt(socket.IPPROTO_UDP, CORK, 1)); tried('unset', lambda: s.setsockopt(socket.IPPROTO_UDP, CORK, 0)); print(heard(r))
print('-- end')
"""


@pytest.mark.parametrize("shards", [1, 2])
def test_equal_to_the_kernel(own_lab, shards):
    lab = own_lab(shards=shards)
    kernel = lab.namespace("ke")
    kernel.run(["ip", "link", "set", "lo", "up"])
    wanted = kernel.run(["/usr/bin/python3", "-c", SCRIPT])
    assert "-- end" in wanted and "(17, 104, 1000)" in wanted
    assert lab.run(True, "/usr/bin/python3", "-c", SCRIPT).splitlines() == wanted.splitlines()


SERVER = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 7002))
for _ in range(2):
    data, name = s.recvfrom(100)
    try: s.sendto(data, name)
    except OSError: pass
    print('served', flush=True)
"""
CLIENT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], 0)); s.settimeout(20)
s.sendto(b'asked', ('10.9.0.2', 7002))
if len(sys.argv) > 2: print(s.recv(100).decode())
"""


def test_who_cannot_be_answered_harms_no_server(own_lab):
    """A datagram from where no route leads: its answer goes nowhere, and the server's next recvfrom() is not told of it."""
    lab = own_lab()
    lab.peer.run(["ip", "address", "add", "192.0.2.9/32", "dev", lab.peer_interface])
    server = lab.start(True, "/usr/bin/python3", "-c", SERVER)
    lab.wait_listening(True, 7002, server, "udp")
    lab.run(False, "/usr/bin/python3", "-c", CLIENT, "192.0.2.9")
    wait_until(lambda: server.text() == "served\n", server.text)
    assert lab.run(False, "/usr/bin/python3", "-c", CLIENT, PEER, "and waits") == "asked\n"
    assert server.wait() == "served\nserved\n"
