"""What only IPv6 has: two families at one socket, addresses of a link, and the commands that show and change them."""
import json
import re
import subprocess

import pytest

from lab import OURS, OURS6, PEER, PEER6, PEER_INTERFACE, all_pings, lost_pings
from namespaces import wait_until
from stack import PROGRAM, PROGRAM6

PORT = 7001
PYTHON = "/usr/bin/python3"
SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], {port}), family=socket.AF_INET6, dualstack_ipv6=sys.argv[1] == "::")
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    client, name = server.accept()
    client.sendall(client.recv(100).upper())
    print(name[0], name[3], client.getsockname()[0], flush=True)
    client.close()
"""
CLIENT = """
import socket, sys
address = socket.getaddrinfo(sys.argv[1], {port}, 0, socket.SOCK_STREAM)[0]
client = socket.socket(*address[:3])
client.connect(address[4])
client.sendall(b"hello")
print(client.recv(100).decode(), client.getpeername()[0], client.getsockname()[0])
"""


@pytest.fixture(params=[1, 2], ids=["1", "2"], scope="module")
def lab(labs, request):
    """The shared lab with IPv6; nothing of it is changed for good."""
    kept = labs.get(("tap", request.param, "inet6"))
    yield kept
    kept.end_programs()
    assert kept.stack.running(), "the stack has ended:\n" + kept.stack.log()


def serve(lab, on_stack, address, clients):
    server = lab.start(on_stack, PYTHON, "-u", "-c", SERVER.format(port=PORT), address, clients)
    wait_until(lambda: "ready" in server.text() or not server.running(), server.text)
    return server


def ask(lab, on_stack, address):
    return lab.run(on_stack, PYTHON, "-c", CLIENT.format(port=PORT), address).split()


@pytest.mark.parametrize("on_stack", [True, False], ids=["server-on-stack", "client-on-stack"])
def test_one_socket_serves_both_families(lab, on_stack):
    server = serve(lab, on_stack, "::", 2)
    four, six = (OURS, OURS6) if on_stack else (PEER, PEER6)
    from_four, from_six = (PEER, PEER6) if on_stack else (OURS, OURS6)
    assert ask(lab, not on_stack, four) == ["HELLO", four, from_four]
    assert ask(lab, not on_stack, six) == ["HELLO", six, from_six]
    assert server.wait().split("\n")[1:3] == [f"::ffff:{from_four} 0 ::ffff:{four}", f"{from_six} 0 {six}"]


@pytest.mark.parametrize("on_stack", [True, False], ids=["server-on-stack", "client-on-stack"])
def test_addresses_of_the_link(lab, on_stack):
    """Each side names the interface by which it means the link."""
    server = serve(lab, on_stack, "::", 1)
    address = lab.link_local(on_stack)
    said = ask(lab, not on_stack, f"{address}%{PEER_INTERFACE if on_stack else 'en0'}")
    assert said[:2] == ["HELLO", address] and said[2].startswith("fe80::")
    # The scope is the server's own number of the interface.
    index = lab.stack.interface("en0")["index"] if on_stack else json.loads(lab.peer.run(["ip", "-j", "link", "show", PEER_INTERFACE]))[0]["ifindex"]
    assert server.wait().split("\n")[1].split() == [said[2], str(index), address]


def test_a_link_that_is_not_named_is_refused(lab):
    code = """
import socket
for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
    try: socket.socket(socket.AF_INET6, kind).connect(("fe80::1", 9))
    except OSError as fault: print(fault.errno)
"""
    assert lab.run(True, PYTHON, "-c", code).split() == ["22", "22"]


def test_curl_over_the_link(lab):
    root = lab.directory("link-www")
    (root / "page").write_text("over the link")
    server = lab.start_on_stack(PYTHON, "-u", "-m", "http.server", PORT, "--bind", "::", "--directory", root)
    lab.wait_listening(True, PORT, server)
    url = f"http://[{lab.link_local(True)}%25{PEER_INTERFACE}]:{PORT}/page"
    assert lab.run(False, "curl", "-sSg", "--fail", url) == "over the link"
    server.kill()


def test_ping_of_the_loopback_and_the_link(lab):
    copy = lab.folder / "ping"
    copy.write_bytes(open("/usr/bin/ping", "rb").read())
    copy.chmod(0o755)
    for address in ("::1", OURS6, f"{lab.link_local(False)}%en0"):
        said = lab.run(True, copy, "-6", *all_pings(5), address)
        assert not lost_pings(said, 5), said
    assert not lost_pings(lab.run(False, "ping", "-6", *all_pings(5), f"{lab.link_local(True)}%{PEER_INTERFACE}"), 5)


def test_datagrams_with_their_hop_limit_and_interface(lab):
    code = """
