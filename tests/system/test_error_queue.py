"""Errors about datagrams: the same calls on the kernel's stack and on ours, with the same router behind the wire; and the programs
that live on them."""
import re

import pytest

from lab import OURS, PEER

OTHER = "10.9.0.3"  # ours too

# What a router does to datagrams, by destination.
FAR = {"prohibited": "10.50.1.1", "unreachable": "10.50.2.1", "no network": "10.50.3.1", "narrow": "10.50.4.1", "beyond": "10.50.5.1"}

SCRIPT = r"""
import errno, os, select, socket, struct, sys
PEER, OURS, OTHER = sys.argv[1:4]
IP_RECVERR, IP_MTU_DISCOVER, IP_MTU, DO = 11, 10, 14, 2
LIMIT = 20000  # milliseconds; it only ends what hangs

def udp(recverr=True, connect=None, discover=None):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if recverr: s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    if discover is not None: s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, discover)
    if connect: s.bind((OTHER, 0)); s.connect(connect)
    return s

def tried(what, call):
    try: print(what, call())
    except OSError as error: print(what, errno.errorcode[error.errno])

def mask(s, events=select.POLLIN | select.POLLOUT, limit=0):
    p = select.poll(); p.register(s, events)
    got = dict(p.poll(limit)).get(s.fileno(), 0)
    return ' '.join(n for n, b in (('IN', 1), ('OUT', 4), ('ERR', 8), ('HUP', 16)) if got & b) or '-'

def wait(s):
    print('waited for', mask(s, select.POLLERR, LIMIT))

def show_queue(s, size=2000):
    try: data, control, flags, name = s.recvmsg(size, 512, socket.MSG_ERRQUEUE)
    except OSError as error: return print('  queue', errno.errorcode[error.errno])
    print('  queue', len(data), data[-5:], 'flags', hex(flags), 'to', name)
    for level, kind, value in control:
        if (level, kind) == (0, IP_RECVERR):
            e = struct.unpack_from('=IBBBBII', value)
            family, port, offender = struct.unpack_from('=HH4s', value, 16)
            print('  error', errno.errorcode[e[0]], 'origin', e[1], 'type', e[2], 'code', e[3], 'info', e[5], 'data', e[6],
                  'offender', family, port, socket.inet_ntoa(offender).replace(OURS, 'ours'))
        elif kind in (1, 2): print('  control', level, kind, len(value), 'ttl' if kind == 2 else value[0])
        else: print('  control', level, kind, len(value))

def error_of(s): return errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)

def play(what, s, address, data, count=1):
    print('--', what)
    for i in range(count):
        if address: tried('sendto', lambda: s.sendto(data, address))
        else: tried('send', lambda: s.send(data))
        wait(s)
    print('mask', mask(s), '' if count > 1 else error_of(s))

for name, address in (('port', (PEER, 9)), ('prohibited', ('10.50.1.1', 7)), ('unreachable', ('10.50.2.1', 7)), ('no network', ('10.50.3.1', 7))):
    s = udp()
    play(name + ', not connected', s, address, b'hello')
    show_queue(s); print('mask', mask(s)); show_queue(s)
    s = udp(connect=address)
    play(name + ', connected', s, None, b'payload of some bytes')
    tried('recv', lambda: s.recv(100, socket.MSG_DONTWAIT))
    show_queue(s, 5); print('mask', mask(s)); show_queue(s)

print('-- without the option')
s = udp(recverr=False, connect=(PEER, 9))
s.send(b'x')
print(mask(s, select.POLLIN, LIMIT), mask(s), error_of(s), mask(s))
s.send(b'x')
print(mask(s, select.POLLIN, LIMIT)); tried('recv', lambda: s.recv(100)); print(mask(s))
tried('queue', lambda: s.recvmsg(10, 100, socket.MSG_ERRQUEUE))
s = udp(recverr=False, connect=('10.50.2.1', 7))
s.send(b'x')
print(mask(s, select.POLLIN, 300), error_of(s))

print('-- an error goes before data, and a send tells of it')
s = udp(connect=(PEER, 9)); s.send(b'1'); wait(s)
tried('recv', lambda: s.recv(100, socket.MSG_DONTWAIT)); tried('recv', lambda: s.recv(100, socket.MSG_DONTWAIT)); print(mask(s))
tried('send', lambda: s.send(b'2')); show_queue(s)
s = udp(connect=(PEER, 9)); s.send(b'1'); wait(s); tried('send', lambda: s.send(b'2')); show_queue(s); tried('recv', lambda: s.recv(9, socket.MSG_DONTWAIT))

print('-- several')
s = udp()
play('the first of two', s, (PEER, 9), b'abc'); tried('sendto', lambda: s.sendto(b'defg', ('10.50.1.1', 7)))
show_queue(s); wait(s); print(error_of(s)); print('mask', mask(s)); show_queue(s); print(mask(s))

print('-- too long')
s = udp(discover=DO); big = b'z' * 1473
tried('sendto', lambda: s.sendto(big, (PEER, 9))); print(mask(s), error_of(s)); show_queue(s); print(mask(s))
tried('fits', lambda: s.sendto(big[1:], (PEER, 9))); wait(s); show_queue(s)
s = udp(discover=DO, connect=(PEER, 9)); tried('send', lambda: s.send(big)); show_queue(s)
s = udp(recverr=False, discover=DO); tried('sendto', lambda: s.sendto(big, (PEER, 9))); show_queue(s)
s = udp(discover=DO); play('narrow', s, ('10.50.4.1', 7), b'n' * 1400); show_queue(s)
print('-- and what is known of the path then')
tried('again', lambda: s.sendto(b'n' * 1400, ('10.50.4.1', 7))); print(mask(s)); show_queue(s)
tried('one too many', lambda: s.sendto(b'n' * 1273, ('10.50.4.1', 7))); show_queue(s)
for discover in range(6):
    s = udp(recverr=False, discover=discover); s.connect(('10.50.4.1', 7)); print(discover, s.getsockopt(socket.IPPROTO_IP, IP_MTU))
    if discover == DO: tried('another', lambda: s.send(b'n' * 1400))
t = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253); t.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, DO); t.connect(('10.50.4.1', 0))
print(t.getsockopt(socket.IPPROTO_IP, IP_MTU)); tried('raw', lambda: t.send(b'n' * 1281))
s = udp(recverr=False); s.connect(('10.50.4.2', 7)); print('its neighbour', s.getsockopt(socket.IPPROTO_IP, IP_MTU))

print('-- ttl')
s = udp()
s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1); s.setsockopt(socket.IPPROTO_IP, 12, 1); s.setsockopt(socket.IPPROTO_IP, 13, 1); s.setsockopt(socket.SOL_SOCKET, 29, 1)
play('time exceeded', s, ('10.50.5.1', 33434), b'probe'); show_queue(s)

print('-- raw')
for included in (0, 1):
    r = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    r.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    r.setsockopt(socket.IPPROTO_IP, 3, included)
    s = udp(); s.sendto(b'rawly', (PEER, 9)); wait(r); tried('recv', lambda: r.recv(100, socket.MSG_DONTWAIT)); show_queue(r); wait(s)
r = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253)
r.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
r.sendto(b'no such protocol', (PEER, 0)); wait(r); show_queue(r)
r = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253)
r.connect((PEER, 0)); r.send(b'no such protocol'); print(mask(r, select.POLLIN, LIMIT), error_of(r)); show_queue(r)

print('-- nobody answers for the next hop')
s = udp(); s.sendto(b'arp', (PEER.rsplit('.', 1)[0] + '.77', 7)); wait(s); show_queue(s)
print('-- end')
"""


