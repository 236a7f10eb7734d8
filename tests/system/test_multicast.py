"""Multicast groups: the same calls on the kernel's stack and on ours, the kernel as the other member, and a capture of what routers
are told, read by Scapy."""
import pytest

from lab import OURS, PEER, PEER_INTERFACE
from namespaces import wait_until

PYTHON = "/usr/bin/python3"
GROUP = "239.7.7.7"

# Joins, filters and what is heard on one host.
SCRIPT = r"""
import errno, select, socket, struct, sys
OURS, OTHER = sys.argv[1:3]
inet = socket.inet_aton
INDEX = socket.if_nametoindex('en0')
IP = socket.IPPROTO_IP
IF, TTL, LOOP, ADD, DROP, UNBLOCK, BLOCK, ADD_SOURCE, DROP_SOURCE, MSFILTER = 32, 33, 34, 35, 36, 37, 38, 39, 40, 41
JOIN, MBLOCK, MUNBLOCK, LEAVE, JOIN_SOURCE, LEAVE_SOURCE, ALL = 42, 43, 44, 45, 46, 47, 49

def udp(port=0):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('', port))
    return s
def tried(what, call):
    try: r = call(); print(what, 'done' if r is None else r)
    except OSError as error: print(what, errno.errorcode[error.errno])
def option(what, s, name, value): tried(what, lambda: s.setsockopt(IP, name, value))
def mreq(group, by=OURS): return inet(group) + inet(by)
def mreqn(group, index, by='0.0.0.0'): return inet(group) + inet(by) + struct.pack('i', index)
def source(group, whom, by=OURS): return inet(group) + inet(by) + inet(whom)
def storage(address): return struct.pack('=HH4s120x', socket.AF_INET, 0, inet(address))
def group_req(group, *more, index=INDEX): return struct.pack('I4x', index) + storage(group) + b''.join(map(storage, more))
def heard(s):
    out = []
    while select.select([s], [], [], 0.3 if not out else 0)[0]: out.append(s.recv(100).decode())
    return ' '.join(out) or '-'

s = udp(7000)
print('-- joining')
option('no group', s, ADD, mreq('10.1.1.1'))
option('short', s, ADD, b'1234567')
option('no such address', s, ADD, mreq('239.1.1.1', '10.99.99.99'))
option('no such index', s, ADD, mreqn('239.1.1.1', 99))
option('by address', s, ADD, mreq('239.1.1.1'))
option('again', s, ADD, mreq('239.1.1.1'))
option('again by index', s, ADD, mreqn('239.1.1.1', INDEX))
option('drop by another address', s, DROP, mreq('239.1.1.1', '10.99.99.99'))
option('drop what is not', s, DROP, mreq('239.1.1.2'))
option('drop', s, DROP, mreqn('239.1.1.1', INDEX))
option('group_req', s, JOIN, group_req('239.1.1.1'))
option('short group_req', s, JOIN, group_req('239.1.1.1')[:100])
option('leave', s, LEAVE, group_req('239.1.1.1'))
option('leave again', s, LEAVE, group_req('239.1.1.1'))
for i in range(22): option(f'many {i}', s, ADD, mreq(f'239.2.0.{i}'))
s.close()

print('-- filters')
s = udp(7000)
option('block before joining', s, BLOCK, source('239.1.1.1', OTHER))
option('add source', s, ADD_SOURCE, source('239.1.1.1', OTHER))
option('add source again', s, ADD_SOURCE, source('239.1.1.1', OTHER))
option('block in include mode', s, BLOCK, source('239.1.1.1', OTHER))
option('drop another source', s, DROP_SOURCE, source('239.1.1.1', '10.1.1.1'))
for i in range(11): option(f'source {i}', s, ADD_SOURCE, source('239.1.1.1', f'10.2.2.{i}'))
option('drop', s, DROP, mreq('239.1.1.1'))
option('join', s, ADD, mreq('239.1.1.1'))
option('unblock', s, UNBLOCK, source('239.1.1.1', OTHER))
option('block', s, MBLOCK, group_req('239.1.1.1', OTHER))
option('block again', s, MBLOCK, group_req('239.1.1.1', OTHER))
option('leave a source in exclude mode', s, LEAVE_SOURCE, group_req('239.1.1.1', OTHER))
option('unblock', s, MUNBLOCK, group_req('239.1.1.1', OTHER))
option('join source', s, JOIN_SOURCE, group_req('239.1.1.3', OTHER))
option('leave source', s, LEAVE_SOURCE, group_req('239.1.1.3', OTHER))
option('leave source again', s, LEAVE_SOURCE, group_req('239.1.1.3', OTHER))
filter_ = lambda mode, *whom: inet('239.1.1.1') + inet(OURS) + struct.pack('II', mode, len(whom)) + b''.join(map(inet, whom))
option('filter include', s, MSFILTER, filter_(1, OURS, OTHER))
option('filter short', s, MSFILTER, filter_(1, OURS, OTHER)[:-1])
option('filter mode', s, MSFILTER, filter_(7, OURS))
option('filter of nothing', s, MSFILTER, filter_(1))
option('filter of no member', s, MSFILTER, filter_(0))
t = socket.socket(); option('a stream', t, ADD, mreq('239.1.1.1')); option('a stream', t, IF, inet(OURS)); option('a stream', t, TTL, 3)

print('-- interface')
show = lambda: print(socket.inet_ntoa(s.getsockopt(IP, IF, 4)), s.getsockopt(IP, TTL), s.getsockopt(IP, LOOP), s.getsockopt(IP, ALL))
show()
option('by address', s, IF, inet(OURS)); show()
option('by index', s, IF, mreqn('0.0.0.0', INDEX)); show()
option('wrong', s, IF, inet('10.99.99.99')); option('short', s, IF, b'12'); show()
option('none', s, IF, inet('0.0.0.0')); show()
option('ttl', s, TTL, 256); option('ttl', s, TTL, -1); show()
s.close()

print('-- hearing what we send')
a, b, c, out = udp(7001), udp(7001), udp(7001), udp()
option('a', a, ADD, mreq('239.3.3.3')); option('c', c, ALL, 0)
option('out', out, IF, inet(OURS))
def send(text, to='239.3.3.3', port=7001): out.sendto(text.encode(), (to, port))
send('one'); print('a', heard(a), 'b', heard(b), 'c', heard(c))
send('other group', '239.3.3.4'); print('a', heard(a), 'b', heard(b))
option('loop', out, LOOP, 0); send('two'); print('a', heard(a), 'b', heard(b)); option('loop', out, LOOP, 1)
option('ttl', out, TTL, 0); send('three'); print('a', heard(a)); option('ttl', out, TTL, 1)
option('block', a, BLOCK, source('239.3.3.3', OURS)); send('four'); print('a', heard(a), 'b', heard(b))
option('b', b, ADD_SOURCE, source('239.3.3.3', OURS)); send('five'); print('a', heard(a), 'b', heard(b))
option('unblock', a, UNBLOCK, source('239.3.3.3', OURS)); send('six'); print('a', heard(a), 'b', heard(b), 'c', heard(c))
a.close(); option('b leaves', b, DROP, mreq('239.3.3.3')); send('seven'); print('b', heard(b))

print('-- broadcast')
tried('refused', lambda: out.sendto(b'x', (OURS.rsplit('.', 1)[0] + '.255', 7001)))
out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
send('to all', OURS.rsplit('.', 1)[0] + '.255'); print('b', heard(b), 'c', heard(c))
print('-- end')
"""

