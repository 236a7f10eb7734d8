"""Address conflict detection (RFC 5227) and link-local addresses (RFC 3927) with the kernel as the neighbour."""
import re

from lab import OURS, PEER
from namespaces import wait_until

ANNOUNCE = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); s.bind((sys.argv[1], 0x806)); mac = s.getsockname()[4]; ip = socket.inet_aton(sys.argv[2])
s.send(b'\\xff' * 6 + mac + bytes.fromhex('0806 0001 0800 06 04 0001') + mac + ip + bytes(6) + ip)
"""


def shown(lab):
    return lab.stack.utility("ifconfig", "en0")


def test_an_address_of_the_peers_is_not_ours(own_lab):
    lab = own_lab()
    lab.stack.utility("ifconfig", "en0", "inet", PEER, "netmask", "255.255.255.0", "alias", "tentative")
    wait_until(lambda: re.search(rf"inet {re.escape(PEER)} .*duplicated", shown(lab)), lambda: shown(lab))
    assert "1 received" in lab.run(True, "ping", "-c1", "-W20", PEER)
    lab.stack.utility("ifconfig", "en0", "inet", "10.9.0.77", "netmask", "255.255.255.0", "alias", "tentative")
    assert re.search(r"inet 10\.9\.0\.77 .*tentative", shown(lab))
    wait_until(lambda: "tentative" not in shown(lab), lambda: shown(lab))
    assert "1 received" in lab.run(False, "ping", "-c1", "-W20", "10.9.0.77")


def test_who_takes_our_address_is_told(own_lab):
    lab = own_lab()
    lab.run(False, "ping", "-c1", "-W20", OURS)
    lab.peer.run(["/usr/bin/python3", "-c", ANNOUNCE, lab.peer_interface, OURS])
    wait_until(lambda: "\t1 address: announced against another station" in lab.stack.utility("netstat", "-s"),
               lambda: lab.stack.utility("netstat", "-s"))
    assert OURS in shown(lab)


def test_an_interface_gives_itself_an_address(own_lab):
    lab = own_lab()
    lab.stack.utility("ifconfig", "en0", "delete")
    lab.stack.utility("ifconfig", "en0", "autoip")
    wait_until(lambda: "autoconf" in shown(lab) and "tentative" not in shown(lab), lambda: shown(lab))
    own = re.search(r"inet (169\.254\.\d+\.\d+) netmask 0xffff0000 broadcast 169\.254\.255\.255", shown(lab))[1]
    lab.peer.run(["ip", "address", "add", "169.254.3.3/16", "dev", lab.peer_interface])
    assert "1 received" in lab.run(False, "ping", "-c1", "-W20", own)
    assert "1 received" in lab.run(True, "ping", "-c1", "-W20", "169.254.3.3")
    lab.stack.utility("ifconfig", "en0", f"{OURS}/24")
    assert re.search(rf"inet {re.escape(own)} .*deprecated", shown(lab)) and "1 received" in lab.run(True, "ping", "-c1", "-W20", PEER)
    lab.stack.utility("ifconfig", "en0", "-autoip")
    assert own not in shown(lab) and not re.search(r"^169\.254(\.0\.0)?(/16)? ", lab.stack.utility("netstat", "-rn"), re.M)