def route(namespace):
    """Makes a router. The kernel lets a router of its kind send 5 errors at once to each address, and then one in a second; to limit
    errors by type on top of it (icmp_ratemask) would take from the same account. So the script asks from two addresses."""
    namespace.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratemask=0", "net.ipv4.icmp_msgs_per_sec=10000"])
    namespace.run(["ip", "link", "add", "nar0", "type", "veth", "peer", "name", "nar1"])
    namespace.run(["ip", "link", "set", "nar1", "up"])
    namespace.run(["ip", "link", "set", "nar0", "mtu", "1300", "up"])
    for words in (["prohibit", "10.50.1.0/24"], ["unreachable", "10.50.2.0/24"], ["throw", "10.50.3.0/24"],
                  ["10.50.4.0/24", "dev", "nar0"], ["10.50.5.0/24", "dev", "nar0"]):
        namespace.run(["ip", "route", "add", *words])


@pytest.fixture(params=[1, 2], ids=["one-shard", "two-shards"])
def lab(request, own_lab):
    lab = own_lab(shards=request.param)
    route(lab.peer)
    lab.stack.utility("ifconfig", "en0", "alias", f"{OTHER}/24")
    lab.stack.utility("route", "add", "default", PEER)
    return lab


def test_equal_to_the_kernel(lab):
    kernel, router = lab.namespace("ke"), lab.namespace("ro")
    kernel.run(["ip", "link", "add", "en0", "type", "veth", "peer", "name", "peer0", "netns", router.name])
    for namespace, interface, address in ((kernel, "en0", OURS), (router, "peer0", PEER)):
        namespace.run(["ip", "link", "set", "lo", "up"])
        namespace.run(["ip", "address", "add", f"{address}/24", "dev", interface])
        namespace.run(["ip", "link", "set", interface, "up"])
    route(router)
    kernel.run(["ip", "address", "add", f"{OTHER}/24", "dev", "en0"])
    kernel.run(["ip", "route", "add", "default", "via", PEER])
    wanted = kernel.run(["/usr/bin/python3", "-c", SCRIPT, PEER, OURS, OTHER])
    assert "-- end" in wanted and "error EMSGSIZE origin 1" in wanted and "error EHOSTUNREACH origin 2 type 11" in wanted
    assert lab.run(True, "/usr/bin/python3", "-c", SCRIPT, PEER, OURS, OTHER, limit=120).splitlines() == wanted.splitlines()


