"""Packets of IPv6 and what RFCs say that a host answers to each: played by test_conformance6.py, and by test_differential.py to two stacks.

Each is named by RFC and section. `answers` are words of station.describe(); `drop` is the row of drops.def that counts the packet.
"""
import dataclasses

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (HBHOptUnknown, ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6NDOptRedirectedHdr, ICMPv6ND_Redirect,
                                ICMPv6PacketTooBig, ICMPv6Unknown, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting, Jumbo, Pad1, PadN, RouterAlert, in6_chksum)
from scapy.packet import Raw

from lab import OURS6
from station import STATION6

REPLY, CLOSED = ["echo reply"], ["unreachable 4"]
ALL_NODES = "ff02::1"
NO_SUCH_PROTOCOL = 253  # RFC 3692: for experiments


@dataclasses.dataclass
class Case:
    name: str
    packets: list
    answers: list
    drop: str = ""
    multicast_frame: bool = False

    def __post_init__(self):
        if not isinstance(self.packets, list):
            self.packets = [self.packets]


def ip(**more):
    return IPv6(**{"src": STATION6, "dst": OURS6, **more})


def echo(size=8, seq=1):
    return ICMPv6EchoRequest(id=0x77, seq=seq, data=bytes(i & 255 for i in range(size)))


def udp(size=8, port=9):
    return UDP(sport=4000, dport=port) / Raw(bytes(size))


def option(kind, size=0):
    return HBHOptUnknown(otype=kind, optlen=size, optdata=bytes(size))


def hbh(*options):
    return IPv6ExtHdrHopByHop(options=list(options) or [PadN(optdata=bytes(4))])


def dst(*options):
    return IPv6ExtHdrDestOpt(options=list(options) or [PadN(optdata=bytes(4))])


def routing(kind, left, addresses=("fd09::5",)):
    return IPv6ExtHdrRouting(type=kind, segleft=left, addresses=list(addresses))


def atomic():
    return IPv6ExtHdrFragment(offset=0, m=0, id=7)


def raw(next_header, payload, length=None, **more):
    """A header with what nobody else would put behind it."""
    return bytes(ip(nh=next_header, plen=len(payload) if length is None else length, **more)) + payload


def message(payload, source=STATION6, to=OURS6):
    """ICMPv6 of any bytes, with a right checksum."""
    payload = payload[:2] + bytes(2) + payload[4:]
    return payload[:2] + in6_chksum(58, IPv6(src=source, dst=to), payload).to_bytes(2, "big") + payload[4:]


# ---- extension headers

