"""Packets that are played to both stacks beside those of cases6.py: what nmap's guess at an operating system and a scanner's curiosity send."""
import itertools

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption, IPOption_LSRR, IPOption_RR, IPOption_Router_Alert, IPOption_SSRR, IPOption_Timestamp, in4_chksum
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

import cases6
from differential import CLOSED, FLAGS, OPEN
from lab import OURS
from station import STATION, STATION_MAC

SEQ = 1000
ports = itertools.count(20000)


def ip4(**more):
    return IP(**{"src": STATION, "dst": OURS, "id": 0x4242, **more})


def tcp(flags, port=OPEN, options=(), four=True, **more):
    segment = TCP(sport=next(ports), dport=port, flags=flags, seq=SEQ, ack=77 if "A" in flags else 0, options=list(options), window=1024, **more)
    return (ip4() if four else cases6.ip()) / segment


def flag_cases():
    """RFC 9293 section 3.10.7.1, 3.10.7.2: every combination of the six old flags, to a port that listens and to one that does not."""
    for four, port, bits in itertools.product((True, False), (OPEN, CLOSED), range(64)):
        flags = "".join(f for i, f in enumerate(FLAGS[:6]) if bits >> i & 1)
        yield f"tcp{4 if four else 6} {flags or 'none'} to {'a listener' if port == OPEN else 'a closed port'}", [tcp(flags, port, four=four)]
    for port, name in ((OPEN, "a listener"), (CLOSED, "a closed port")):
        yield f"tcp4 SEC to {name}", [tcp("SEC", port)]
        yield f"tcp4 SE to {name}", [tcp("SE", port)]
        yield f"tcp4 S with reserved bits to {name}", [tcp("S", port, reserved=7)]
        yield f"tcp4 S with data to {name}", [tcp("S", port) / Raw(b"data")]
        yield f"tcp4 F with data to {name}", [tcp("F", port) / Raw(b"data")]
        yield f"tcp4 none with data to {name}", [tcp("", port) / Raw(b"data")]
        yield f"tcp4 S with a bad checksum to {name}", [tcp("S", port, chksum=0x1234)]
        yield f"tcp4 S with an urgent pointer to {name}", [tcp("S", port, urgptr=5)]
        yield f"tcp4 S from port 0 to {name}", [ip4() / TCP(sport=0, dport=port, flags="S", seq=SEQ)]
        yield f"tcp4 S of 16 bytes to {name}", [ip4(proto=6) / Raw(bytes(tcp("S", port)[TCP])[:16])]
        yield f"tcp4 S with a header of 16 bytes to {name}", [tcp("S", port, dataofs=4)]
        yield f"tcp4 S with a header beyond its end to {name}", [tcp("S", port, dataofs=15)]
        yield f"tcp4 S to a broadcast address of {name}", [ip4(dst="10.9.0.255") / TCP(sport=next(ports), dport=port, flags="S", seq=SEQ)]
        yield f"tcp4 A and FPU of port 0 to {name}", [ip4() / TCP(sport=0, dport=port, flags=flags, seq=SEQ, ack=5) for flags in ("A", "FPU")]
    yield "tcp4 S to port 0", [ip4() / TCP(sport=next(ports), dport=0, flags="S", seq=SEQ)]
    yield "tcp4 S from our own address", [ip4(src=OURS) / TCP(sport=OPEN, dport=OPEN, flags="S", seq=SEQ)]


# nmap 7: what its six SYNs offer.
NMAP = {"T1.1": [("WScale", 10), ("NOP", None), ("MSS", 1460), ("Timestamp", (0xFFFFFFFF, 0)), ("SAckOK", b"")],
        "T1.2": [("MSS", 1400), ("WScale", 0), ("SAckOK", b""), ("Timestamp", (0xFFFFFFFF, 0)), ("EOL", None)],
        "T1.3": [("Timestamp", (0xFFFFFFFF, 0)), ("NOP", None), ("NOP", None), ("WScale", 5), ("NOP", None), ("MSS", 640)],
        "T1.4": [("SAckOK", b""), ("Timestamp", (0xFFFFFFFF, 0)), ("WScale", 10), ("EOL", None)],
        "T1.5": [("MSS", 536), ("SAckOK", b""), ("Timestamp", (0xFFFFFFFF, 0)), ("WScale", 10), ("EOL", None)],
        "T1.6": [("MSS", 265), ("SAckOK", b""), ("Timestamp", (0xFFFFFFFF, 0))]}