@pytest.mark.parametrize("words", [["traceroute", "-n", "-q", "1", "-w", "2"], ["traceroute", "-n", "-I", "-q", "1", "-w", "2"],
                                   ["tracepath", "-n", "-m", "4"]], ids=lambda w: "-".join(w[:3]))
def test_programs_that_follow_a_path(lab, words):
    said = lab.run(True, *words, PEER)
    assert re.search(rf"^ *1:? +{re.escape(PEER)} +[0-9.]+ ?ms", said, re.M), said
    far = lab.run(True, *words, "10.50.1.1")
    # Code 13 is EHOSTUNREACH on the host: traceroute reads the code, tracepath the error.
    assert ("!H" if words[0] == "tracepath" else "!X") in far and PEER in far, far
    if words[0] == "tracepath":
        assert "pmtu 1500" in said


EXTENSIONS = r"""
import errno, select, socket, struct
# RFC 4884: what ICMP says of a path beside the datagram. Raw sockets play the router.
def words(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 65535) + (total >> 16)
    return 65535 - total
OBJECT = struct.pack('!HBB', 12, 2, 1) + b'12345678'
GOOD = bytearray(b'\x20\0\0\0' + OBJECT); GOOD[2:4] = struct.pack('!H', words(bytes(GOOD)))
for family, any_of, level, option, extensions, proto, unit, kinds in (
        (socket.AF_INET, '127.0.0.1', 0, 11, 26, 1, 4, (3, 11, 12)), (socket.AF_INET6, '::1', 41, 25, 31, 58, 8, (1, 3, 4))):
    quiet, s = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    quiet.bind((any_of, 0)); s.bind((any_of, 0)); s.setsockopt(level, option, 1)
    print(s.getsockopt(level, extensions))
    for value in 2, -1:
        try: s.setsockopt(level, extensions, value); print('taken')
        except OSError as error: print(errno.errorcode[error.errno])
    router = socket.socket(family, socket.SOCK_RAW, proto)
    udp = struct.pack('!HHHH', s.getsockname()[1], quiet.getsockname()[1], 8 + 100, 0) + bytes(100)
    if family == socket.AF_INET: inner = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 7, 0, 9, 17, 0, *[socket.inet_aton(any_of)] * 2) + udp
    else: inner = struct.pack('!IHBB16s16s', 6 << 28, len(udp), 17, 9, *[socket.inet_pton(family, any_of)] * 2) + udp
    padded = inner.ljust(-(-len(inner) // unit) * unit, b'\0')
    long = inner.ljust(160, b'\0')
    for on in 0, 1:
        s.setsockopt(level, extensions, on)
        for what, original, length, extension in (
                ('good', long, 160, bytes(GOOD)), ('no checksum', long, 160, b'\x20\0\0\0' + OBJECT), ('none', inner, 0, b''),
                ('wrong checksum', long, 160, bytes(GOOD[:3]) + b'\x01' + OBJECT), ('wrong version', long, 160, b'\x10\0\0\0' + OBJECT),
                ('cut', long, 160, bytes(GOOD[:-2])), ('header alone', long, 160, b'\x20\0\0\0'), ('too short', padded, 120, bytes(GOOD)),
                ('not that long', long, 200, bytes(GOOD)), ('no header', long, 160, b'\x20\0')):
            for kind in kinds:
                rest = struct.pack('!BBH', 0, length // unit, 0) if family == socket.AF_INET else struct.pack('!BBH', length // unit, 0, 0)
                message = struct.pack('!BBH', kind, 1 if kind == kinds[0] else 0, 0) + rest + original + extension
                if family == socket.AF_INET:
                    even = message + bytes(len(message) % 2)
                    message = message[:2] + struct.pack('!H', words(even)) + message[4:]
                router.sendto(message, (any_of, 0))
                p = select.poll(); p.register(s, 0); p.poll(20000)
                data, control, flags, name = s.recvmsg(3000, 512, socket.MSG_ERRQUEUE)
                for l, t, value in control:
                    if (l, t) == (level, option): print(family, on, what, kind, len(data), struct.unpack_from('=IBBBBIHBB', value))
print('-- end')
"""