def option_cases():
    """RFC 8200 section 4.2: what is done with an option that nobody knows, by its first two bits."""
    for header, name in ((hbh, "hop-by-hop"), (dst, "destination")):
        for to in (OURS6, ALL_NODES):
            multicast = to == ALL_NODES
            cast = "multicast" if multicast else "unicast"
            echoed = ([], "icmp_broadcast_echo") if multicast else (REPLY, "")
            told = (["problem 2 at 42"], "ip6_unknown_option")
            silent = ([], "ip6_unknown_option")
            for bits, (answers, drop) in ((0, echoed), (1, silent), (2, told), (3, silent if multicast else told)):
                yield Case(f"rfc8200-4.2 {name} option of action {bits:02b} to {cast}",
                           ip(dst=to, hlim=255) / header(option(bits << 6 | 0x1E, 4)) / echo(), answers, drop)
    yield Case("rfc8200-4.2 the pointer names an option behind padding", ip() / dst(PadN(optdata=bytes(3)), Pad1(), option(0x9E, 4)) / echo(),
               ["problem 2 at 48"], "ip6_unknown_option")
    yield Case("rfc8200-4.2 the pointer names an option of the second header", ip() / hbh() / dst(option(0x9E, 4)) / echo(),
               ["problem 2 at 50"], "ip6_unknown_option")
    yield Case("rfc8200-4.2 an unknown option of no bytes", ip() / dst(option(0x1E)) / echo(), REPLY)
    yield Case("rfc8200-4.2 an unknown option of 200 bytes", ip() / dst(option(0x1E, 200)) / echo(), REPLY)
    yield Case("rfc8200-4.2 an option that reaches over its header", raw(60, bytes([58, 0, 0x1E, 9, 0, 0, 0, 0]) + bytes(echo())), [], "ip6_bad_extension")
    yield Case("rfc8504-5.3 eight options", ip() / dst(*[option(0x1E)] * 8) / echo(), REPLY)
    yield Case("rfc8504-5.3 nine options are too many", ip() / dst(*[option(0x1E)] * 9) / echo(), [], "ip6_extension_limit")
    yield Case("rfc2711-2.1 a router alert is no matter of hosts", ip() / hbh(RouterAlert(value=1)) / echo(), REPLY)
    yield Case("rfc2473-4.1.1 a tunnel limit is no matter of hosts", ip() / dst(option(4, 1)) / echo(), REPLY)
    yield Case("rfc6275-6.3 no home address here", ip() / dst(option(0xC9, 16)) / echo(), ["problem 2 at 42"], "ip6_unknown_option")
    yield Case("rfc2675-3 a jumbo payload is refused", ip() / hbh(Jumbo(jumboplen=70000)) / echo(), ["problem 2 at 42"], "ip6_jumbogram")
    yield Case("rfc2675-3 a jumbogram is refused", raw(0, bytes(hbh(Jumbo(jumboplen=70000)) / echo()), length=0), ["problem 2 at 42"], "ip6_jumbogram")


