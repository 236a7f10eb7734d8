"""Options of sockets over loopback: the same calls on the kernel's stack and on ours."""
import pytest

COMMON = r"""
import errno, select, socket, struct
IP, V6, LITE = socket.IPPROTO_IP, socket.IPPROTO_IPV6, 136
LONG, SHORT = 20, 0.3  # seconds: for what has to come, and for what must not
def tried(what, call):
    try: print(what, call())
    except OSError as error: print(what, errno.errorcode[error.errno])
def comes(s, seconds, event=select.POLLIN):
    p = select.poll(); p.register(s, event)
    return bool(p.poll(seconds * 1000))
"""

DISTANCES = COMMON + r"""
MINTTL, MINHOPS = (IP, 21), (V6, 73)
def set_hops(s, hops):
    s.setsockopt(IP, socket.IP_TTL, hops)
    if s.family == socket.AF_INET6: s.setsockopt(V6, socket.IPV6_UNICAST_HOPS, hops)
def play(what, family, address, option, keeps_out):
    print('--', what)
    listener = socket.socket(family); listener.bind((address, 0)); listener.listen(4)
    for value in (-1, 256): tried('bad', lambda: listener.setsockopt(*option, value))
    listener.setsockopt(*option, 200)
    c = socket.socket(family); c.setblocking(False); set_hops(c, 199)
    c.connect_ex(listener.getsockname())
    print('from afar', comes(c, SHORT if keeps_out else LONG, select.POLLOUT))
    set_hops(c, 200)
    print('from near', comes(c, LONG, select.POLLOUT), c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    s, _ = listener.accept()
    print('inherited', s.getsockopt(*option))
    set_hops(c, 199); c.send(b'text')
    print('text from afar', comes(s, SHORT if keeps_out else LONG))
    set_hops(c, 200)
    print('text from near', comes(s, LONG), s.recv(10))
play('four', socket.AF_INET, '127.0.0.1', MINTTL, True)
play('six', socket.AF_INET6, '::1', MINHOPS, True)
play('six, of four', socket.AF_INET6, '::1', MINTTL, False)
play('mapped', socket.AF_INET6, '::ffff:127.0.0.1', MINTTL, True)
play('mapped, of six', socket.AF_INET6, '::ffff:127.0.0.1', MINHOPS, False)
for family, address, option in ((socket.AF_INET, '127.0.0.1', MINTTL), (socket.AF_INET6, '::1', MINHOPS)):
    r, s = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
    r.bind((address, 0)); set_hops(s, 9)
    tried('datagrams', lambda: r.setsockopt(*option, 200))
    s.sendto(b'x', r.getsockname()); print('heard', comes(r, LONG))
print('-- end')
"""

CONTROL = COMMON + r"""
def shown(level, kind, data):
    # The kernel's lo and ours have numbers of their own.
    if (level, kind) in ((V6, 2), (V6, socket.IPV6_PKTINFO)): data = data[:16] + bytes([data[16:] != bytes(4)])
    return level, kind, data.hex()
def heard(r):
    assert comes(r, LONG)
    data, control, flags, _ = r.recvmsg(100, 500)
    print(data, [shown(*one) for one in control], flags)
r, s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
r.bind(('::', 7100)); s.setsockopt(V6, socket.IPV6_UNICAST_HOPS, 77); s.setsockopt(IP, socket.IP_TTL, 78)
ORIGINAL, OLD_INFO, OLD_HOPS = 74, 2, 8
def all_ways(what):
    print('--', what)
    s.sendto(b'six', ('::1', 7100)); heard(r)
    s.sendto(b'mapped', ('::ffff:127.0.0.1', 7100)); heard(r)
for name, option in (('original destination', ORIGINAL), ('packet info of RFC 2292', OLD_INFO), ('hop limit of RFC 2292', OLD_HOPS)):
    tried('set', lambda: r.setsockopt(V6, option, 5)); tried('get', lambda: r.getsockopt(V6, option))
    all_ways(name)
    r.setsockopt(V6, option, 0)
all_ways('nothing')
for option in (ORIGINAL, OLD_INFO, OLD_HOPS, socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT): r.setsockopt(V6, option, 1)
all_ways('all')
print('-- end')
"""

COVERAGE = COMMON + r"""
def coverage(family, address):
    r, s = socket.socket(family, socket.SOCK_DGRAM, LITE), socket.socket(family, socket.SOCK_DGRAM, LITE)
    r.bind((address, 7200))
    for least in (None, 1, 8, 20, 30, 0, 65536, -1):
        print('-- least', least)
        if least is not None:
            tried('set', lambda: r.setsockopt(LITE, 11, least)); tried('get', lambda: r.getsockopt(LITE, 11))
        for covered in (0, 1, 8, 19, 20, 21, 29, 30, 200, 65536):
            tried('set', lambda: s.setsockopt(LITE, 10, covered)); tried('get', lambda: s.getsockopt(LITE, 10))
            s.sendto(str(covered).encode().ljust(21, b'.'), (address, 7200))  # 29 with the header
        s.setsockopt(LITE, 10, 0)
        s.sendto(b'end', (address, 7200))
        got = []
        while not got or got[-1] != b'end':
            assert comes(r, LONG)
            got.append(r.recv(100))
        print([one.strip(b'.').decode() for one in got])
coverage(socket.AF_INET, '127.0.0.1')
coverage(socket.AF_INET6, '::1')
print('-- end')
"""


@pytest.mark.parametrize("script", [DISTANCES, CONTROL, COVERAGE], ids=["distances", "control", "coverage"])
def test_equal_to_the_kernel(own_lab, script):
    lab = own_lab(shards=2, family="inet6")
    kernel = lab.namespace("ke")
    kernel.run(["ip", "link", "set", "lo", "up"])
    wanted = kernel.run(["/usr/bin/python3", "-c", script])
    assert "-- end" in wanted
    assert lab.run(True, "/usr/bin/python3", "-c", script).splitlines() == wanted.splitlines()
