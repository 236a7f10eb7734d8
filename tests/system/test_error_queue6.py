"""Errors about IPv6 datagrams (IPV6_RECVERR): the same calls on the kernel's stack and on ours, with the same router behind the wire."""
import pytest

from lab import OURS, OURS6, PEER, PEER6

# What a router does to datagrams, by destination.
ROUTES = (["prohibit", "fd50:1::/64"], ["unreachable", "fd50:2::/64"], ["fd50:4::/64", "dev", "nar0"], ["fd50:5::/64", "dev", "nar0"])

SCRIPT = r"""
import errno, select, socket, struct, sys
PEER, OURS, PEER4 = sys.argv[1:4]
IPV6, IP = socket.IPPROTO_IPV6, socket.IPPROTO_IP
RECVERR, MTU_DISCOVER, MTU, DO = 25, 23, 24, 2
LIMIT = 20000  # milliseconds; it only ends what hangs

def udp(recverr=True, connect=None, discover=None, recverr4=False):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    if recverr: s.setsockopt(IPV6, RECVERR, 1)
    if recverr4: s.setsockopt(IP, 11, 1)
    if discover is not None: s.setsockopt(IPV6, MTU_DISCOVER, discover)
    if connect: s.connect(connect)
    return s
def tried(what, call):
    try: print(what, call())
    except OSError as error: print(what, errno.errorcode[error.errno])
def mask(s, events=select.POLLIN | select.POLLOUT, limit=0):
    p = select.poll(); p.register(s, events)
    got = dict(p.poll(limit)).get(s.fileno(), 0)
    return ' '.join(n for n, b in (('IN', 1), ('OUT', 4), ('ERR', 8), ('HUP', 16)) if got & b) or '-'
def wait(s): print('waited for', mask(s, select.POLLERR, LIMIT))
def show_queue(s, size=2000):
    try: data, control, flags, name = s.recvmsg(size, 512, socket.MSG_ERRQUEUE)
    except OSError as error: return print('  queue', errno.errorcode[error.errno])
    print('  queue', len(data), data[-5:], 'flags', hex(flags), 'to', name)
    for level, kind, value in control:
        if (level, kind) in ((41, RECVERR), (0, 11)):
            e = struct.unpack_from('=IBBBBII', value)
            print('  error', level, errno.errorcode[e[0]], 'origin', e[1], 'type', e[2], 'code', e[3], 'info', e[5], 'data', e[6], 'size', len(value))
            family, port, flow, address, scope = struct.unpack_from('=HHI16sI', value, 16)
            print('  offender', family, port, flow, socket.inet_ntop(socket.AF_INET6, address).replace(OURS, 'ours'), scope)
        else: print('  control', level, kind, len(value), value[0])
def error_of(s): return errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)
def play(what, s, address, data):
    print('--', what)
    if address: tried('sendto', lambda: s.sendto(data, address))
    else: tried('send', lambda: s.send(data))
    wait(s)
    print('mask', mask(s), error_of(s))

for name, address in (('port', (PEER, 9)), ('prohibited', ('fd50:1::1', 7)), ('unreachable', ('fd50:2::1', 7))):
    s = udp()
    play(name + ', not connected', s, address, b'hello')
    show_queue(s); print('mask', mask(s)); show_queue(s)
    s = udp(connect=address)
    play(name + ', connected', s, None, b'payload of some bytes')
    tried('recv', lambda: s.recv(100, socket.MSG_DONTWAIT))
    show_queue(s, 5); print('mask', mask(s)); show_queue(s)

print('-- without the option')
s = udp(recverr=False, connect=(PEER, 9))
s.send(b'x'); print(mask(s, select.POLLIN, LIMIT), mask(s), error_of(s), mask(s))
tried('queue', lambda: s.recvmsg(10, 100, socket.MSG_ERRQUEUE))
s = udp(recverr=False, connect=('fd50:2::1', 7))
s.send(b'x'); print(mask(s, select.POLLIN, 300), error_of(s))

print('-- too long')
s = udp(discover=DO); big = b'z' * 1453
tried('sendto', lambda: s.sendto(big, (PEER, 9))); print(mask(s), error_of(s)); show_queue(s); print(mask(s))
tried('fits', lambda: s.sendto(big[1:], (PEER, 9))); wait(s); show_queue(s)
s = udp(discover=DO, connect=(PEER, 9)); tried('send', lambda: s.send(big)); show_queue(s)
s = udp(recverr=False, discover=DO); tried('sendto', lambda: s.sendto(big, (PEER, 9))); show_queue(s)
s = udp(discover=DO); play('narrow', s, ('fd50:4::1', 7), b'n' * 1400); show_queue(s)
print('-- and what is known of the path then')
tried('again', lambda: s.sendto(b'n' * 1400, ('fd50:4::1', 7))); print(mask(s)); show_queue(s)
tried('one too many', lambda: s.sendto(b'n' * 1253, ('fd50:4::1', 7))); show_queue(s)
for discover in range(6):
    s = udp(recverr=False, discover=discover); s.connect(('fd50:4::1', 7)); print(discover, s.getsockopt(IPV6, MTU))
    if discover == DO: tried('another', lambda: s.send(b'n' * 1400))
s = udp(recverr=False); s.connect(('fd50:4::2', 7)); print('its neighbour', s.getsockopt(IPV6, MTU))

print('-- hops')
s = udp()
s.setsockopt(IPV6, socket.IPV6_UNICAST_HOPS, 1)
for option in (socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS): s.setsockopt(IPV6, option, 1)
play('time exceeded', s, ('fd50:5::1', 33434), b'probe'); show_queue(s)

print('-- IPv4 through a socket of IPv6')
s = udp(recverr=False, recverr4=True)
play('port', s, ('::ffff:' + PEER4, 9), b'four'); show_queue(s)

print('-- raw')
r = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 253)
r.setsockopt(IPV6, RECVERR, 1)
r.sendto(b'no such protocol', (PEER, 0)); wait(r); show_queue(r)

print('-- nobody answers for the next hop')
s = udp(); s.sendto(b'nd', ('fd09::77', 7)); wait(s); show_queue(s)
print('-- end')
"""


