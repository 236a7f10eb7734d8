"""Multicast over IPv6: the same calls on the kernel's stack and on ours, the kernel as the other member, and a capture of what routers
are told, read by Scapy."""
import json

import pytest

from lab import OURS6, PEER6, PEER_INTERFACE
from namespaces import wait_until

PYTHON = "/usr/bin/python3"
GROUP, SSM = "ff15::7:7", "ff35::7:8"

# Joins, filters and what is heard on one host; of groups of both families where an option has both.
SCRIPT = r"""
import errno, select, socket, struct, sys
OURS, OTHER, OURS4 = sys.argv[1:4]
INDEX = socket.if_nametoindex('en0')
IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
IF, HOPS, LOOP, ADD, DROP, ALL = 17, 18, 19, 20, 21, 29
JOIN, BLOCK, UNBLOCK, LEAVE, JOIN_SOURCE, LEAVE_SOURCE, MSFILTER, IP_MSFILTER = 42, 43, 44, 45, 46, 47, 48, 41
in6 = lambda a: socket.inet_pton(socket.AF_INET6, a)

def udp(port=0, family=socket.AF_INET6):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('::' if family == socket.AF_INET6 else '', port))
    return s
def tried(what, call):
    try: r = call(); print(what, 'done' if r is None else r)
    except OSError as error: print(what, errno.errorcode[error.errno])
def option(what, s, name, value, level=IPV6): tried(what, lambda: s.setsockopt(level, name, value))
def mreq(group, index=INDEX): return in6(group) + struct.pack('I', index)
def storage(address):
    if ':' in address: return struct.pack('=HHI16sI100x', socket.AF_INET6, 0, 0, in6(address), 0)
    return struct.pack('=HH4s120x', socket.AF_INET, 0, socket.inet_aton(address))
def group_req(group, *more, index=INDEX): return struct.pack('I4x', index) + storage(group) + b''.join(map(storage, more))
def group_filter(group, mode, *whom, index=INDEX, count=None):
    return struct.pack('I4x', index) + storage(group) + struct.pack('II', mode, len(whom) if count is None else count) + b''.join(map(storage, whom))
def heard(s):
    out = []
    while select.select([s], [], [], 0.3 if not out else 0)[0]: out.append(s.recv(100).decode())
    return ' '.join(out) or '-'
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def read_filter(what, s, level, name, asked, room):
    # getsockopt() that reads what it is given first: Python's cannot.
    buffer = ctypes.create_string_buffer(asked.ljust(room, b'\0')[:room], room)
    size = ctypes.c_uint(room)
    if libc.getsockopt(s.fileno(), level, name, buffer, ctypes.byref(size)) != 0:
        return print(what, errno.errorcode[ctypes.get_errno()])
    got = buffer.raw[:size.value]
    if name == IP_MSFILTER: return print(what, size.value, got.hex())
    mode, count = struct.unpack_from('II', got, 136)
    sources = [got[144 + i * 128:272 + i * 128] for i in range((size.value - 144) // 128)]
    print(what, size.value, 'mode', mode, 'count', count, sorted(x[4:8].hex() if x[0] == socket.AF_INET else x[8:24].hex() for x in sources))

s = udp(7000)
print('-- joining')
option('no group', s, ADD, mreq('fd09::5'))
option('no group to leave', s, DROP, mreq('fd09::5'))
option('short', s, ADD, mreq('ff15::1')[:19])
option('no such index', s, ADD, mreq('ff15::1', 99))
option('join', s, ADD, mreq('ff15::1'))
option('again', s, ADD, mreq('ff15::1'))
option('again anywhere', s, ADD, mreq('ff15::1', 0))
option('drop what is not', s, DROP, mreq('ff15::2'))
option('drop elsewhere', s, DROP, mreq('ff15::1', 99))
option('drop anywhere', s, DROP, mreq('ff15::1', 0))
option('of the link', s, ADD, mreq('ff02::42'))
option('drop', s, DROP, mreq('ff02::42'))
option('group_req', s, JOIN, group_req('ff15::1'))
option('short group_req', s, JOIN, group_req('ff15::1')[:100])
option('group of the other family', s, JOIN, group_req('239.1.1.1'))
option('no group', s, JOIN, group_req('fd09::5'))
option('leave', s, LEAVE, group_req('ff15::1'))
option('leave again', s, LEAVE, group_req('ff15::1'))
option('leave of the other family', s, LEAVE, group_req('239.1.1.1'))
for i in range(30): option(f'many {i}', s, ADD, mreq(f'ff15::2:{i}'))
option('an IPv4 group, too', s, JOIN, group_req('239.1.1.1'), IP)
option('of IPv6 by IPv4', s, JOIN, group_req('ff15::9'), IP)
s.close()

print('-- filters')
s = udp(7000)
option('block before joining', s, BLOCK, group_req('ff15::1', OTHER))
option('join source', s, JOIN_SOURCE, group_req('ff15::1', OTHER))
option('join source again', s, JOIN_SOURCE, group_req('ff15::1', OTHER))
option('block in include mode', s, BLOCK, group_req('ff15::1', OTHER))
option('leave another source', s, LEAVE_SOURCE, group_req('ff15::1', 'fd09::99'))
option('source of the other family', s, JOIN_SOURCE, group_req('ff15::1', '10.1.1.1'))
option('short', s, JOIN_SOURCE, group_req('ff15::1'))
for i in range(65): option(f'source {i}', s, JOIN_SOURCE, group_req('ff15::1', f'fd09::2:{i}'))
option('drop', s, DROP, mreq('ff15::1'))
option('join', s, ADD, mreq('ff15::1'))
option('unblock', s, UNBLOCK, group_req('ff15::1', OTHER))
option('block', s, BLOCK, group_req('ff15::1', OTHER))
option('block again', s, BLOCK, group_req('ff15::1', OTHER))
option('leave a source in exclude mode', s, LEAVE_SOURCE, group_req('ff15::1', OTHER))
option('unblock', s, UNBLOCK, group_req('ff15::1', OTHER))
option('join source', s, JOIN_SOURCE, group_req('ff15::3', OTHER))
option('leave source', s, LEAVE_SOURCE, group_req('ff15::3', OTHER))
option('leave source again', s, LEAVE_SOURCE, group_req('ff15::3', OTHER))

print('-- whole filters')
option('include', s, MSFILTER, group_filter('ff15::1', 1, OTHER, OURS))
read_filter('shown', s, IPV6, MSFILTER, group_filter('ff15::1', 0, count=9), 144 + 128 * 9)
read_filter('one of two', s, IPV6, MSFILTER, group_filter('ff15::1', 0, count=1), 144 + 128)
read_filter('how many', s, IPV6, MSFILTER, group_filter('ff15::1', 0), 144)
read_filter('short', s, IPV6, MSFILTER, group_filter('ff15::1', 0), 143)
read_filter('no member', s, IPV6, MSFILTER, group_filter('ff15::2', 0), 144)
read_filter('elsewhere', s, IPV6, MSFILTER, group_filter('ff15::1', 0, index=1), 144)
read_filter('no group', s, IPV6, MSFILTER, group_filter('fd09::5', 0), 144)
read_filter('other family', s, IPV6, MSFILTER, group_filter('239.1.1.1', 0), 144)
option('exclude', s, MSFILTER, group_filter('ff15::1', 0, OTHER))
read_filter('shown', s, IPV6, MSFILTER, group_filter('ff15::1', 0, count=9), 144 + 128 * 9)
option('short', s, MSFILTER, group_filter('ff15::1', 1, OURS, OTHER)[:-1])
option('shorter', s, MSFILTER, group_filter('ff15::1', 1)[:-1])
option('too many', s, MSFILTER, group_filter('ff15::1', 1, *['fd09::%x' % i for i in range(65)]))
option('more than there are', s, MSFILTER, group_filter('ff15::1', 1, OURS, count=65))
option('mode', s, MSFILTER, group_filter('ff15::1', 7, OURS))
option('no such index', s, MSFILTER, group_filter('ff15::1', 1, OURS, index=99))
option('no group', s, MSFILTER, group_filter('fd09::5', 1, OURS))
option('family', s, MSFILTER, group_filter('239.1.1.1', 1, OURS))
option('of nothing', s, MSFILTER, group_filter('ff15::1', 1))
option('of no member', s, MSFILTER, group_filter('ff15::1', 0))
option('join', s, JOIN, group_req('239.1.1.1'), IP)
option('IPv4 filter', s, MSFILTER, group_filter('239.1.1.1', 1, '10.1.1.1', '10.1.1.2'), IP)
read_filter('shown', s, IP, MSFILTER, group_filter('239.1.1.1', 0, count=9), 144 + 128 * 9)
asked = socket.inet_aton('239.1.1.1') + socket.inet_aton(OURS4) + struct.pack('II', 0, 9)
read_filter('the other way', s, IP, IP_MSFILTER, asked, 16 + 36)
read_filter('short', s, IP, IP_MSFILTER, asked, 15)
option('IPv4 filter of another family', s, MSFILTER, group_filter('239.1.1.1', 1, 'fd09::1'), IP)
option('too many', s, MSFILTER, group_filter('239.1.1.1', 1, *['10.1.1.%d' % i for i in range(11)]), IP)
option('more than there are', s, MSFILTER, group_filter('239.1.1.1', 1, '10.1.1.1', count=11), IP)
option('short', s, MSFILTER, group_filter('239.1.1.1', 1, '10.1.1.1', count=2), IP)
read_filter('no member', s, IP, MSFILTER, group_filter('239.1.1.2', 0), 144)
t = socket.socket(socket.AF_INET6)
for name, value in ((ADD, mreq('ff15::1')), (ADD, b'1'), (DROP, mreq('ff15::1')), (IF, INDEX), (HOPS, 3), (ALL, 1)): option(f'a stream {name}', t, name, value)

print('-- interface')
show = lambda: print(s.getsockopt(IPV6, IF) - INDEX, s.getsockopt(IPV6, HOPS), s.getsockopt(IPV6, LOOP), s.getsockopt(IPV6, ALL))
option('by index', s, IF, INDEX); show()
option('wrong', s, IF, 99); show()
option('all', s, ALL, 7); option('all', s, ALL, 0); show()
tried('one byte', lambda: s.setsockopt(IPV6, ALL, b'\1'))
s.close()

print('-- hearing what we send')
a, b, c, out = udp(7001), udp(7001), udp(7001), udp()
option('a', a, ADD, mreq('ff15::3')); option('c', c, ALL, 0)
option('out', out, IF, INDEX)
def send(text, to='ff15::3', port=7001): tried(text, lambda: out.sendto(text.encode(), (to, port)))
send('one'); print('a', heard(a), 'b', heard(b), 'c', heard(c))
send('other', 'ff15::4'); print('a', heard(a), 'b', heard(b))
option('loop', out, LOOP, 0); send('two'); print('a', heard(a), 'b', heard(b)); option('loop', out, LOOP, 1)
option('hops', out, HOPS, 0); send('three'); print('a', heard(a)); option('hops', out, HOPS, 1)
option('block', a, BLOCK, group_req('ff15::3', OURS)); send('four'); print('a', heard(a), 'b', heard(b))
option('b', b, JOIN_SOURCE, group_req('ff15::3', OURS)); send('five'); print('a', heard(a), 'b', heard(b))
option('unblock', a, UNBLOCK, group_req('ff15::3', OURS)); send('six'); print('a', heard(a), 'b', heard(b), 'c', heard(c))
a.close(); option('b leaves', b, DROP, mreq('ff15::3')); send('seven'); print('b', heard(b))
print('-- end')
"""

