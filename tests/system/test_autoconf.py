"""What the stack makes of a router's advertisements, the router being a script on the kernel's side; and rtsol, which asks for one."""
import re
import subprocess

import pytest

from lab import OURS6, PEER_INTERFACE
from namespaces import LIMIT, wait_until
from stack import utility

ROUTER = """
import socket, struct, sys
name = sys.argv[1]
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
index = socket.if_nametoindex(name)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, "ff02::2") + struct.pack("@I", index))
prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 86400, 14400, 0) + socket.inet_pton(socket.AF_INET6, "fd0a::")
route = struct.pack("!BBBBI", 24, 2, 32, 8, 600) + socket.inet_pton(socket.AF_INET6, "fd0b::")[:8]
server = struct.pack("!BBHI", 25, 3, 0, 600) + socket.inet_pton(socket.AF_INET6, "fd0a::53")
domain = struct.pack("!BBHI", 31, 3, 0, 600) + b"\\x07example\\x03org\\0" + b"\\0" * 3
ra = struct.pack("!BBHBBHII", 134, 0, 0, 48, 0, 1800, 20000, 500) + prefix + route + server + domain
print("ready", flush=True)
while True:
    message, sender = s.recvfrom(2000)
    if message[0] == 133:
        s.sendto(ra, ("ff02::1", 0, 0, index))
        print("asked", flush=True)
"""


@pytest.fixture(params=[1, 2], ids=["1", "2"])
def lab(own_lab, request):
    made = own_lab("tap", request.param, "inet6")
    router = made.start(False, "/usr/bin/python3", "-c", ROUTER, PEER_INTERFACE)
    wait_until(lambda: "ready" in router.text(), router.text)
    made.router = router
    return made


def formed(lab, temporary):
    """Addresses of the advertised prefix that may be used."""
    out = []
    for address in lab.stack.interface("en0")["addresses"]:
        flags = address.get("flag_names", "").split(",")
        if address["address"].startswith("fd0a:") and "tentative" not in flags and ("temporary" in flags) == temporary:
            out.append(address["address"])
    return out


def refused(lab, *words):
    done = subprocess.run([utility(words[0]), *words[1:]], capture_output=True, text=True, env=lab.stack.environment(preload=False), timeout=LIMIT)
    assert done.returncode == 1, done
    return done.stderr


def test_a_router_is_asked_and_believed(lab):
    stack = lab.stack
    stack.utility("sysctl", "-w", "net.inet6.ip6.use_tempaddr=1")
    assert stack.utility("rtsol", "-d", "en0") == "en0: routers are asked\nen0: a router answered\n"
    assert "asked" in lab.router.text()
    wait_until(lambda: formed(lab, False) and formed(lab, True), lambda: stack.utility("ifconfig", "-L", "en0"))
    shown = stack.utility("ifconfig", "-L", "en0", "inet6")
    assert re.search(r"inet6 fd0a::\S+ prefixlen 64 autoconf pltime 14[34]\d\d vltime 8[56]\d\d\d\n", shown), shown
    assert re.search(r"inet6 fd0a::\S+ prefixlen 64 autoconf temporary pltime \d+ vltime \d+\n", shown), shown
    assert re.search(r"inet6 fd09::2 prefixlen 64 pltime infty vltime infty\n", shown), shown
    routers = stack.utility("ndp", "-r")
    assert re.search(r"^fe80::\S+%en0 if=en0, flags=, pref=medium, expire=29m\d+s$", routers, re.M), routers
    assert re.search(r"^fd0b::/32 gateway=fe80::\S+%en0 if=en0, pref=high, expire=9m\d+s$", routers, re.M), routers
    assert "nameserver fd0a::53 if=en0" in routers and "search example.org if=en0" in routers
    assert "fd0a::/64 if=en0\nflags=LA vltime=" in stack.utility("ndp", "-p")
    assert re.search(r"^linkmtu=1500, curhlim=48, basereachable=20s0ms, reachable=[123]\ds, retrans=0s500ms\nFlags: nud accept_rtadv auto_linklocal$",
                     stack.utility("ndp", "-i", "en0"), re.M)
    assert "fe80:" in stack.utility("route", "get", "-inet6", "fd0b::1")
    # What an operator deletes comes back with what routers say.
    stack.utility("route", "delete", "-inet6", "fd0b::/32")
    assert "fe80:" in stack.utility("route", "get", "-inet6", "fd0b::1")
    stack.utility("ndp", "-R")
    assert stack.utility("ndp", "-r").startswith("nameserver")
    stack.utility("ndp", "-P")
    assert stack.utility("ndp", "-p") == ""
    assert formed(lab, False), "the addresses stay"


def test_a_resolver_is_told(lab):
    """RFC 8106: as long as it is advertised, behind what others wrote; and a program of the stack asks that server."""
    file = lab.folder / "resolv.conf"
    file.write_text("nameserver 10.9.9.9\n")
    keeper = subprocess.Popen([utility("rtsol"), "-r", file, "en0"], env=lab.stack.environment(preload=False))
    try:
        wait_until(lambda: "fd0a::53" in file.read_text(), file.read_text)
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        assert lines == ["nameserver 10.9.9.9", "nameserver fd0a::53", "search example.org"]
    finally:
        keeper.terminate()
        status = keeper.wait(LIMIT)
    assert status == 0 and file.read_text() == "nameserver 10.9.9.9\n"


def test_states_of_an_address(lab):
    stack = lab.stack

    def line():
        return next(l for l in stack.utility("ifconfig", "en0", "inet6").splitlines() if f"inet6 {OURS6} " in l)
    stack.utility("ifconfig", "en0", "inet6", OURS6, "deprecated", "pltime", "100", "vltime", "200")
    assert line().endswith("prefixlen 64 deprecated")
    stack.utility("ifconfig", "en0", "inet6", OURS6, "-deprecated", "anycast")
    assert line().endswith("prefixlen 64 anycast")
    stack.utility("ifconfig", "en0", "inet6", OURS6, "-anycast", "tentative")
    wait_until(lambda: line().endswith("prefixlen 64"), line)
    stack.utility("ifconfig", "en0", "inet6", OURS6, "pltime", "0", "vltime", "1")
    wait_until(lambda: f"inet6 {OURS6} " not in stack.utility("ifconfig", "en0"), "the end of the address")


def test_where_no_router_answers(lab):
    lab.router.kill()
    assert "no router answers" in refused(lab, "rtsol", "en0")
    lab.stack.utility("sysctl", "-w", "net.inet6.ip6.forwarding=1")
    assert "net.inet6.ip6.accept_rtadv" in refused(lab, "rtsol", "en0")
