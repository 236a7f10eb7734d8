"""What goes to the kernel: nothing of INET, unless IOPKT_KERNEL asks for it by name. And what ioctl() reads of our interfaces."""
import subprocess

import pytest

from shim_support import Stack

LIMIT = 60  # seconds; only ends what hangs


@pytest.fixture(scope="module")
def stack():
    with Stack() as running:
        yield running


def python(stack, script, **more):
    done = subprocess.run(["/usr/bin/python3", "-c", script], env=stack.environment(**more), capture_output=True, text=True, timeout=LIMIT)
    return done.stdout + done.stderr


# A socket of ours is an AF_UNIX one for the kernel, which /proc shows without asking the library.
WHOSE = """
import os, socket
try: s = socket.socket(socket.{family}, socket.SOCK_{type})
except OSError as error: print(error.strerror)
else:
    number = os.readlink(f'/proc/self/fd/{{s.fileno()}}').split('[')[1][:-1]
    print('ours' if any(f' {{number}}' in line for line in open('/proc/net/unix')) else 'kernel')
"""


@pytest.mark.parametrize("family, type, kernel, wanted", [
    ("AF_INET", "STREAM", "", "ours"),
    ("AF_INET", "STREAM", "inet6,packet,netlink", "ours"),
    ("AF_INET", "STREAM", "inet", "kernel"),
    ("AF_INET", "DGRAM", "netlink,inet", "kernel"),
    ("AF_INET6", "STREAM", "inet", "Address family not supported by protocol"),
    ("AF_INET6", "STREAM", "inet6", "kernel"),
    ("AF_PACKET", "RAW", "inet", "Address family not supported by protocol"),
    ("AF_NETLINK", "RAW", "inet", "Address family not supported by protocol"),
    ("AF_NETLINK", "RAW", "netlink", "kernel"),
])
def test_only_what_is_asked_for_by_name(stack, family, type, kernel, wanted):
    said = python(stack, WHOSE.format(family=family, type=type), IOPKT_KERNEL=kernel, IOPKT_QUIET="1")
    assert said.splitlines()[-1] == wanted


def test_io_uring_is_refused_by_name(stack):
    script = """
import ctypes
library = ctypes.CDLL(None)
print(library.io_uring_queue_init(8, ctypes.create_string_buffer(4096), 0))
"""
    said = python(stack, script)
    assert "-38\n" in said and "io_uring cannot use the stack's sockets" in said  # ENOSYS


def test_ioctl_reads_our_interfaces(stack):
    script = """
import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def ask(code, name=b'lo0'): return fcntl.ioctl(s, code, struct.pack('16s24x', name))
print(socket.inet_ntoa(ask(0x8915)[20:24]), socket.inet_ntoa(ask(0x891b)[20:24]))
print(struct.unpack_from('i', ask(0x8921), 16)[0] > 1000, struct.unpack_from('H', ask(0x8913), 16)[0] & 9 == 9)
index = struct.unpack_from('i', ask(0x8933), 16)[0]
print(index == socket.if_nametoindex('lo0'), fcntl.ioctl(s, 0x8910, struct.pack('16si20x', b'', index))[:4])
print(socket.if_nameindex() == [(index, 'lo0')])
for code, name in ((0x8915, b'nosuch0'), (0x8923, b'lo0'), (0x89f0, b'lo0')):
    try: ask(code, name); print('taken')
    except OSError as error: print(error.strerror)
"""
    assert python(stack, script).splitlines() == [
        "127.0.0.1 255.0.0.0", "True True", "True b'lo0\\x00'", "True",
        "No such device", "Operation not supported", "Inappropriate ioctl for device"]