def option_cases():
    """RFC 9293 section 3.2: options of a SYN in nmap's mixes, and each kind with each length."""
    for name, options in NMAP.items():
        yield f"tcp4 nmap {name}", [tcp("S", options=options)]
        yield f"tcp6 nmap {name}", [tcp("S", options=options, four=False)]
    for kind, length in itertools.product((2, 3, 4, 5, 8, 19, 29, 30, 34, 69, 253), (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 18, 20)):
        data = (bytes([kind, length]) + bytes(range(1, 40)))[:max(length, 2)]
        data += b"\x01" * (-len(data) % 4)
        segment = bytes(TCP(sport=next(ports), dport=OPEN, flags="S", seq=SEQ, dataofs=5 + len(data) // 4, window=1024, chksum=0)) + data
        total = in4_chksum(6, ip4(proto=6, len=20 + len(segment)), segment)
        yield f"tcp4 S with option {kind} of length {length}", [ip4(proto=6) / Raw(segment[:16] + total.to_bytes(2, "big") + segment[18:])]


def icmp_cases():
    data = Raw(bytes(range(48)))
    for size in (0, 1, 56, 1472):
        yield f"icmp4 echo of {size} bytes", [ip4() / ICMP(id=1, seq=1) / Raw(bytes(size))]
    yield "icmp4 echo with code 9", [ip4(flags="DF", tos=0) / ICMP(code=9, id=1, seq=295) / Raw(bytes(120))]
    yield "icmp4 echo with a type of service", [ip4(tos=4) / ICMP(id=1, seq=296) / Raw(bytes(150))]
    yield "icmp4 echo with a bad checksum", [ip4() / ICMP(chksum=0x1234) / data]
    yield "icmp4 echo of a header that is cut short", [ip4(proto=1) / Raw(b"\x08\0\xf7\xff")]
    yield "icmp4 echo to the broadcast address", [ip4(dst="10.9.0.255") / ICMP() / data]
    yield "icmp4 echo to all", [ip4(dst="255.255.255.255") / ICMP() / data]
    yield "icmp4 echo to all hosts of the link", [ip4(dst="224.0.0.1") / ICMP() / data]
    yield "icmp4 an echo reply", [ip4() / ICMP(type=0) / data]
    yield "icmp4 a timestamp", [ip4() / ICMP(type=13, ts_ori=1, ts_rx=0, ts_tx=0)]
    yield "icmp4 an address mask", [ip4() / ICMP(type=17, addr_mask="0.0.0.0")]
    yield "icmp4 a router solicitation", [ip4() / ICMP(type=10)]
    for kind in (1, 2, 6, 15, 30, 37, 40, 42, 255):
        yield f"icmp4 type {kind}", [ip4(proto=1) / with_sum(bytes([kind, 0, 0, 0]) + bytes(36))]
    for kind, code in ((3, 0), (3, 1), (3, 3), (3, 4), (4, 0), (5, 1), (11, 0), (12, 0)):
        yield f"icmp4 error {kind} {code} about what was never sent", [ip4() / ICMP(type=kind, code=code) / IP(src=OURS, dst=STATION) / TCP(sport=1, dport=2)]
    yield "icmp4 an error that quotes nothing", [ip4() / ICMP(type=3, code=3)]


def with_sum(payload):
    """The checksum of RFC 1071 at offset 2."""
    total = sum(int.from_bytes(payload[i:i + 2], "big") for i in range(0, len(payload), 2))
    total = (total & 0xFFFF) + (total >> 16)
    return Raw(payload[:2] + (~total & 0xFFFF).to_bytes(2, "big") + payload[4:])


def udp4(port=CLOSED, size=16, **more):
    return UDP(sport=4000, dport=port, **more) / Raw(bytes(size))


def ip_cases():
    echo = ICMP(id=1, seq=1) / Raw(bytes(16))
    yield "ip4 udp to a closed port", [ip4() / udp4()]
    yield "ip4 udp of 300 bytes to a closed port, as nmap's", [ip4(id=0x1042) / udp4(size=300)]
    yield "ip4 udp of 1400 bytes to a closed port", [ip4() / udp4(size=1400)]
    yield "ip4 udp with DF to a closed port", [ip4(flags="DF") / udp4()]
    yield "ip4 udp without a checksum to a closed port", [ip4() / udp4(chksum=0)]
    yield "ip4 udp with a bad checksum to a closed port", [ip4() / udp4(chksum=0x1234)]
    yield "ip4 udp to port 0", [ip4() / udp4(port=0)]
    yield "ip4 udp from port 0", [ip4() / UDP(sport=0, dport=CLOSED) / Raw(bytes(9))]
    yield "ip4 udp of 7 bytes", [ip4(proto=17) / Raw(bytes(7))]
    yield "ip4 udp that is longer than its packet", [ip4() / udp4(len=80)]
    yield "ip4 udp that is shorter than its header", [ip4() / udp4(len=7)]
    yield "ip4 udp that is shorter than its packet", [ip4() / udp4(len=10, chksum=0)]
    yield "ip4 udp to the broadcast address", [ip4(dst="10.9.0.255") / udp4()]
    yield "ip4 udp to a group", [ip4(dst="224.0.0.1") / udp4()]
    for protocol in (2, 4, 41, 46, 47, 50, 51, 88, 103, 112, 132, 136, 200, 253, 255):
        yield f"ip4 protocol {protocol}", [ip4(proto=protocol) / Raw(bytes(16))]
    yield "ip4 an unknown protocol to the broadcast address", [ip4(dst="10.9.0.255", proto=253) / Raw(bytes(16))]
    for ttl in (0, 1, 2):
        yield f"ip4 time to live {ttl}", [ip4(ttl=ttl) / echo]
    yield "ip4 the reserved flag", [ip4(flags=4) / echo]
    yield "ip4 identifier 0", [ip4(id=0) / echo]
    yield "ip4 a bad checksum", [ip4(chksum=0x1234) / echo]
    yield "ip4 version 5", [bytes([0x55]) + bytes(ip4() / echo)[1:]]
    yield "ip4 a header of 16 bytes", [ip4(ihl=4) / echo]
    yield "ip4 a header beyond the end", [ip4(ihl=15, len=40) / Raw(bytes(20))]
    yield "ip4 a length beyond the end", [ip4(len=200) / echo]
    yield "ip4 a length below the header", [ip4(len=19) / echo]
    yield "ip4 padding behind the end", [bytes(ip4() / echo) + bytes(20)]
    for source, what in (("0.0.0.0", "nobody"), ("127.0.0.1", "the loopback address"), ("224.0.0.5", "a group"), ("255.255.255.255", "all"), ("10.9.0.255", "the broadcast address"),
                         (OURS, "ourselves"), ("240.0.0.1", "a reserved address")):
        yield f"ip4 echo from {what}", [ip4(src=source) / echo]
        yield f"ip4 udp to a closed port from {what}", [ip4(src=source) / udp4()]
    for to, what in (("127.0.0.1", "the loopback address"), ("10.9.0.3", "another host"), ("192.0.2.1", "another network"), ("0.0.0.0", "nobody"), ("10.9.0.0", "the network")):
        yield f"ip4 echo to {what}", [ip4(dst=to) / echo]


def ip_option_cases():
    echo = ICMP(id=1, seq=1) / Raw(bytes(16))
    route = ["10.9.0.1", "10.9.0.50"]
    for name, options in {"record route": [IPOption_RR(routers=["0.0.0.0"] * 3, pointer=4)], "a full record route": [IPOption_RR(routers=["10.9.0.7"], pointer=8)],
                          "a timestamp": [IPOption_Timestamp(pointer=9, flg=1)], "a router alert": [IPOption_Router_Alert()], "an unknown option": [IPOption(b"\x99\x04\0\0")],
                          "a loose route": [IPOption_LSRR(routers=route, pointer=4)], "a strict route": [IPOption_SSRR(routers=route, pointer=4)],
                          "a loose route that is over": [IPOption_LSRR(routers=["10.9.0.1"], pointer=8)]}.items():
        yield f"ip4 echo with {name}", [ip4(options=options) / echo]
        yield f"ip4 udp to a closed port with {name}", [ip4(options=options) / udp4()]
    for name, data in {"nothing but no operation": b"\x01\x01\x01\x01", "the end": b"\0\0\0\0", "length 0": b"\x07\x00\0\0", "length 1": b"\x07\x01\0\0", "a length beyond the header": b"\x07\x0b\x04\0",
                       "record route with pointer 3": b"\x07\x07\x03\0\0\0\0\0", "record route with pointer 5": b"\x07\x07\x05\0\0\0\0\0", "a timestamp with pointer 4": b"\x44\x08\x04\0\0\0\0\0"}.items():
        header = bytearray(bytes(ip4(proto=1, ihl=5 + len(data) // 4, len=20 + len(data) + 24, chksum=0)))
        packet = bytes(header[:20]) + data
        total = sum(int.from_bytes(packet[i:i + 2], "big") for i in range(0, len(packet), 2))
        total = (total & 0xFFFF) + (total >> 16)
        yield f"ip4 echo with options: {name}", [packet[:10] + (~total & 0xFFFF).to_bytes(2, "big") + packet[12:] + bytes(echo)]


def fragment_cases():
    payload = bytes(with_sum(b"\x08\0\0\0\0\x01\0\x01" + bytes(range(200)) * 2).load)

    def piece(begin, end, more, number, **how):
        return ip4(id=number, frag=begin // 8, flags="MF" if more else 0, proto=1, **how) / Raw(payload[begin:end])
    end = len(payload)
    yield "ip4 fragments in their order", [piece(0, 200, 1, 1), piece(200, end, 0, 1)]
    yield "ip4 fragments the other way round", [piece(200, end, 0, 2), piece(0, 200, 1, 2)]
    yield "ip4 fragments, one twice", [piece(0, 200, 1, 3), piece(0, 200, 1, 3), piece(200, end, 0, 3)]
    yield "ip4 fragments that overlap", [piece(0, 208, 1, 4), piece(200, end, 0, 4)]
    yield "ip4 fragments of which one holds another", [piece(0, 200, 1, 5), piece(8, 64, 1, 5), piece(200, end, 0, 5)]
    yield "ip4 two ends", [piece(200, end, 0, 6), piece(200, end - 8, 0, 6), piece(0, 200, 1, 6)]
    yield "ip4 a fragment of a length that is no multiple of 8", [piece(0, 197, 1, 7), piece(200, end, 0, 7)]
    yield "ip4 a fragment beyond 65535 bytes", [ip4(id=8, frag=8191, proto=1) / Raw(bytes(100))]
    yield "ip4 a first fragment of 8 bytes", [piece(0, 8, 1, 9), piece(8, end, 0, 9)]
    yield "ip4 a first fragment of tcp with 8 bytes", [ip4(id=10, flags="MF", proto=6) / Raw(bytes(tcp("S")[TCP])[:8]), ip4(id=10, frag=1, proto=6) / Raw(bytes(tcp("S")[TCP])[8:])]
    yield "ip4 fragments with DF", [piece(0, 200, 1, 11), ip4(id=11, frag=25, flags="DF", proto=1) / Raw(payload[200:])]
    yield "ip4 an empty fragment", [ip4(id=12, flags="MF", proto=1), piece(0, 200, 1, 12), piece(200, end, 0, 12)]
    yield "ip4 fragments of another protocol", [piece(0, 200, 1, 13), ip4(id=13, frag=25, proto=17) / Raw(payload[200:])]
    yield "ip4 fragments in 50 pieces", [piece(i, min(i + 8, end), i + 8 < end, 14) for i in range(0, end, 8)]


def arp_cases():
    def arp(**more):
        fields = {"op": 1, "hwsrc": STATION_MAC, "psrc": STATION, "hwdst": "00:00:00:00:00:00", "pdst": OURS, **more}
        return [Ether(src=STATION_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(**fields)]
    yield "arp a request", arp()
    yield "arp a probe", arp(psrc="0.0.0.0")
    yield "arp a request for another", arp(pdst="10.9.0.3")
    yield "arp an announcement", arp(pdst=STATION)
    yield "arp a request from another network", arp(psrc="192.0.2.1")
    yield "arp a request from ourselves", arp(psrc=OURS, hwsrc="02:00:00:00:00:55")
    yield "arp a request from the broadcast address", arp(psrc="10.9.0.255")
    yield "arp a request for the broadcast address", arp(pdst="10.9.0.255")
    yield "arp a reply that nobody wants", arp(op=2)
    yield "arp operation 9", arp(op=9)
    yield "arp of another hardware", arp(hwtype=6)
    yield "arp of addresses of 5 bytes", arp(hwlen=5)
    yield "arp that is cut short", [bytes(arp()[0])[:38]]


def four_cases():
    for table in (icmp_cases, ip_cases, ip_option_cases, fragment_cases, arp_cases):
        yield from table()


def tcp_cases():
    yield from flag_cases()
    yield from option_cases()


def six_cases():
    for case in cases6.packet_cases():
        yield case.name, case.packets, {"to": "33:33:00:00:00:07"} if case.multicast_frame else {}
