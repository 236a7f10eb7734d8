"""ioctl() on interfaces, routes and neighbours: the same calls on the kernel's stack and on ours, and the host's own utilities."""
import os
import re

import pytest

from lab import OURS

SCRIPT = r"""
import ctypes, errno, fcntl, os, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
NAME = b'en0'
LOOPBACK = b'lo' if any(name == 'lo' for _, name in socket.if_nameindex()) else b'lo0'

def address(text, family=socket.AF_INET): return struct.pack('=HH4s8x', family, 0, socket.inet_aton(text))

def call(what, code, data, show=lambda data: ''):
    data = bytearray(data)
    try: fcntl.ioctl(s, code, data); print(what, show(data) or 'done')
    except OSError as error: print(what, errno.errorcode[error.errno])

def interface(what, code, value=b'', show=lambda data: '', name=NAME):
    call(what, code, struct.pack('16s24s', name, value), show)

def state(label):
    inet = lambda data: socket.inet_ntoa(bytes(data[20:24]))
    print(label)
    interface('address', 0x8915, show=inet)
    interface('netmask', 0x891b, show=inet)
    interface('broadcast', 0x8919, show=inet)
    interface('mtu', 0x8921, show=lambda data: str(struct.unpack_from('i', data, 16)[0]))
    # UP, BROADCAST, DEBUG, NOARP
    interface('flags', 0x8913, show=lambda data: hex(struct.unpack_from('H', data, 16)[0] & 0x87))

UP, GATEWAY, HOST, MTU = 1, 2, 4, 0x40
def route(what, code, destination, mask, gateway=None, flags=UP, device=None, family=socket.AF_INET, metric=0, mtu=0):
    name = ctypes.create_string_buffer(device) if device else None
    to = address(gateway) if gateway else bytes(16)
    call(what, code, struct.pack('@L16s16s16sHhLLhQLLH', 0, address(destination, family), to, address(mask), flags, 0, 0, 0,
                                 metric, ctypes.addressof(name) if name else 0, mtu, 0, 0).ljust(120, b'\0'))
ADD, DELETE = 0x890b, 0x890c

def arp(what, code, text, mac='', flags=0, device=NAME, family=socket.AF_INET, hardware=1, show=lambda data: ''):
    ha = struct.pack('=H14s', hardware if mac else 0, bytes.fromhex(mac.replace(':', '')))
    call(what, code, struct.pack('16s16si16s16s', address(text, family), ha, flags, bytes(16), device), show)
neighbour = lambda data: data[18:24].hex(':') + ' ' + hex(struct.unpack_from('i', data, 32)[0])

interface('down', 0x8914, struct.pack('h', 0))
interface('no address', 0x8916, address('0.0.0.0'))
state('-- empty')
interface('netmask without address', 0x891c, address('255.0.0.0'))
interface('address', 0x8916, address('10.7.0.1'))
state('-- down')
interface('up', 0x8914, struct.pack('h', 1))
state('-- class')
interface('netmask', 0x891c, address('255.255.255.0'))
state('-- netmask')
interface('bad netmask', 0x891c, address('255.0.255.0'))
interface('broadcast', 0x891a, address('10.7.0.0'))
interface('netmask', 0x891c, address('255.255.0.0'))
interface('the same address', 0x8916, address('10.7.0.1'))
state('-- own broadcast')
interface('mtu', 0x8922, struct.pack('i', 1400))
interface('small mtu', 0x8922, struct.pack('i', 40))
interface('negative mtu', 0x8922, struct.pack('i', -1))
interface('debug, no arp', 0x8914, struct.pack('H', 0x85))
state('-- flags')
interface('flags', 0x8914, struct.pack('H', 1))
interface('netmask', 0x891c, address('255.255.255.0'))
for code in (0x8914, 0x8916, 0x8918, 0x891a, 0x891c, 0x8922, 0x8924): interface('no such interface', code, address('10.7.0.1'), name=b'nosuch0')
interface('hardware address', 0x8924, struct.pack('H14s', 1, bytes.fromhex('020000000a0b')))
interface('group address', 0x8924, struct.pack('H14s', 1, bytes.fromhex('030000000a0b')))
interface('other family', 0x8924, struct.pack('H14s', 6, bytes.fromhex('020000000a0c')))
interface('read', 0x8927, show=lambda data: data[18:24].hex(':'))

print('-- routes')
route('add', ADD, '10.8.0.0', '255.255.0.0', '10.7.0.2', UP | GATEWAY)
route('add again', ADD, '10.8.0.0', '255.255.0.0', '10.7.0.2', UP | GATEWAY)
route('host', ADD, '10.8.0.1', '0.0.0.0', '10.7.0.2', UP | GATEWAY | HOST)
route('default', ADD, '0.0.0.0', '0.0.0.0', '10.7.0.2', UP | GATEWAY, device=NAME, metric=1)
route('over', ADD, '10.9.0.0', '255.255.0.0', device=NAME)
route('mtu', ADD, '10.10.0.0', '255.255.0.0', '10.7.0.2', UP | GATEWAY | MTU, mtu=1300)
route('no way', ADD, '10.11.0.0', '255.255.0.0', '172.16.0.1', UP | GATEWAY, device=NAME)
route('bits below the mask', ADD, '10.11.0.1', '255.255.0.0', '10.7.0.2', UP | GATEWAY)
route('bad mask', ADD, '10.0.0.0', '255.0.255.0', '10.7.0.2', UP | GATEWAY)
route('gateway behind another', ADD, '10.11.0.0', '255.255.0.0', '10.7.0.2', UP | GATEWAY, device=LOOPBACK)
route('reject', ADD, '10.14.0.0', '255.255.0.0', '172.16.0.1', UP | GATEWAY | 0x200)
route('no device', ADD, '10.11.0.0', '255.255.0.0', device=b'nosuch0')
route('nothing', ADD, '10.11.0.0', '255.255.0.0')
route('no gateway', ADD, '10.11.0.0', '255.255.0.0', None, UP | GATEWAY, device=NAME)
route('family', ADD, '10.11.0.0', '255.255.0.0', device=NAME, family=1)
route('delete', DELETE, '10.8.0.0', '255.255.0.0', '10.7.0.2', UP | GATEWAY)
route('delete again', DELETE, '10.8.0.0', '255.255.0.0', '10.7.0.2', UP | GATEWAY)
route('delete by destination', DELETE, '10.8.0.1', '0.0.0.0', None, UP | HOST)
route('delete over', DELETE, '10.9.0.0', '255.255.0.0', device=NAME)
route('other gateway', DELETE, '10.10.0.0', '255.255.0.0', '10.7.0.3', UP | GATEWAY)
route('no route', DELETE, '10.12.0.0', '255.255.0.0')

print('-- neighbours')
arp('get none', 0x8954, '10.7.0.9', show=neighbour)
arp('set', 0x8955, '10.7.0.9', '02:00:00:00:00:09', 4)
arp('get', 0x8954, '10.7.0.9', show=neighbour)
arp('set again', 0x8955, '10.7.0.9', '02:00:00:00:00:19', 4, device=b'')
arp('get', 0x8954, '10.7.0.9', show=neighbour)
arp('get without device', 0x8954, '10.7.0.9', device=b'', show=neighbour)
arp('no such device', 0x8954, '10.7.0.9', device=b'nosuch0')
arp('family', 0x8955, '10.7.0.9', '02:00:00:00:00:09', 4, family=1)
arp('hardware', 0x8955, '10.7.0.9', '02:00:00:00:00:09', 4, hardware=6)
arp('mask of what is not published', 0x8955, '10.7.0.9', '02:00:00:00:00:09', 0x24)
arp('delete', 0x8953, '10.7.0.9')
arp('delete what is not', 0x8953, '10.7.0.77')

print('-- a plain user')
os.setuid(65534)
interface('mtu', 0x8922, struct.pack('i', 1300))
interface('address', 0x8916, address('10.7.0.3'))
route('route', ADD, '10.13.0.0', '255.255.0.0', device=NAME)
arp('set', 0x8955, '10.7.0.9', '02:00:00:00:00:09', 4)
arp('get', 0x8954, '10.7.0.78', show=neighbour)
state('-- end')
"""