def test_extensions_equal_to_the_kernel(own_lab):
    lab = own_lab(family="inet6")
    kernel = lab.namespace("ke")
    kernel.run(["ip", "link", "set", "lo", "up"])
    wanted = kernel.run(["/usr/bin/python3", "-c", EXTENSIONS])
    assert "-- end" in wanted
    assert lab.run(True, "/usr/bin/python3", "-c", EXTENSIONS).splitlines() == wanted.splitlines()


EPOLL = r"""
import errno, select, socket
names = (('IN', 1), ('OUT', 4), ('ERR', 8), ('HUP', 16), ('RDNORM', 64))
def shown(e, limit=0): return [' '.join(n for n, b in names if got & b) for fd, got in e.poll(limit)]
def until(e, wanted):
    # Writable at once; the error comes a moment later.
    while True:
        got = shown(e, 20)
        if any(wanted in one for one in got): return got
for events in select.EPOLLIN, select.EPOLLIN | select.EPOLLOUT, select.EPOLLOUT, select.EPOLLIN | select.EPOLLET:
    s, r = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    s.setsockopt(socket.IPPROTO_IP, 11, 1); s.bind(('127.0.0.1', 0)); r.bind(('127.0.0.1', 0))
    e = select.epoll(); e.register(s, events)
    s.sendto(b'x', ('127.0.0.1', 9))
    print(events & 0xffff, until(e, 'ERR'))
    if events & select.EPOLLET: print('edge', shown(e))
    else: print('level', shown(e))
    data, control, flags, name = s.recvmsg(100, 500, socket.MSG_ERRQUEUE); print(data, len(control), shown(e))
    s.sendto(b'x', ('127.0.0.1', 9))
    if not events & select.EPOLLET: until(e, 'ERR')
    r.sendto(b'data', s.getsockname())
    if events & select.EPOLLIN and not events & select.EPOLLET: print('both', until(e, 'IN'))
    try: s.recv(10)
    except OSError as error: print(errno.errorcode[error.errno])
    print(s.recv(10))
    try: s.recvmsg(100, 500, socket.MSG_ERRQUEUE)
    except OSError as error: print(errno.errorcode[error.errno])
    e.unregister(s); print(shown(e))
print('-- end')
"""