def chain_cases():
    yield Case("rfc8200-4.1 all headers in the advised order", ip() / hbh() / dst() / routing(0, 0) / atomic() / dst() / echo(), REPLY)
    yield Case("rfc8200-4.1 destination options first", ip() / dst() / routing(0, 0) / echo(), REPLY)
    yield Case("rfc8200-4.1 another order", ip() / routing(0, 0) / dst() / dst() / atomic() / routing(0, 0) / echo(), REPLY)
    yield Case("rfc8200-4.1 destination options four times", ip() / dst() / dst() / dst() / dst() / echo(), REPLY)
    yield Case("rfc8200-4.1 hop-by-hop options behind destination options", ip() / dst() / hbh() / echo(), ["problem 1 at 40"], "ip6_bad_extension")
    yield Case("rfc8200-4.1 hop-by-hop options twice", ip() / hbh() / hbh() / echo(), ["problem 1 at 40"], "ip6_bad_extension")
    yield Case("rfc8200-4 hop-by-hop options behind a routing header", ip() / dst() / routing(0, 0) / hbh() / echo(), ["problem 1 at 48"],
               "ip6_bad_extension")
    yield Case("rfc8504-5.3 eight headers", raw(60, dst_chain(8) + message(bytes(echo()))), REPLY)
    yield Case("rfc8504-5.3 nine headers are too many", raw(60, dst_chain(9) + message(bytes(echo()))), [], "ip6_extension_limit")
    yield Case("rfc8504-5.3 504 bytes of headers", ip() / dst(option(0x1E, 240)) / dst(option(0x1E, 248)) / echo(), REPLY)
    yield Case("rfc8504-5.3 768 bytes of headers are too many", ip() / dst(*[option(0x1E, 248)] * 3) / echo(), [], "ip6_extension_limit")
    yield Case("rfc8200-4 an unknown next header", ip(nh=NO_SUCH_PROTOCOL) / Raw(bytes(16)), ["problem 1 at 6"], "ip_unknown_protocol")
    yield Case("rfc8200-4 an unknown next header behind options", ip() / IPv6ExtHdrDestOpt(nh=NO_SUCH_PROTOCOL, options=[PadN(optdata=bytes(4))]) / Raw(bytes(16)),
               ["problem 1 at 40"], "ip_unknown_protocol")
    yield Case("rfc8200-4 an unknown next header behind two", ip() / hbh() / IPv6ExtHdrDestOpt(nh=NO_SUCH_PROTOCOL, options=[PadN(optdata=bytes(4))]) / Raw(bytes(16)),
               ["problem 1 at 48"], "ip_unknown_protocol")
    yield Case("rfc8200-4 no header of IPv4 behind IPv6", raw(4, bytes(20)), ["problem 1 at 6"], "ip_unknown_protocol")
    yield Case("rfc8200-4 ICMP of IPv4 is unknown in IPv6", raw(1, b"\x08\x00" + bytes(6)), ["problem 1 at 6"], "ip_unknown_protocol")
    yield Case("rfc8200-4 IGMP is unknown in IPv6", raw(2, bytes(8)), ["problem 1 at 6"], "ip_unknown_protocol")
    yield Case("rfc4302-2 an authentication header without a security association", raw(51, bytes([58, 4]) + bytes(22) + bytes(echo())),
               ["problem 1 at 6"], "ip_unknown_protocol")
    yield Case("rfc4303-2 an encrypted payload without a security association", raw(50, bytes(40)), ["problem 1 at 6"], "ip_unknown_protocol")
    yield Case("rfc6275-6.1 no mobility here", raw(135, bytes([59, 0]) + bytes(6)), ["problem 1 at 6"], "ip_unknown_protocol")
    yield Case("rfc8200-4.7 nothing follows", raw(59, bytes(8)), [], "ip6_no_next_header")
    yield Case("rfc8200-4.7 nothing follows options", ip() / IPv6ExtHdrDestOpt(nh=59, options=[PadN(optdata=bytes(4))]), [], "ip6_no_next_header")
    yield Case("rfc8200-4.3 hop-by-hop options that are cut short", raw(0, bytes([58, 3, 1, 4, 0, 0, 0, 0])), [], "ip6_bad_extension")
    yield Case("rfc8200-4.6 destination options of one byte", raw(60, bytes([58])), [], "ip6_bad_extension")
    yield Case("rfc8200-4.4 a routing header that is cut short", raw(43, bytes([58, 2, 0, 0, 0, 0, 0, 0])), [], "ip6_bad_extension")
    yield Case("rfc8200-4.5 a fragment header of four bytes", raw(44, bytes(4)), [], "ip6_bad_extension")
    for kind, what in ((0, "rfc5095-3 type 0"), (1, "rfc8200-4.4 type 1"), (2, "rfc8200-4.4 type 2"), (3, "rfc8200-4.4 type 3"),
                       (4, "rfc8200-4.4 type 4"), (253, "rfc8200-4.4 type 253")):
        yield Case(f"{what} with segments left is refused", ip() / routing(kind, 1) / echo(), ["problem 0 at 42"], "ip6_routing_header")
        yield Case(f"{what} with no segments left is passed over", ip() / routing(kind, 0) / echo(), REPLY)
    yield Case("rfc8200-4.4 segments left behind options", ip() / hbh() / routing(9, 3) / echo(), ["problem 0 at 50"], "ip6_routing_header")
    yield Case("rfc4443-2.4 a routing header to a group is not answered", ip(dst=ALL_NODES) / routing(0, 1) / echo(), [], "ip6_routing_header")


def dst_chain(count):
    return b"".join(bytes([60 if i < count else 58, 0, 1, 4, 0, 0, 0, 0]) for i in range(1, count + 1))


# ---- the header