MEMBER = r"""
import socket, sys
group, own, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', port))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(own))
print('joined', flush=True)
data, who = s.recvfrom(100)
print(data.decode(), who[0], flush=True)
"""
SENDER = r"""
import socket, sys
group, own, port, text = sys.argv[1:5]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
s.sendto(text.encode(), (group, int(port)))
"""
# What Scapy makes of a capture: type, group, sources of each record; IP destination and TTL.
READ = r"""
import sys
from scapy.all import rdpcap, IP
from scapy.contrib.igmp import IGMP
from scapy.contrib.igmpv3 import IGMPv3, IGMPv3mr
for p in rdpcap(sys.argv[1]):
    if IP not in p or p[IP].proto != 2 or p[IP].src != sys.argv[2]: continue
    p = p[IP]
    options = ','.join(type(o).__name__ for o in p.options)
    if IGMPv3mr in p:
        for r in p[IGMPv3mr].records: print(p.dst, p.ttl, options, 'v3', r.rtype, r.maddr, ' '.join(r.srcaddrs))
    else: print(p.dst, p.ttl, options, 'type', hex(bytes(p.payload)[0]), p.payload.gaddr)
"""
QUERY = r"""
import sys
from scapy.all import Ether, IP, sendp
from scapy.contrib.igmp import IGMP
from scapy.contrib.igmpv3 import IGMPv3, IGMPv3mq
version, interface = sys.argv[1:3]
query = IGMPv3(type=0x11, mrcode=5) / IGMPv3mq() if version == '3' else IGMP(type=0x11, mrcode=5)
sendp(Ether(dst='01:00:5e:00:00:01') / IP(dst='224.0.0.1', ttl=1) / query, iface=interface, verbose=False)
"""