MEMBER = r"""
import socket, struct, sys
group, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', port))
index = next(i for i, name in socket.if_nameindex() if name in ('en0', 'peer0'))
in6 = lambda a: socket.inet_pton(socket.AF_INET6, a)
storage = lambda a: struct.pack('=HHI16sI100x', socket.AF_INET6, 0, 0, in6(a), 0)
if len(sys.argv) > 3: s.setsockopt(socket.IPPROTO_IPV6, 46, struct.pack('I4x', index) + storage(group) + storage(sys.argv[3]))
else: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, in6(group) + struct.pack('I', index))
print('joined', flush=True)
data, who = s.recvfrom(100)
print(data.decode(), who[0], flush=True)
"""
SENDER = r"""
import socket, sys
group, own, port, text = sys.argv[1:5]
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind((own, 0))
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, next(i for i, name in socket.if_nameindex() if name in ('en0', 'peer0')))
s.sendto(text.encode(), (group, int(port)))
"""
# What Scapy makes of a capture: source, destination, hop limit, options of the hop-by-hop header, and the message.
READ = r"""
import socket, struct, sys
from scapy.all import rdpcap, IPv6, IPv6ExtHdrHopByHop, ICMPv6MLReport, ICMPv6MLDone, ICMPv6MLReport2, ICMPv6MLDMultAddrRec, RouterAlert
for p in rdpcap(sys.argv[1]):
    if IPv6 not in p or p[IPv6].src != sys.argv[2] or IPv6ExtHdrHopByHop not in p: continue
    p = p[IPv6]
    sum_ = p[IPv6ExtHdrHopByHop].payload.cksum
    again = p.copy(); del again[IPv6ExtHdrHopByHop].payload.cksum
    right = IPv6(bytes(again))[IPv6ExtHdrHopByHop].payload.cksum == sum_
    alert = [o.value for o in p[IPv6ExtHdrHopByHop].options if isinstance(o, RouterAlert)]
    head = f'{p.dst} {p.hlim} alert {alert} sum {right}'
    if ICMPv6MLReport2 in p:
        # Scapy reads one record and takes the next for its payload.
        rest = bytes(p[ICMPv6MLReport2])[8:]
        while rest:
            kind, auxiliary, count = struct.unpack_from('>BBH', rest)
            addresses = [socket.inet_ntop(socket.AF_INET6, rest[4 + 16 * i:20 + 16 * i]) for i in range(1 + count)]
            print(head, 'v2', kind, ' '.join(addresses))
            rest = rest[20 + 16 * count + 4 * auxiliary:]
    elif ICMPv6MLReport in p: print(head, 'v1', p[ICMPv6MLReport].mladdr)
    elif ICMPv6MLDone in p: print(head, 'done', p[ICMPv6MLDone].mladdr)
"""
QUERY = r"""
import sys
from scapy.all import Ether, IPv6, IPv6ExtHdrHopByHop, RouterAlert, ICMPv6MLQuery, ICMPv6MLQuery2, sendp
version, interface, own = sys.argv[1:4]
query = ICMPv6MLQuery2(mrd=500) if version == '2' else ICMPv6MLQuery(mrd=500)
sendp(Ether(dst='33:33:00:00:00:01') / IPv6(src=own, dst='ff02::1', hlim=1) / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / query,
      iface=interface, verbose=False)
"""