@pytest.fixture
def lab(own_lab):
    return own_lab()


needs_users = pytest.mark.skipif(os.system("setpriv --reuid=65534 true 2>/dev/null") != 0, reason="root is the only user here")


@needs_users
def test_equal_to_the_kernel(lab):
    kernel = lab.namespace("ke")
    kernel.run(["ip", "link", "add", "en0", "type", "veth", "peer", "name", "other"])
    kernel.run(["ip", "link", "set", "other", "up"])
    wanted = kernel.run(["/usr/bin/python3", "-c", SCRIPT])
    assert "-- end" in wanted and "read 02:00:00:00:0a:0b" in wanted and wanted.count("EPERM") == 4
    assert lab.run(True, "/usr/bin/python3", "-c", SCRIPT).splitlines() == wanted.splitlines()


RIGHTS = r"""
import errno, os, socket
def tried(what, call):
    try: call(); print(what, 'done')
    except OSError as error: print(what, errno.errorcode[error.errno])
def low(port, s=None): tried(f'port {port}', lambda: (s or socket.socket()).bind(('0.0.0.0', port)))
def raw(): tried('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
early, late = socket.socket(), socket.socket()
master = socket.socket()
master.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
master.bind(('0.0.0.0', 8080))
low(80); raw()
if os.getuid() == 0:
    os.seteuid(65534); low(81); raw()
    os.seteuid(0); low(82); raw()
    os.setuid(65534); low(83); low(84, early); raw()
thief = socket.socket()
thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
tried('port of another user', lambda: thief.bind(('0.0.0.0', 8080)))
"""


