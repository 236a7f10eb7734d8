"""Extension headers, flow labels, whole headers and anycast addresses over a wire with the kernel: RFC 3542, RFC 6437, RFC 4291."""
import pytest

from lab import OURS6, PEER6
from namespaces import wait_until

PORT = 7003
PYTHON = "/usr/bin/python3"
# One option that nobody knows and everybody skips.
HEADER = """
import socket, struct, sys
V6, HOPOPTS, RECVHOPOPTS, DSTOPTS, RECVDSTOPTS, FLOWINFO, FLOWINFO_SEND = socket.IPPROTO_IPV6, 54, 53, 59, 58, 11, 33
def header(size): return bytes([0, size // 8 - 1, 0x1e, size - 4]) + bytes(size - 4)
"""
RECEIVER = HEADER + """
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", %d))
for option in RECVHOPOPTS, RECVDSTOPTS, FLOWINFO: s.setsockopt(V6, option, 1)
print("ready", flush=True)
for _ in range(3):
    data, control, _, name = s.recvmsg(60000, 2000)
    print(len(data), hash(data) == hash(bytes(i & 255 for i in range(len(data)))),
          sorted((kind, len(value), value[2:4].hex()) for level, kind, value in control if level == V6), flush=True)
""" % PORT
SENDER = HEADER + """
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(V6, FLOWINFO_SEND, 1)
def send(size, control=()): s.sendmsg([bytes(i & 255 for i in range(size))], control, 0, (sys.argv[1], %d, 0x12345, 0))
send(100, [(V6, HOPOPTS, header(8)), (V6, DSTOPTS, header(16))])
s.setsockopt(V6, HOPOPTS, header(16))
s.setsockopt(V6, DSTOPTS, header(24))
send(100)
send(30000)
""" % PORT


@pytest.fixture(params=[1, 2], ids=["1", "2"], scope="module")
def lab(labs, request):
    """The shared lab with IPv6; nothing of it is changed for good."""
    kept = labs.get(("tap", request.param, "inet6"))
    yield kept
    kept.end_programs()
    assert kept.stack.running(), "the stack has ended:\n" + kept.stack.log()


@pytest.mark.parametrize("on_stack", [True, False], ids=["to-the-stack", "from-the-stack"])
def test_datagrams_with_headers(lab, on_stack):
    receiver = lab.start(on_stack, PYTHON, "-u", "-c", RECEIVER)
    wait_until(lambda: "ready" in receiver.text() or not receiver.running(), receiver.text)
    lab.run(not on_stack, PYTHON, "-c", SENDER, OURS6 if on_stack else PEER6)
    flow = (11, 4, "2345")
    assert receiver.wait().splitlines()[1:] == [
        f"100 True {[flow, (54, 8, '1e04'), (59, 16, '1e0c')]}", f"100 True {[flow, (54, 16, '1e0c'), (59, 24, '1e14')]}",
        f"30000 True {[flow, (54, 16, '1e0c'), (59, 24, '1e14')]}"]


@pytest.mark.parametrize("on_stack", [True, False], ids=["server-on-stack", "client-on-stack"])
def test_streams_with_headers(lab, on_stack):
    code = HEADER + """
if sys.argv[1] == "serve":
    l = socket.create_server(("::", %d), family=socket.AF_INET6)
    l.setsockopt(V6, DSTOPTS, header(64))
    print("ready", flush=True)
    c, _ = l.accept()
    with c: c.sendall(b"".join(iter(lambda: c.recv(65536), b"")))
else:
    c = socket.socket(socket.AF_INET6)
    c.setsockopt(V6, HOPOPTS, header(24))
    c.connect((sys.argv[1], %d))
    import threading
    data = bytes(range(251)) * 4000
    threading.Thread(target=lambda: (c.sendall(data), c.shutdown(socket.SHUT_WR))).start()
    print(b"".join(iter(lambda: c.recv(65536), b"")) == data)
""" % (PORT, PORT)
    server = lab.start(on_stack, PYTHON, "-u", "-c", code, "serve")
    wait_until(lambda: "ready" in server.text() or not server.running(), server.text)
    assert lab.run(not on_stack, PYTHON, "-c", code, OURS6 if on_stack else PEER6) == "True\n"
    server.wait()