@pytest.fixture(params=[("tap", 1), ("tap", 2), ("veth", 1)], ids=lambda p: f"{p[0]}-{p[1]}")
def lab(request, own_lab):
    return own_lab(kind=request.param[0], shards=request.param[1], family="inet6")


def link_local(answer):
    return next(a["local"] for i in json.loads(answer) for a in i.get("addr_info", []) if "local" in a)


def test_equal_to_the_kernel(lab):
    kernel = lab.namespace("ke")
    kernel.run(["ip", "link", "add", "en0", "type", "veth", "peer", "name", "peer0"])
    kernel.run(["ip", "link", "set", "peer0", "up"])
    kernel.run(["ip", "link", "set", "lo", "up"])
    kernel.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.en0.accept_dad=0"])
    kernel.run(["ip", "link", "set", "en0", "up"])
    kernel.run(["ip", "address", "add", "10.9.0.2/24", "dev", "en0"])
    kernel.run(["ip", "address", "add", f"{OURS6}/64", "dev", "en0", "nodad"])
    wanted = kernel.run([PYTHON, "-c", SCRIPT, OURS6, PEER6, "10.9.0.2"])
    assert "-- end" in wanted
    assert lab.run(True, PYTHON, "-c", SCRIPT, OURS6, PEER6, "10.9.0.2").splitlines() == wanted.splitlines()