@needs_users
@pytest.mark.parametrize("user", ["root", "nobody", "nobody-with-a-capability"])
def test_rights_are_those_of_the_moment(lab, user):
    kernel = lab.namespace("ke")
    words = {"root": [], "nobody": ["setpriv", "--reuid=65534"],
             "nobody-with-a-capability": ["setpriv", "--reuid=65534", "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"]}[user]
    wanted = kernel.run([*words, "/usr/bin/python3", "-c", RIGHTS])
    assert ("EACCES" in wanted) == (user != "nobody-with-a-capability")
    assert lab.run(True, *words, "/usr/bin/python3", "-c", RIGHTS).splitlines() == wanted.splitlines()


def test_the_hosts_own_utilities_configure_ours(lab):
    """net-tools do all by ioctl()."""
    def run(*words, status=0): return lab.run(True, *words, status=status)
    run("/sbin/ifconfig", "en0", "10.20.0.2", "netmask", "255.255.255.0", "mtu", "1400", "up")
    said = lab.stack.utility("ifconfig", "en0")
    assert "10.20.0.2 netmask 0xffffff00 broadcast 10.20.0.255" in said and "mtu 1400" in said and OURS not in said
    run("/sbin/route", "add", "-net", "10.21.0.0", "netmask", "255.255.0.0", "gw", "10.20.0.1")
    run("/sbin/route", "add", "default", "gw", "10.20.0.1", "en0")
    run("/sbin/arp", "-i", "en0", "-s", "10.20.0.1", "02:00:00:00:00:01")
    table = lab.stack.utility("netstat", "-rn")
    assert re.search(r"10\.21/16 +10\.20\.0\.1 ", table) and re.search(r"default +10\.20\.0\.1 ", table), table
    assert "02:00:00:00:00:01" in lab.stack.utility("arp", "-an")
    assert "File exists" in run("/sbin/route", "add", "default", "gw", "10.20.0.1", "en0", status=None)
    run("/sbin/route", "del", "-net", "10.21.0.0", "netmask", "255.255.0.0")
    run("/sbin/arp", "-i", "en0", "-d", "10.20.0.1")
    assert "10.21" not in lab.stack.utility("netstat", "-rn") and "02:00:00:00:00:01" not in lab.stack.utility("arp", "-an")
