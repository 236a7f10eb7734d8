"""What comes in pieces to a stack of two shards, whose driver shares frames among two sockets and keeps SYNs apart: each datagram and each
SYN is put together once (RFC 791 section 3.2, RFC 8200 section 4.5) and answered."""
import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

from lab import OURS, OURS6
from station import STATION, STATION6, StationLab

PORT = 7
SERVER = f"""
import select, socket
both = []
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    s = socket.socket(socket.AF_INET6, kind)
    s.bind(('::', {PORT}))
    if kind == socket.SOCK_STREAM: s.listen(64)
    both.append(s)
print('ready', flush=True)
while True:
    data, whom = both[1].recvfrom(65536)
    both[1].sendto(b'%d' % len(data), whom)
"""


@pytest.fixture(scope="module")
def lab():
    with StationLab(shards=2) as made:
        server = made.start_on_stack("python3", "-c", SERVER)
        made.wait_listening(True, PORT, server)
        made.wait_listening(True, PORT, server, protocol="udp")
        yield made


def pieces(six, number, transport):
    """At least two, the first of which has the ports, and of a SYN also its flags."""
    if six:
        packet = IPv6(src=STATION6, dst=OURS6) / IPv6ExtHdrFragment(id=number) / transport
        return fragment6(packet, 40 + 8 + 24 + 8)
    return fragment(IP(src=STATION, dst=OURS, id=number) / transport, 24)


@pytest.mark.parametrize("family", ["inet", "inet6"])
@pytest.mark.parametrize("order", ["in order", "the last first"])
def test_syns_and_datagrams_in_pieces(lab, family, order):
    """Of sixteen flows, so that each shard has some and each of the driver's sockets gets some."""
    six, station = family == "inet6", lab.station
    wanted = {}
    for n in range(16):
        ports = {"sport": 2000 + n + 100 * (order != "in order"), "dport": PORT}
        options = [("MSS", 1000), ("Timestamp", (1, 0)), ("WScale", 3), ("SAckOK", b"")] + [("NOP", None)] * 16
        syn = TCP(**ports, flags="S", seq=n, options=options)
        for kind, transport in (("tcp", syn), ("udp", UDP(**ports) / Raw(bytes(100 + n)))):
            parts = pieces(six, 1000 + ports["sport"] * 2 + (kind == "udp"), transport)
            assert len(parts) >= 2
            for part in parts if order == "in order" else reversed(parts):
                station.send(bytes(part))
            wanted[kind, ports["sport"]] = 100 + n
    while wanted:
        frame = station.wait(lambda f: (TCP in f and f[TCP].flags == "SA") or (UDP in f and f[UDP].sport == PORT), what=f"answers to {wanted}")
        if TCP in frame:
            expected = wanted.pop(("tcp", frame[TCP].dport), None)
            assert expected is None or frame[TCP].ack == expected - 100 + 1
        else:
            assert bytes(frame[UDP].payload) == b"%d" % wanted.pop(("udp", frame[UDP].dport))