def route(namespace):
    namespace.run(["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", "net.ipv6.icmp.ratelimit=0", "net.ipv4.icmp_ratelimit=0"])
    namespace.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0"])
    namespace.run(["ip", "link", "add", "nar0", "type", "veth", "peer", "name", "nar1"])
    namespace.run(["ip", "link", "set", "nar1", "up"])
    namespace.run(["ip", "link", "set", "nar0", "mtu", "1300", "up"])
    for words in ROUTES:
        namespace.run(["ip", "-6", "route", "add", *words])


@pytest.mark.parametrize("shards", [1, 2], ids=["one-shard", "two-shards"])
def test_equal_to_the_kernel(own_lab, shards):
    lab = own_lab(shards=shards, family="inet6")
    route(lab.peer)
    lab.stack.utility("route", "add", "-inet6", "default", PEER6)
    kernel, router = lab.namespace("ke"), lab.namespace("ro")
    kernel.run(["ip", "link", "add", "en0", "type", "veth", "peer", "name", "peer0", "netns", router.name])
    for namespace, interface, address, four in ((kernel, "en0", OURS6, OURS), (router, "peer0", PEER6, PEER)):
        namespace.run(["ip", "link", "set", "lo", "up"])
        namespace.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", f"net.ipv6.conf.{interface}.accept_dad=0"])
        namespace.run(["ip", "address", "add", f"{four}/24", "dev", interface])
        namespace.run(["ip", "link", "set", interface, "up"])
        namespace.run(["ip", "address", "add", f"{address}/64", "dev", interface, "nodad"])
    route(router)
    kernel.run(["ip", "-6", "route", "add", "default", "via", PEER6])
    wanted = kernel.run(["/usr/bin/python3", "-c", SCRIPT, PEER6, OURS6, PEER])
    assert "-- end" in wanted and "EMSGSIZE origin 1" in wanted and "EHOSTUNREACH origin 3 type 3" in wanted
    assert lab.run(True, "/usr/bin/python3", "-c", SCRIPT, PEER6, OURS6, PEER, limit=120).splitlines() == wanted.splitlines()