@pytest.mark.parametrize("group", [GROUP, SSM])
def test_groups_over_the_wire(lab, group):
    for ours_listens in (True, False):
        sender = PEER6 if ours_listens else OURS6
        listener = lab.start(ours_listens, PYTHON, "-c", MEMBER, group, 7100, *([sender] if group == SSM else []))
        wait_until(lambda: "joined" in listener.text(), lambda: listener.text())
        if ours_listens:
            assert f"en0       {group}" in lab.stack.utility("netstat", "-g")
        lab.run(not ours_listens, PYTHON, "-c", SENDER, group, sender, 7100, "hello")
        assert listener.wait().splitlines() == ["joined", f"hello {sender}"]
    assert group not in lab.stack.utility("netstat", "-g"), "who has ended listens to nothing"


def test_what_routers_are_told(lab):
    ours = next(a["address"] for a in lab.stack.interface("en0")["addresses"] if a["address"].startswith("fe80")).split("%")[0]
    peers = link_local(lab.peer.run(["ip", "-j", "-6", "address", "show", "dev", PEER_INTERFACE, "scope", "link"]))
    capture = lab.folder / "mld.pcap"
    tcpdump = lab.start_in_peer("tcpdump", "-i", PEER_INTERFACE, "-U", "-w", capture, "ip6")
    wait_until(lambda: "listening on" in tcpdump.text(), lambda: tcpdump.text())

    def told(*groups):
        def enough():
            said = lab.run(False, PYTHON, "-c", READ, capture, ours, status=None).splitlines()
            told.lines = [line.strip() for line in said if any(group in line for group in (GROUP, SSM))]
            return len(told.lines) >= len(groups)
        wait_until(enough, lambda: "\n".join(told.lines))
        return sorted(told.lines) == sorted(groups) or told.lines

    routers, alert = "ff02::16 1", "alert [0] sum True"
    member = lab.start_on_stack(PYTHON, "-c", MEMBER, GROUP, 7100)
    expected = [f"{routers} {alert} v2 4 {GROUP}"] * 2
    assert told(*expected) is True
    filtered = lab.start_on_stack(PYTHON, "-c", MEMBER, SSM, 7101, PEER6)
    # The join is to nobody yet, which is not worth a word; the source is.
    expected += [f"{routers} {alert} v2 5 {SSM} {PEER6}"] * 2
    assert told(*expected) is True
    lab.run(False, PYTHON, "-c", QUERY, "2", PEER_INTERFACE, peers)
    expected += [f"{routers} {alert} v2 2 {GROUP}", f"{routers} {alert} v2 1 {SSM} {PEER6}"]
    assert told(*expected) is True
    lab.run(False, PYTHON, "-c", QUERY, "1", PEER_INTERFACE, peers)
    expected += [f"{GROUP} 1 {alert} v1 {GROUP}", f"{SSM} 1 {alert} v1 {SSM}"]
    assert told(*expected) is True
    member.kill()
    expected += [f"ff02::2 1 {alert} done {GROUP}"]
    assert told(*expected) is True
    filtered.kill()
    assert told(*expected, f"ff02::2 1 {alert} done {SSM}") is True