import socket, struct, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", %d))
for option in socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS:
    s.setsockopt(socket.IPPROTO_IPV6, option, 1)
print("ready", flush=True)
data, control, _, name = s.recvmsg(100, 200)
for level, kind, value in control:
    assert level == socket.IPPROTO_IPV6
    if kind == socket.IPV6_PKTINFO:
        print(socket.inet_ntop(socket.AF_INET6, value[:16]), socket.if_indextoname(struct.unpack("I", value[16:])[0]))
    else:
        print({socket.IPV6_HOPLIMIT: "hops", socket.IPV6_TCLASS: "class"}[kind], struct.unpack("i", value)[0])
s.sendto(b"answer", name)
""" % PORT
    server = lab.start_on_stack(PYTHON, "-u", "-c", code)
    wait_until(lambda: "ready" in server.text() or not server.running(), server.text)
    client = """
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 33)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x28)
s.sendto(b"x", ("%s", %d))
print(s.recv(100))
""" % (OURS6, PORT)
    assert lab.run(False, PYTHON, "-c", client) == "b'answer'\n"
    assert sorted(server.wait().split("\n")[1:-1]) == sorted([f"{OURS6} en0", "hops 33", "class 40"])


def test_getifaddrs(lab):
    """Through Python's only door to it: what a program without any rights is told."""
    code = """
import ctypes, socket
class Sockaddr(ctypes.Structure): _fields_ = [("family", ctypes.c_ushort), ("data", ctypes.c_ubyte * 26)]
class Ifaddrs(ctypes.Structure): pass
Ifaddrs._fields_ = [("next", ctypes.POINTER(Ifaddrs)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint),
                    ("address", ctypes.POINTER(Sockaddr)), ("mask", ctypes.POINTER(Sockaddr))]
head = ctypes.POINTER(Ifaddrs)()
assert ctypes.CDLL(None).getifaddrs(ctypes.byref(head)) == 0
at = head
while at:
    a = at.contents.address.contents
    if a.family == socket.AF_INET6:
        mask = bytes(at.contents.mask.contents.data)[6:22]
        print(at.contents.name.decode(), socket.inet_ntop(socket.AF_INET6, bytes(a.data)[6:22]), sum(bin(b).count("1") for b in mask),
              int.from_bytes(bytes(a.data)[22:26], "little"))
    if a.family == socket.AF_INET:
        print(at.contents.name.decode(), socket.inet_ntop(socket.AF_INET, bytes(a.data)[2:6]))
    at = at.contents.next
"""
    index = lab.stack.interface("en0")["index"]
    assert sorted(lab.run(True, PYTHON, "-c", code).splitlines()) == sorted(
        ["lo0 127.0.0.1", f"en0 {OURS}", "lo0 ::1 128 0", f"en0 {OURS6} 64 0", f"en0 {lab.link_local(True)} 64 {index}"])


# ---- the commands


def test_ifconfig_shows_addresses_of_both_families(lab):
    shown = lab.stack.utility("ifconfig", "en0")
    assert f"\tinet {OURS} netmask 0xffffff00" in shown
    assert f"\tinet6 {OURS6} prefixlen 64\n" in shown
    assert re.search(r"\tinet6 fe80::[0-9a-f:]+%en0 prefixlen 64 scopeid 0x2\n", shown), shown
    assert "inet6" not in lab.stack.utility("ifconfig", "en0", "inet")
    assert "\tinet6 ::1 prefixlen 128\n" in lab.stack.utility("ifconfig", "lo0", "inet6")