# One word of data for several descriptors: an event says of which word it is, not of which descriptor.
SHARED_DATA = r"""
import ctypes, os, select, socket
libc = ctypes.CDLL(None, use_errno=True)
class Event(ctypes.Structure):
    _pack_ = 1
    _fields_ = [('events', ctypes.c_uint32), ('data', ctypes.c_uint64)]
names = (('IN', 1), ('OUT', 4), ('ERR', 8), ('HUP', 16))
def add(e, f, events, data):
    if libc.epoll_ctl(e, 1, f.fileno(), ctypes.byref(Event(events, data))) != 0: raise OSError(ctypes.get_errno())
def shown(e, limit):
    got = (Event * 8)()
    return sorted((one.data, ' '.join(n for n, b in names if one.events & b)) for one in got[:max(0, libc.epoll_wait(e, got, 8, limit))])
def udp(recverr):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))
    if recverr: s.setsockopt(socket.IPPROTO_IP, 11, 1)
    return s
def fail(s):
    p = select.poll(); p.register(s, 0); s.sendto(b'x', ('127.0.0.1', 9)); print('failed', p.poll(20000)[0][1])
EDGE = select.EPOLLIN | select.EPOLLET
# The error of one does not take the data of another away, whichever came first; and not of a file that is not of the network.
for first in 0, 1:
    e = libc.epoll_create1(0)
    bad, good, sender = udp(True), udp(True), udp(False)
    for s in (bad, good) if first == 0 else (good, bad): add(e, s, select.EPOLLIN, 7)
    fail(bad); sender.sendto(b'data', good.getsockname())
    p = select.poll(); p.register(good, 1); p.poll(20000)
    print('sockets', any('IN' in text for data, text in shown(e, 20000)), any('ERR' in text for data, text in shown(e, 0)))
    os.close(e)
e = libc.epoll_create1(0)
bad = udp(True); reading, writing = (os.fdopen(n, 'rb' if i == 0 else 'wb', 0) for i, n in enumerate(os.pipe()))
add(e, bad, EDGE, 7); add(e, reading, EDGE, 7)
fail(bad); writing.write(b'x')
print('a pipe', sum('IN' in text for data, text in shown(e, 20000)) > 0)
os.close(e)
# One that is alone shows the error alone; another's epoll nothing of it.
e, other = libc.epoll_create1(0), libc.epoll_create1(0)
bad, good = udp(True), udp(True)
add(e, bad, select.EPOLLIN, 7); add(e, good, select.EPOLLIN, 8); add(other, good, select.EPOLLIN, 7)
fail(bad); sender.sendto(b'data', good.getsockname()); p = select.poll(); p.register(good, 1); p.poll(20000)
print('alone', shown(e, 20000), shown(other, 20000))
print('-- end')
"""


@pytest.mark.parametrize("script", [EPOLL, SHARED_DATA], ids=["each", "shared_data"])
def test_epoll_equal_to_the_kernel(own_lab, script):
    lab = own_lab()
    kernel = lab.namespace("ke")
    kernel.run(["ip", "link", "set", "lo", "up"])
    wanted = kernel.run(["/usr/bin/python3", "-c", script])
    assert "-- end" in wanted
    assert lab.run(True, "/usr/bin/python3", "-c", script).splitlines() == wanted.splitlines()