def test_a_header_of_the_programs_own(lab):
    """IPV6_HDRINCL: the kernel answers an echo whose header the program wrote."""
    code = """
import socket, struct
ours, peer = socket.inet_pton(socket.AF_INET6, "%s"), socket.inet_pton(socket.AF_INET6, "%s")
def sum16(b): return sum(struct.unpack("!%%dH" %% (len(b) // 2), b))
echo = struct.pack("!BBHHH", 128, 0, 0, 0x4711, 1) + b"programs"
total = sum16(ours + peer + struct.pack("!IxxxB", len(echo), 58) + echo)
while total >> 16: total = (total & 0xffff) + (total >> 16)
echo = echo[:2] + struct.pack("!H", total ^ 0xffff) + echo[4:]
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
raw.setsockopt(socket.IPPROTO_IPV6, 36, 1)
print(raw.getsockopt(socket.IPPROTO_IPV6, 36))
try: raw.sendto(b"short", ("%s", 0))
except OSError as fault: print(fault.errno)
raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 20, 0))
raw.sendto(struct.pack("!IHBB", 6 << 28 | 0x4321, len(echo), 58, 77) + ours + peer + echo, ("%s", 0))
while True:
    answer = raw.recv(1000)
    if answer[0] == 129 and answer[4:6] == b"\\x47\\x11": break
print(answer[8:])
""" % (OURS6, PEER6, PEER6, PEER6)
    said = lab.run(True, PYTHON, "-c", code).splitlines()
    assert said[0] == "1" and said[-1] == "b'programs'"


def test_the_kernel_finds_an_anycast_address(lab):
    code = """
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, 27, socket.inet_pton(socket.AF_INET6, "fd09::aaaa") + struct.pack("I", socket.if_nametoindex("en0")))
import signal
print("ready", flush=True)
signal.pause()
"""
    joined = lab.start_on_stack(PYTHON, "-u", "-c", code)
    wait_until(lambda: "ready" in joined.text() or not joined.running(), joined.text)
    said = lab.run(False, "ping", "-6", "-n", "-c", 1, "-W", 20, "fd09::aaaa", status=None)
    assert "1 received" in said, said
    joined.kill()


@pytest.mark.parametrize("on_stack", [True, False], ids=["ours", "the-kernels"])
def test_extensions_of_errors(lab, on_stack):
    """IPV6_RECVERR_RFC4884: both say the same of what an error brings behind the datagram."""
    hears, tells = (OURS6, PEER6) if on_stack else (PEER6, OURS6)
    receiver = """
import select, socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("%s", %d))
for option in 25, 31: s.setsockopt(socket.IPPROTO_IPV6, option, 1)
print(s.getsockopt(socket.IPPROTO_IPV6, 31))
print("ready", flush=True)
for _ in range(4):
    p = select.poll(); p.register(s, select.POLLERR); assert p.poll(20000)
    data, control, flags, name = s.recvmsg(2000, 500, socket.MSG_ERRQUEUE)
    for level, kind, value in control:
        if (level, kind) == (41, 25): print(len(data), data[80:84].hex(), value[:8].hex(), struct.unpack_from("=HBB", value, 12), flush=True)
""" % (hears, PORT)
    sender = """
import socket, struct
hears, tells = (socket.inet_pton(socket.AF_INET6, a) for a in ("%s", "%s"))
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
raw.bind(("%s", 0))
def checked(b):
    total = sum(struct.unpack("!%%dH" %% (len(b) // 2), b))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return b[:2] + struct.pack("!H", total ^ 0xffff) + b[4:]
quoted = struct.pack("!IHBB", 6 << 28, 88, 17, 64) + hears + tells + struct.pack("!HHHH", %d, 9, 88, 0) + bytes(80)
for words, version, length, spoil in (16, 0x20, 8, 0), (16, 0x20, 8, 1), (16, 0x20, 12, 0), (15, 0x20, 8, 0):
    extension = checked(struct.pack("!BBHHBBI", version, 0, 0, length, 1, 1, 0x01020304))
    if spoil: extension = extension[:-1] + bytes([extension[-1] ^ 8])
    raw.sendto(struct.pack("!BBHBxxx", 1, 3, 0, words) + quoted + extension, ("%s", 0))
""" % (hears, tells, tells, PORT, hears)
    listening = lab.start(on_stack, PYTHON, "-u", "-c", receiver)
    wait_until(lambda: "ready" in listening.text() or not listening.running(), listening.text)
    lab.run(not on_stack, PYTHON, "-c", sender)
    said = listening.wait().splitlines()
    assert said[:2] == ["1", "ready"]
    # Where the extension is, and whether something is wrong with it; raw packets need not come in their order.
    assert sorted(line.split(" ", 3)[3] for line in said[2:]) == ["(0, 0, 0)", "(80, 0, 0)", "(80, 1, 0)", "(80, 1, 0)"], said
    assert all(line.startswith("92 2000da") and line.split()[2] == "7100000003010300" for line in said[2:]), said