@pytest.fixture(params=[("tap", 1), ("tap", 2), ("veth", 1)], ids=lambda p: f"{p[0]}-{p[1]}")
def lab(request, own_lab):
    return own_lab(kind=request.param[0], shards=request.param[1])


def test_equal_to_the_kernel(lab):
    kernel = lab.namespace("ke")
    kernel.run(["ip", "link", "add", "en0", "type", "veth", "peer", "name", "peer0"])
    kernel.run(["ip", "link", "set", "peer0", "up"])
    kernel.run(["ip", "address", "add", f"{OURS}/24", "broadcast", "+", "dev", "en0"])
    kernel.run(["ip", "link", "set", "en0", "up"])
    wanted = kernel.run([PYTHON, "-c", SCRIPT, OURS, PEER])
    assert "-- end" in wanted
    assert lab.run(True, PYTHON, "-c", SCRIPT, OURS, PEER).splitlines() == wanted.splitlines()


def test_groups_over_the_wire(lab):
    for ours_listens in (True, False):
        listener = lab.start(ours_listens, PYTHON, "-c", MEMBER, GROUP, lab.address(ours_listens), 7100)
        wait_until(lambda: "joined" in listener.text(), lambda: listener.text())
        if ours_listens:
            assert f"en0       {GROUP}" in lab.stack.utility("netstat", "-g")
        lab.run(not ours_listens, PYTHON, "-c", SENDER, GROUP, lab.address(not ours_listens), 7100, "hello")
        assert listener.wait().splitlines() == ["joined", f"hello {lab.address(not ours_listens)}"]
    assert GROUP not in lab.stack.utility("netstat", "-g"), "who has ended listens to nothing"


def test_what_routers_are_told(lab):
    capture = lab.folder / "igmp.pcap"
    tcpdump = lab.start_in_peer("tcpdump", "-i", PEER_INTERFACE, "-U", "-w", capture, "igmp")
    wait_until(lambda: "listening on" in tcpdump.text(), lambda: tcpdump.text())

    def told(count):
        def enough():
            said = lab.run(False, PYTHON, "-c", READ, capture, OURS, status=None).splitlines()
            told.lines = [line for line in said if line[:3].isdigit()]
            return len(told.lines) >= count
        wait_until(enough, lambda: "\n".join(told.lines))
        return told.lines
    router_alert = "IPOption_Router_Alert"
    listener = lab.start_on_stack(PYTHON, "-c", MEMBER, GROUP, OURS, 7100)
    assert told(2) == [f"224.0.0.22 1 {router_alert} v3 4 {GROUP} "] * 2
    lab.run(False, PYTHON, "-c", QUERY, "3", PEER_INTERFACE)
    assert told(3)[2] == f"224.0.0.22 1 {router_alert} v3 2 {GROUP} "
    lab.run(False, PYTHON, "-c", QUERY, "2", PEER_INTERFACE)
    assert told(4)[3] == f"{GROUP} 1 {router_alert} type 0x16 {GROUP}"
    listener.kill()
    assert told(5)[4] == f"224.0.0.2 1 {router_alert} type 0x17 {GROUP}"