def header_cases():
    request = bytes(ip() / echo())
    for limit in (0, 1, 255):
        yield Case(f"rfc8200-3 hop limit {limit} reaches its destination", ip(hlim=limit) / echo(), REPLY)
    yield Case("rfc6437-2 flow label and traffic class", ip(fl=0xABCDE, tc=0xB8) / echo(), REPLY)
    yield Case("rfc8200-3 another version", b"\x50" + request[1:], [], "ip_bad_version")
    yield Case("rfc8200-3 a header that is cut short", request[:39], [], "ip_truncated")
    yield Case("rfc8200-3 less payload than the header says", request[:-1], [], "ip_truncated")
    yield Case("rfc8200-3 what is behind the payload is left away", request + b"padding of Ethernet", REPLY)
    yield Case("rfc4443-3.4 no payload at all", raw(58, b""), [], "icmp_truncated")
    for source, why in (("ff02::5", "rfc4291-2.7 a group"), ("::1", "rfc4291-2.5.3 the loopback address"), (OURS6, "rfc4291-2.1 our own address"),
                        ("::ffff:10.9.0.100", "rfc4291-2.5.5.2 an address of IPv4"), ("::", "rfc4291-2.5.2 no address")):
        yield Case(f"{why} is no source", ip(src=source) / echo(), [], "ip_bad_source")
    for to, why, drop in (("::1", "rfc4291-2.5.3 the loopback address", "ip_bad_destination"), ("::ffff:10.9.0.2", "rfc4291-2.5.5.2 an address of IPv4", "ip_bad_destination"),
                          ("::", "rfc4291-2.5.2 no address", "ip_bad_destination"), ("ff00::1", "rfc4291-2.7 a group without scope", "ip_bad_destination"),
                          ("ff01::1", "rfc4291-2.7 a group of this host alone", "ip_bad_destination"), ("fd09::3", "rfc8200-3 another host's address", "ip_not_for_us"),
                          ("2001:db8::1", "rfc8200-3 another network's address", "ip_not_for_us"), ("ff02::2", "rfc4291-2.8 the routers' group", "ip_not_for_us"),
                          ("ff02::1:ff12:3456", "rfc4291-2.7.1 another's solicited-node group", "ip_not_for_us"), ("ff15::9", "rfc3810-4.1 a group without members", "ip_not_for_us")):
        yield Case(f"{why} is no destination here", ip(dst=to) / echo(), [], drop)
    yield Case("rfc1122-3.3.6 unicast in a frame to a group", ip() / echo(), [], "ip_link_broadcast", multicast_frame=True)


# ---- ICMPv6