def test_an_address_comes_and_goes(lab):
    def mine():
        return {a["address"] for a in lab.stack.interface("en0")["addresses"]}
    before = mine()
    lab.stack.utility("ifconfig", "en0", "inet6", "2001:db8:7::1/48")
    assert mine() == before | {"2001:db8:7::1"}, "it stands beside the others"
    assert "2001:db8:7::/48" in lab.stack.utility("netstat", "-rn", "-f", "inet6")
    lab.stack.utility("ifconfig", "en0", "inet6", "2001:db8:7::1", "-alias")
    assert mine() == before
    assert "2001:db8:7::" not in lab.stack.utility("netstat", "-rn")


def test_routes(lab):
    gateway = f"{lab.link_local(False)}%en0"
    assert lab.stack.utility("route", "add", "-inet6", "2001:db8:9::/48", gateway) == f"add net 2001:db8:9::/48: gateway {gateway}\n"
    try:
        assert f"gateway: {gateway}" in lab.stack.utility("route", "get", "-inet6", "2001:db8:9::7")
        row = next(line for line in lab.stack.utility("netstat", "-rn", "-f", "inet6").splitlines() if line.startswith("2001:db8:9::/48"))
        assert row.split()[1:3] == [gateway, "UGS"] and row.split()[-1] == "en0"
        assert "Internet:" not in lab.stack.utility("route", "show", "-inet6")
    finally:
        lab.stack.utility("route", "delete", "-inet6", "2001:db8:9::/48")
    assert "2001:db8:9::" not in lab.stack.utility("netstat", "-rn")


def test_neighbours(lab):
    lab.run(False, "ping", "-6", "-n", "-c", 1, OURS6)

    def known():
        return [n for n in lab.stack.json("ndp", "-a")["neighbours"] if n["address"] in (PEER6, f"{lab.link_local(False)}%en0") and "mac" in n]
    wait_until(known, "the peer among the neighbours")
    shown = lab.stack.utility("ndp", "-an")
    assert shown.startswith("Neighbor ") and f"{known()[0]['address']} " in shown
    lab.stack.utility("ndp", "-s", "fd09::77", "02:00:00:00:00:77")
    assert re.search(r"^fd09::77 +02:00:00:00:00:77 +en0 permanent R$", lab.stack.utility("ndp", "-an"), re.M)
    assert "fd09::77" not in lab.stack.utility("arp", "-an")
    lab.stack.utility("ndp", "-d", "fd09::77")
    assert "fd09::77" not in lab.stack.utility("ndp", "-an")


def test_netstat_tells_the_families_apart(lab):
    server = serve(lab, True, "::", 1)
    assert re.search(rf"^tcp6 +0 +\d+ +\*\.{PORT} +\*\.\* +LISTEN$", lab.stack.utility("netstat", "-an"), re.M)
    # Connections of earlier tests may still wait there.
    assert not re.search(rf"\.{PORT} .*LISTEN", lab.stack.utility("netstat", "-anf", "inet"))
    server.kill()
    counts = lab.stack.utility("netstat", "-s", "-f", "inet6")
    assert "\nip6:\n" in "\n" + counts and "\nip:\n" not in "\n" + counts


def test_sysctl(lab):
    assert lab.stack.utility("sysctl", "net.inet6.ip6.hlim") == "net.inet6.ip6.hlim = 64\n"


def test_the_nodes_of_each_family(lab):
    nodes = {p.name for p in (lab.stack.prefix / "dev/socket").iterdir()}
    assert {"2", "2.packet", "10", "10.packet"} <= nodes


@pytest.mark.parametrize("program,words,line", [
    (PROGRAM6, ["-p", "pf-v4"], "io-pkt-v6-hc: option -p pf-v4: only for io-pkt-v4-hc\n"),
    (PROGRAM, ["-p", "pf-v6"], "io-pkt-v4-hc: option -p pf-v6: only for io-pkt-v6-hc\n"),
    (PROGRAM, ["-p", "tcpip", "forward6"], "io-pkt-v4-hc: option forward6: only for io-pkt-v6-hc\n"),
])
def test_what_belongs_to_the_other_variant_is_refused(program, words, line):
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (2, line)
