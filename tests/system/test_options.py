"""What options and routes do that no other test sees from outside: two receivers of one port, identifiers on the wire, statistics of
pools, and what sendto() says at once."""
import json
import os
import pathlib
import signal
import struct
import subprocess
import time

import pytest

from shim_support import BUILD, PROGRAM6, Stack
from stack import no_thread_sanitizer, utility

LIMIT = 60  # seconds; only ends what hangs


def python(stack, script):
    done = subprocess.run(["/usr/bin/python3", "-c", script], env=stack.environment(), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout


TWO_RECEIVERS = """
import select, socket
both = []
for _ in range(2):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(('127.0.0.1', 5000))
    both.append(s)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(10): sender.sendto(b'%d' % i, ('127.0.0.1', 5000))
got = []
while sum(map(len, got)) < EXPECTED and select.select(both, [], []):
    for s in select.select(both, [], [], 0)[0]: got.append(s.recv(10))
for s in both:
    s.setblocking(False)
    try: got.append(s.recv(10))
    except BlockingIOError: pass
print(b''.join(sorted(got)).decode())
"""


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("option, copies", [([], 1), (["reuseport_unicast"], 2)])
def test_reuseport_unicast(option, copies, shards):
    with Stack(shards=shards, options=option) as stack:
        script = TWO_RECEIVERS.replace("EXPECTED", str(10 * copies))
        assert python(stack, script) == "".join(str(i) * copies for i in range(10)) + "\n"


BROADCASTS = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for whole in range(2):
    s.setsockopt(socket.IPPROTO_IP, 10, 2 if whole else 0)  # IP_MTU_DISCOVER: IP_PMTUDISC_DO, IP_PMTUDISC_DONT
    for i in range(150): s.sendto(bytes(10 if whole else 2000), ('10.9.9.255', 9))
"""


def identifiers(path):
    """Of the IPv4 packets in a capture file: (identifier, may be fragmented)."""
    data = path.read_bytes()
    at, found = 24, []
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        frame = data[at + 16:at + 16 + length]
        if frame[12:14] == b"\x08\x00":
            found.append((struct.unpack_from(">H", frame, 18)[0], frame[20] & 0x40 == 0))
        at += 16 + length
    return found


@pytest.mark.parametrize("reserved", [0, 32768])
def test_ipid_reserved(tmp_path, reserved):
    capture = tmp_path / "out.pcap"
    with Stack(options=[f"ipid_reserved={reserved}"], arguments=["-d", "pcap", f"write={capture}"]) as stack:
        name = next(n for n in stack.utility("ifconfig", "-l").split() if n != "lo0")
        stack.utility("ifconfig", name, "10.9.9.1", "netmask", "255.255.255.0", "up")
        python(stack, BROADCASTS)
    sent = identifiers(capture)
    assert [sum(may for _, may in sent), sum(not may for _, may in sent)] == [300, 150]
    if reserved:
        assert min(number for number, _ in sent) > reserved
    else:
        assert {number for number, may in sent if not may} == {0}  # RFC 6864: an atomic datagram needs none


def test_pool_options_are_in_the_statistics():
    with Stack(options=["num_pool_cache=3", "mbuf_cache=100", "pkt_cache=90", "mtag_cache=80"]) as stack:
        memory = json.loads(stack.utility("netstat", "-m", "--json"))
        assert [memory[key] for key in ("num_pool_cache", "mbuf_cache", "pkt_cache", "mtag_cache")] == [3, 100, 90, 80]
        assert "over 3 shared pools" in stack.utility("netstat", "-m")
        assert "num_pool_cache = 3" in stack.utility("sysctl", "kern.mbuf.num_pool_cache")
    with Stack(options=["cache=0"]) as stack:
        memory = json.loads(stack.utility("netstat", "-m", "--json"))
        assert [memory[key] for key in ("caches", "mbuf_cache")] == [0, 0]


ASKS_TWICE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for line in sys.stdin:
    try: print(s.sendto(b'x', ('10.9.9.7', 9)), flush=True)
    except OSError as error: print(error.strerror, flush=True)
"""


def test_sendto_knows_of_a_route_that_went_and_came(tmp_path):
    with Stack(arguments=["-d", "pcap", f"write={tmp_path / 'out.pcap'}"]) as stack:
        name = next(n for n in stack.utility("ifconfig", "-l").split() if n != "lo0")
        program = subprocess.Popen(["/usr/bin/python3", "-c", ASKS_TWICE], env=stack.environment(), text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def sent():
            program.stdin.write("\n")
            program.stdin.flush()
            return program.stdout.readline().strip()

        assert sent() == "Network is unreachable"
        stack.utility("ifconfig", name, "10.9.9.1", "netmask", "255.255.255.0", "up")
        assert [sent(), sent()] == ["1", "1"]
        stack.utility("ifconfig", name, "10.9.9.1", "delete")
        assert sent() == "Network is unreachable"
        program.stdin.close()
        assert program.wait(LIMIT) == 0


def test_requests_wait_for_functional_connections_and_none_is_lost(tmp_path):
    """A driver whose open() blocks holds up the requests behind it; looking goes on."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with Stack(options=["threads_min=4", "threads_incr=1", "threads_max=5"]) as stack:

        def start(*words):
            return subprocess.Popen([utility(words[0]), *words[1:]], env=dict(stack.environment(IOPKT_RUN_DIR=str(stack.prefix)), LD_PRELOAD=""), stderr=subprocess.PIPE, text=True)

        def figure(name):
            return int(stack.utility("sysctl", "-n", f"qnx.kern.functional.{name}"))

        waiting = [start("mount", "-T", f"io-pkt{stack.instance}", "-o", f"wait={pipe}", BUILD / "tests/drivers/devnp-test.so")]
        end = time.monotonic() + LIMIT
        while figure("in_service") < 1 and time.monotonic() < end:
            time.sleep(0.01)
        waiting += [start("sysctl", "-w", f"net.inet.tcp.delack={20 + i}") for i in range(9)]
        while figure("waited") < 5 and time.monotonic() < end:
            time.sleep(0.01)
        assert [figure(name) for name in ("in_service", "made", "waited", "exhausted")] == [5, 5, 5, 1]
        assert "all 5 functional connections are in service (threads_max)" in stack.log()
        open(pipe, "wb").close()
        for process in waiting:
            assert process.wait(LIMIT) == 0, process.stderr.read()
        assert [figure(name) for name in ("in_service", "served", "most_in_service")] == [0, 10, 5]
        assert "test0" in stack.utility("ifconfig", "-l")


def threads(stack):
    """name: (policy, priority) of each thread, as the kernel has them (proc(5), stat, fields 40 and 41)."""
    found = {}
    for stat in pathlib.Path(f"/proc/{stack.process.pid}/task").glob("*/stat"):
        head, _, rest = stat.read_text().rpartition(")")
        fields = rest.split()
        found[head.split("(", 1)[1]] = (int(fields[38]), int(fields[37]))
    return found


ECHO = """
import hashlib, os, socket, threading
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(8)
data = os.urandom(1 << 20)
def serve():
    s, _ = l.accept()
    while part := s.recv(65536): s.sendall(part)
    s.close()
threads = [threading.Thread(target=serve) for _ in range(4)]
for t in threads: t.start()
def ask():
    c = socket.create_connection(l.getsockname())
    t = threading.Thread(target=lambda: (c.sendall(data), c.shutdown(socket.SHUT_WR))); t.start()
    back = b''
    while part := c.recv(65536): back += part
    t.join(); print(back == data)
for _ in range(4): ask()
for t in threads: t.join()
"""


@pytest.mark.parametrize("packet_threads", [1, 2])
def test_a_resource_manager_of_its_own(packet_threads):
    with Stack(shards=packet_threads, arguments=["-D"]) as stack:
        assert python(stack, ECHO) == "True\n" * 4
        names = threads(stack)
        assert "io-pkt.resmgr" in names
        assert [n for n in sorted(names) if n.startswith("io-pkt.") and n[7:].isdigit()] == [f"io-pkt.{i}" for i in range(packet_threads)]
        assert all(s["shard"] == 0 for s in json.loads(stack.utility("netstat", "-an", "--json"))["sockets"])


def test_too_many_threads_beside_the_resource_manager():
    with pytest.raises(AssertionError, match="with -D there are 63 packet threads at most"):
        with Stack(shards=64, arguments=["-D"]):
            pass


@no_thread_sanitizer
@pytest.mark.skipif(os.geteuid() != 0, reason="real-time priorities need the right to them")
def test_priorities():
    round_robin, other = 2, 0
    with Stack(shards=2, options=["rx_prio=30", "timer_pulse_prio=12"], arguments=["-P", "25"]) as stack:
        assert python(stack, ECHO) == "True\n" * 4
        found = threads(stack)
        assert found["io-pkt.main"] == (round_robin, 25)
        assert found["io-pkt.0"] == found["io-pkt.1"] == (round_robin, 30)
    with Stack() as stack:
        assert set(threads(stack).values()) == {(other, 0)}


def test_somaxconn_bounds_what_listen_asks_for():
    script = """
import socket, sys
l = socket.socket(); l.bind(('127.0.0.1', 7000)); l.listen(100000); print(flush=True); sys.stdin.read()
"""
    for option, limit in (["somaxconn=5000"], 5000), ([], 4096):
        with Stack(options=option) as stack:
            program = subprocess.Popen(["/usr/bin/python3", "-c", script], env=stack.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            program.stdout.readline()
            listener, = json.loads(stack.utility("netstat", "-an", "--json"))["sockets"]
            assert (listener["state"], listener["send_queue"]) == ("LISTEN", limit)
            program.stdin.close()
            assert program.wait(LIMIT) == 0


CONNECTS_AGAIN = """
import socket, struct
TCP, IP, V6, SOCKET = socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.SOL_SOCKET
OF_ALL = [(SOCKET, socket.SO_KEEPALIVE, 1), (SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 9)), (SOCKET, socket.SO_RCVLOWAT, 3),
          (SOCKET, socket.SO_TIMESTAMP if hasattr(socket, 'SO_TIMESTAMP') else 29, 1), (TCP, socket.TCP_NODELAY, 1), (TCP, socket.TCP_SYNCNT, 3),
          (TCP, socket.TCP_USER_TIMEOUT, 5000), (TCP, socket.TCP_CONGESTION, b'reno'), (TCP, socket.TCP_MAXSEG, 1000), (TCP, socket.TCP_QUICKACK, 1),
          (TCP, socket.TCP_DEFER_ACCEPT, 5), (SOCKET, socket.SO_SNDBUF, 50000), (SOCKET, socket.SO_RCVBUF, 60000), (SOCKET, 0x100a, 3),
          (SOCKET, 46, 50), (IP, socket.IP_TOS, 16), (IP, socket.IP_TTL, 33), (IP, 10, 0), (IP, 21, 7),
          (IP, 4, bytes([7, 7, 4, 0, 0, 0, 0, 0])), *((IP, name, 1) for name in (6, 7, 8, 11, 12, 13))]
OF_V6 = [(V6, socket.IPV6_V6ONLY, 1), (V6, socket.IPV6_UNICAST_HOPS, 44), (V6, socket.IPV6_TCLASS, 8), (V6, 23, 0), (V6, 62, 1),
         (V6, 59, bytes([0, 0, 1, 4, 0, 0, 0, 0])), *((V6, name, 1) for name in (2, 3, 4, 5, 8, 11, 25, 33, 49, 51, 53, 56, 58, 60, 66))]
def try_twice(family, host, options):
    l = socket.create_server((host, 0), family=family)
    c = socket.socket(family)
    for level, name, value in options: c.setsockopt(level, name, value)
    shown = lambda: {(level, name): c.getsockopt(level, name, 64) for level, name, value in options}
    before = shown()
    try: c.connect((host, 9)); print('connected')
    except ConnectionRefusedError: pass
    print({what: (before[what], now) for what, now in shown().items() if now != before[what]})
    c.connect(l.getsockname())
    # Of a connection TCP_MAXSEG is what it has come to.
    print({what: (before[what], now) for what, now in shown().items() if now != before[what] and what != (TCP, socket.TCP_MAXSEG)})
    print(c.getsockopt(TCP, socket.TCP_MAXSEG) <= 1000)
try_twice(socket.AF_INET, '127.0.0.1', OF_ALL)
try_twice(socket.AF_INET6, '::1', OF_ALL + OF_V6)
"""


def test_a_socket_that_connects_again_keeps_its_options():
    with Stack(program=PROGRAM6) as stack:
        assert python(stack, CONNECTS_AGAIN) == "{}\n{}\nTrue\n" * 2


CONNECTS_AGAIN_WITHOUT_RIGHTS = """
import os, select, socket
def sockets(level, name, value):
    for blocking in True, False:
        c = socket.socket(socket.AF_INET6); c.setsockopt(level, name, value); c.setblocking(blocking)
        try: c.connect(('::1', 9))
        except ConnectionRefusedError: pass
        except BlockingIOError:
            select.select([], [c], [])
            try: c.connect(('::1', 9))
            except ConnectionRefusedError: print(blocking)
        c.setblocking(True)
        yield c
l = socket.create_server(('::1', 0), family=socket.AF_INET6)
free, privileged = (list(sockets(socket.IPPROTO_IPV6, name, value)) for name, value in ((socket.IPV6_TCLASS, 8), (59, bytes([0, 0, 1, 4, 0, 0, 0, 0]))))
os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
def tried(c):
    try: return c.connect(l.getsockname())
    except OSError as error: return error.strerror
print([tried(c) for c in free], [tried(c) for c in privileged])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root is the only user here")
def test_what_a_process_may_not_set_any_more_it_cannot_connect_again_with():
    # The failure of a blocking connect() is told when the socket is as new already; of another one the next connect() makes it so.
    with Stack(program=PROGRAM6) as stack:
        stack.prefix.chmod(0o755)
        assert python(stack, CONNECTS_AGAIN_WITHOUT_RIGHTS) == "False\nFalse\n[None, None] [None, 'Operation not permitted']\n"


@pytest.mark.parametrize("options", [["stackguard", "stacksize=65536"], ["bigstack=131072"]])
def test_a_driver_that_overruns_its_stack_ends_at_the_guard_page(options):
    with Stack(options=options) as stack:
        mount = subprocess.run([utility("mount"), "-T", f"io-pkt{stack.instance}", "-o", "overrun", BUILD / "tests/drivers/devnp-test.so"],
                               env=dict(stack.environment(IOPKT_RUN_DIR=str(stack.prefix)), LD_PRELOAD=""), capture_output=True,
                               text=True, timeout=LIMIT)
        assert mount.returncode != 0 and mount.stderr
        assert stack.process.wait(LIMIT) == -signal.SIGSEGV
        assert stack.log().count("io-pkt: fault; drivers are stopped") == 1