def icmp_cases():
    for size in (0, 1, 1232, 1452):
        yield Case(f"rfc4443-4.2 echo of {size} bytes", ip() / echo(size), REPLY)
    yield Case("rfc4443-4.2 an echo reply is not answered", ip() / ICMPv6EchoReply(id=1, seq=1), [])
    yield Case("rfc4443-4.2 echo to a group", ip(dst=ALL_NODES) / echo(), [], "icmp_broadcast_echo")
    yield Case("rfc4443-2.3 a wrong checksum", ip() / ICMPv6EchoRequest(cksum=0x1234, data=b"x"), [], "icmp_bad_checksum")
    yield Case("rfc4443-2.3 a checksum of 0", ip() / ICMPv6EchoRequest(cksum=0, data=b"x"), [], "icmp_bad_checksum")
    yield Case("rfc4443-2.1 a message of two bytes", raw(58, b"\x80\x00"), [], "icmp_truncated")
    for kind in (200, 201, 255):
        yield Case(f"rfc4443-2.4.b informational message {kind} is unknown", raw(58, message(bytes([kind]) + bytes(15))), [], "icmp_ignored")
    for kind in (5, 100, 127):
        yield Case(f"rfc4443-2.4.a error message {kind} is unknown", raw(58, message(bytes([kind]) + bytes(7) + bytes(ip(src=OURS6, dst=STATION6) / udp()))), [], "icmp_ignored")
    yield Case("rfc4443-3.1 a closed port", ip() / udp(), CLOSED, "udp_no_socket")
    yield Case("rfc4443-3.1 a closed port behind options", ip() / dst() / udp(), CLOSED, "udp_no_socket")
    yield Case("rfc4443-2.4.c an error is no longer than 1280 bytes", ip() / udp(1400), CLOSED, "udp_no_socket")
    yield Case("rfc4443-2.4.e.3 no error about a group", ip(dst=ALL_NODES) / udp(), [], "ip_broadcast_refused")
    yield Case("rfc8200-8.1 UDP without a checksum", ip() / UDP(sport=4000, dport=9, chksum=0) / Raw(bytes(8)), [], "udp_bad_checksum")
    yield Case("rfc768 UDP with a wrong checksum", ip() / UDP(sport=4000, dport=9, chksum=0x1234) / Raw(bytes(8)), [], "udp_bad_checksum")
    yield Case("rfc768 UDP of seven bytes", raw(17, bytes(7)), [], "udp_truncated")
    yield Case("rfc768 UDP that is longer than its packet", ip() / UDP(sport=4000, dport=9, len=50) / Raw(bytes(8)), [], "udp_truncated")
    # Errors about what may be an error.
    inner = ip(src=OURS6, dst=STATION6) / udp()
    unknown = dst(option(0x9E, 4))
    for about, what in ((ICMPv6DestUnreach(code=4), "unreachable"), (ICMPv6PacketTooBig(mtu=1400), "too big"), (ICMPv6Unknown(type=100), "an unknown error")):
        yield Case(f"rfc4443-2.4.e.1 no error about {what}", ip() / unknown / about / inner, [], "ip6_unknown_option")
    yield Case("rfc4443-2.4.e.2 no error about a redirect", ip() / unknown / ICMPv6ND_Redirect(tgt="fe80::1", dst="2001:db8::1") / ICMPv6NDOptRedirectedHdr(),
               [], "ip6_unknown_option")
    yield Case("rfc4443-2.4.e an error about an echo request is one", ip() / unknown / echo(), ["problem 2 at 42"], "ip6_unknown_option")
    yield Case("rfc4443-2.4.e.6 no error to a group", ip(src="ff02::5") / udp(), [], "ip_bad_source")
    yield Case("rfc4443-2.4.e.6 no error to nobody", ip(src="::") / udp(), [], "ip_bad_source")
    yield Case("rfc5927-4 an error about what was never sent", ip() / ICMPv6DestUnreach(code=4) / ip(src=OURS6, dst=STATION6) / TCP(sport=1, dport=2), [])
    yield Case("rfc4443-3.1 an error that quotes nothing", ip() / ICMPv6DestUnreach(code=4), [], "icmp_no_flow")


# ---- fragments

def pieces(payload, cuts, number, next_header=58, extra=()):
    """The fragments of a payload that is cut at these places; `extra`: headers in front of the fragment header."""
    ends = [*cuts, len(payload)]
    out = []
    for begin, end in zip([0, *cuts], ends):
        packet = ip()
        for header in extra:
            packet = packet / header.copy()
        out.append(packet / IPv6ExtHdrFragment(nh=next_header, offset=begin // 8, m=end != len(payload), id=number) / Raw(payload[begin:end]))
    return out


def piece(offset, more, size, number, next_header=58):
    """One fragment; its offset in units of 8 bytes."""
    return ip() / IPv6ExtHdrFragment(nh=next_header, offset=offset, m=more, id=number) / Raw((b"\x80" + bytes(size))[:size])


def fragment_cases():
    request = bytes((ip() / echo(1392))[ICMPv6EchoRequest])
    request = message(request)
    numbers = iter(range(0x1000, 0x2000))
    a, b, c = pieces(request, [480, 960], next(numbers))
    yield Case("rfc8200-4.5 fragments in their order", [a, b, c], REPLY)
    for order, name in (((2, 1, 0), "the last first"), ((1, 0, 2), "the second first"), ((2, 0, 1), "the second last")):
        parts = pieces(request, [480, 960], next(numbers))
        yield Case(f"rfc8200-4.5 fragments, {name}", [parts[i] for i in order], REPLY)
    yield Case("rfc8200-4.5 fragments behind options", pieces(request, [480], next(numbers), extra=[dst()]), REPLY)
    yield Case("rfc8200-4.5 a whole of 100 pieces", pieces(request, range(8, 808, 8), next(numbers)), REPLY)
    parts = pieces(request, [480, 960], next(numbers))
    parts[1][IPv6ExtHdrFragment].nh = 17
    yield Case("rfc8200-4.5 the first piece says what the whole is", parts, REPLY)
    parts = pieces(request, [480], next(numbers))
    parts[0][IPv6ExtHdrFragment].res1, parts[0][IPv6ExtHdrFragment].res2 = 255, 3
    yield Case("rfc8200-4.5 reserved bits say nothing", parts, REPLY)
    yield Case("rfc6946-4 an atomic fragment", ip() / atomic() / echo(), REPLY)
    number = next(numbers)
    yield Case("rfc6946-4 an atomic fragment is apart from others of its number",
               [pieces(request, [480], number)[0], ip() / IPv6ExtHdrFragment(id=number) / echo()], REPLY)
    parts = pieces(request, [480], number)
    yield Case("rfc6946-4 whose whole still comes together", parts[1:], REPLY)
    one, other = pieces(request, [480], next(numbers)), pieces(request, [480], next(numbers))
    yield Case("rfc8200-4.5 pieces of two numbers are no whole", [one[0], other[1]], [])
    parts = pieces(request, [480], next(numbers))
    parts[1].src = "fd09::99"
    yield Case("rfc8200-4.5 pieces of two sources are no whole", parts, [])
    parts = pieces(request, [480, 960], next(numbers))
    yield Case("rfc8200-4.5 a piece that came twice", [parts[0], parts[1], parts[1].copy(), parts[2]], REPLY, "ip_fragment_duplicate")
    number = next(numbers)
    parts = pieces(request, [480, 960], number)
    overlap = piece(59, 1, 488, number)
    yield Case("rfc5722-4 pieces that overlap end the whole", [parts[0], overlap, parts[1], parts[2]], [], "ip_fragment_overlap")
    yield Case("rfc5722-4 also what comes later", [parts[0].copy(), parts[1].copy(), parts[2].copy()], [], "ip_fragment_overlap")
    number = next(numbers)
    yield Case("rfc5722-4 a piece behind the end", [piece(10, 0, 8, number), piece(20, 1, 8, number)], [], "ip_fragment_overlap")
    number = next(numbers)
    yield Case("rfc5722-4 two ends", [piece(10, 0, 8, number), piece(20, 0, 8, number)], [], "ip_fragment_overlap")
    yield Case("rfc8200-4.5 a length that is no multiple of 8", piece(0, 1, 13, next(numbers)), ["problem 0 at 4"], "ip_bad_fragment")
    yield Case("rfc8200-4.5 the same of a later piece", piece(4, 1, 13, next(numbers), 17), ["problem 0 at 4"], "ip_bad_fragment")
    yield Case("rfc8200-4.5 a whole of more than 65535 bytes", piece(8191, 0, 16, next(numbers), 17), ["problem 0 at 42"], "ip_bad_fragment")
    yield Case("rfc4443-2.4.e not answered where it may be an error", piece(8191, 0, 16, next(numbers)), [], "ip_bad_fragment")
    yield Case("rfc8200-4.5 a piece without anything", piece(0, 1, 0, next(numbers), NO_SUCH_PROTOCOL), [], "ip_bad_fragment")
    yield Case("rfc7112-5 a first piece without the header of its protocol", piece(0, 1, 0, next(numbers), 6), ["problem 3 at 0"], "ip6_incomplete_chain")
    yield Case("rfc7112-5 a first piece with half a header of TCP", piece(0, 1, 8, next(numbers), 6), ["problem 3 at 0"], "ip6_incomplete_chain")
    yield Case("rfc7112-5 a first piece whose headers go on in the next", ip() / IPv6ExtHdrFragment(nh=60, m=1, id=next(numbers)) / Raw(bytes([17, 4]) + bytes(14)),
               ["problem 3 at 0"], "ip6_incomplete_chain")


def packet_cases():
    for table in (option_cases, chain_cases, header_cases, icmp_cases, fragment_cases):
        yield from table()
