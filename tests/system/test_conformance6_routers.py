"""Conformance of what a host makes of routers (RFC 4861 sections 6 and 8, 4862 section 5.5, 4191, 8106) and of floods of all of it, with Scapy
as the routers, good and bad. Each case has a router, a prefix or a destination of its own; all are played, and looked at once."""
import collections
import struct

import pytest
from scapy.layers.inet6 import (ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo, ICMPv6NDOptRDNSS, ICMPv6NDOptRouteInfo, ICMPv6NDOptSrcLLAddr,
                                ICMPv6NDOptUnknown, IPv6, in6_chksum)
from scapy.packet import Raw

from lab import OURS6
from namespaces import wait_until
from station import STATION6, StationLab, describe, solicited_node
from test_conformance6_nd import ALL_NODES, NEW, forms, grown, nd, raw_nd

ROUTER, ROUTER_MAC, OTHER_MAC = "fe80::b1", "02:00:00:00:00:b1", "02:00:00:00:00:b2"
BOUND = 64  # entries, in the floods


@pytest.fixture(scope="module")
def lab():
    with StationLab() as made:
        for setting in ("net.inet6.ip6.maxrouters=256", "net.inet6.ip6.maxifprefixes=256", "net.inet6.ip6.maxdynroutes=256"):
            made.stack.utility("sysctl", "-w", setting)
        yield made
        assert made.stack.running(), "the stack has ended:\n" + made.stack.log()


def settle(lab):
    """After a few advertisements in a row the tables follow ten times a second."""
    wait_until(lambda: lab.stack.json("ndp", "-r")["settled"], lambda: "news that wait")


def drops_named(rows):
    """By name: how many of the rows name a drop, their last word."""
    return dict(collections.Counter(row[3] for row in rows if row[3]))


# ---- router advertisements


def ra(router, *options, **more):
    body = ICMPv6ND_RA(**{"routerlifetime": 1800, "prf": 0, "M": 0, "O": 0, **more})
    for option in options:
        body = body / option
    return nd(body, router, ALL_NODES)


def prefix(address, length=64, valid=86400, preferred=14400, **more):
    return ICMPv6NDOptPrefixInfo(**{"prefix": address, "prefixlen": length, "validlifetime": valid, "preferredlifetime": preferred, "L": 1, "A": 1, **more})


def known(router, *options):
    """An advertisement that also puts its router into the neighbour cache."""
    return ra(router, ICMPv6NDOptSrcLLAddr(lladdr=OTHER_MAC), *options)


def no_router(target, lladdr, O=1):
    return nd(ICMPv6ND_NA(tgt=target, R=0, S=0, O=O) / ICMPv6NDOptDstLLAddr(lladdr=lladdr), target, ALL_NODES)


def way(net):
    return ICMPv6NDOptRouteInfo(prefix=net, plen=48, len=2, rtlifetime=600)


def is_router(**expected):
    return lambda seen, router, net: all(seen["routers"].get(router, {}).get(name) == value for name, value in expected.items()) and router in seen["routers"]


def is_no_router(seen, router, net):
    return router not in seen["routers"] and not any(r["gateway"].split("%")[0] == router for r in seen["routes"])


def has_prefix(on_link, formed, valid=86400):
    """Whether the prefix is kept as on the link, and an address is formed of it that lives so long."""
    def look(seen, router, net):
        kept = [p for p in seen["prefixes"] if p["prefix"] == net and p["on_link"]]
        mine = [a for a in seen["addresses"] if a["address"].startswith(net[:-1]) and "autoconf" in a["flag_names"]]
        times = all(valid - 60 <= a["vltime"] <= valid for a in mine)
        return len(kept) == on_link and len(mine) == formed and times
    return look


def has_route(preference, length=48):
    return lambda seen, router, net: [(r["preference"], r["prefix_length"]) for r in seen["routes"] if r["destination"] == net] == ([(preference, length)] if preference else [])


def advertisements():
    """name, what is sent (a function of router and prefix), what is seen then, drop"""
    yield "rfc4861-6.3.4 a lifetime makes a router", lambda r, n: ra(r), is_router(preference="medium", managed=False, other=False), ""
    yield "rfc4861-6.3.4 a lifetime of 0 makes none", lambda r, n: ra(r, routerlifetime=0), is_no_router, ""
    yield "rfc4861-6.3.4 a lifetime of 0 ends one", lambda r, n: [ra(r), ra(r, routerlifetime=0)], is_no_router, ""
    yield "rfc4861-4.2 managed and other", lambda r, n: ra(r, M=1, O=1), is_router(managed=True, other=True), ""
    for bits, word in ((1, "high"), (3, "low"), (2, "medium")):
        yield f"rfc4191-2.2 preference {bits:02b}", lambda r, n, bits=bits: ra(r, prf=bits), is_router(preference=word), ""
    yield "rfc4861-6.3.4 the last word holds", lambda r, n: [ra(r, prf=1), ra(r, prf=3)], is_router(preference="low"), ""
    yield "rfc4861-4.6 an option that nobody knows", lambda r, n: ra(r, ICMPv6NDOptUnknown(type=253, len=1, data=bytes(6))), is_router(), ""
    yield "rfc4861-6.1.2 not from the link", lambda r, n: ra(n + "1"), lambda seen, r, n: n + "1" not in seen["routers"], "nd_bad_address"
    yield "rfc4861-6.1.2 from nobody", lambda r, n: nd(ICMPv6ND_RA(routerlifetime=1800), "::", ALL_NODES), lambda seen, r, n: "::" not in seen["routers"], "nd_bad_address"
    yield "rfc4861-6.1.2 unicast", lambda r, n: nd(ICMPv6ND_RA(routerlifetime=1800), r, OURS6), is_router(), ""
    for number, (why, _, drop) in enumerate(forms(ra(ROUTER))):
        yield (f"rfc{'6980-5' if why == 'a fragment header' else '4861-6.1.2'} {why}", lambda r, n, number=number: list(forms(ra(r)))[number][1],
               is_no_router, drop)
    yield "rfc4861-7.2.5 who is no router any more", lambda r, n: [known(r), nd(ICMPv6ND_NA(tgt=r, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NEW), r, ALL_NODES)], is_no_router, ""
    yield "rfc4861-7.2.5 nor has ways to anywhere", lambda r, n: [known(r, way(n)), no_router(r, lladdr=NEW)], has_route(None), ""
    yield "rfc4861-7.2.5 the same address needs no O", lambda r, n: [known(r), no_router(r, O=0, lladdr=OTHER_MAC)], is_no_router, ""
    yield "rfc4861-7.2.5.I another address does", lambda r, n: [known(r), no_router(r, O=0, lladdr=NEW)], is_router(), ""
    yield "rfc4861-7.2.5.I and its ways stay", lambda r, n: [known(r, way(n)), no_router(r, O=0, lladdr=NEW)], has_route("medium"), ""
    yield "rfc4861-7.2.5 of nobody that is known", lambda r, n: [ra(r), no_router(r, lladdr=NEW)], is_router(), ""
    yield "rfc4861-7.2.5 who still is one", lambda r, n: [known(r), nd(ICMPv6ND_NA(tgt=r, R=1, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NEW), r, ALL_NODES)], is_router(), ""
    # Prefixes.
    yield "rfc4862-5.5.3 on the link and autonomous", lambda r, n: ra(r, prefix(n)), has_prefix(1, 1), ""
    yield "rfc4861-6.3.4 on the link alone", lambda r, n: ra(r, prefix(n, A=0)), has_prefix(1, 0), ""
    yield "rfc4862-5.5.3 autonomous alone", lambda r, n: ra(r, prefix(n, L=0)), has_prefix(0, 1), ""
    yield "rfc4862-5.5.3.a neither", lambda r, n: ra(r, prefix(n, L=0, A=0)), has_prefix(0, 0), ""
    yield "rfc4862-5.5.3 of a router that is none", lambda r, n: ra(r, prefix(n), routerlifetime=0), has_prefix(1, 1), ""
    yield "rfc4862-5.5.3.c preferred for longer than valid", lambda r, n: ra(r, prefix(n, valid=100, preferred=200)), has_prefix(1, 0), ""
    yield "rfc4862-5.5.3.d a length that an identifier does not fill", lambda r, n: ra(r, prefix(n, 65)), has_prefix(1, 0), ""
    yield "rfc4861-6.3.4 a new one that is over", lambda r, n: ra(r, prefix(n, valid=0, preferred=0)), has_prefix(0, 0), ""
    yield "rfc4861-6.3.4 one that is over", lambda r, n: [ra(r, prefix(n, A=0)), ra(r, prefix(n, valid=0, preferred=0, A=0))], has_prefix(0, 0), ""
    yield "rfc4862-5.5.3.e.1 more than two hours", lambda r, n: [ra(r, prefix(n)), ra(r, prefix(n, valid=10000, preferred=5000))], has_prefix(1, 1, 10000), ""
    yield "rfc4862-5.5.3.e.2 less than two hours when there is more", lambda r, n: [ra(r, prefix(n)), ra(r, prefix(n, valid=60, preferred=60))], has_prefix(1, 1, 7200), ""
    yield "rfc4862-5.5.3.e.2 less when there is little", lambda r, n: [ra(r, prefix(n, valid=3600, preferred=60)), ra(r, prefix(n, valid=60, preferred=60))], has_prefix(1, 1, 3600), ""
    yield "rfc4862-5.5.3.e.1 longer than what is left", lambda r, n: [ra(r, prefix(n, valid=3600, preferred=60)), ra(r, prefix(n, valid=4000, preferred=60))], has_prefix(1, 1, 4000), ""
    yield "rfc4862-5.5.3.b the link's own", lambda r, n: ra(r, prefix("fe80::")), lambda seen, r, n: all(p["prefix"] != "fe80::" for p in seen["prefixes"]), ""
    yield "rfc4861-6.3.4 of groups", lambda r, n: ra(r, prefix("ff15::")), lambda seen, r, n: all(p["prefix"] != "ff15::" for p in seen["prefixes"]), ""
    yield "rfc4861-4.6.2 a length of 129", lambda r, n: ra(r, prefix(n, 129)), has_prefix(0, 0), "nd_malformed"
    yield "rfc4861-4.6.2 an option of 24 bytes", lambda r, n: raw_nd(bytes(ICMPv6ND_RA(routerlifetime=9)) + b"\x03\x03" + bytes(22), r, ALL_NODES), is_no_router, "nd_malformed"
    # More specific routes and name servers.
    yield "rfc4191-2.3 a route", lambda r, n: ra(r, ICMPv6NDOptRouteInfo(prefix=n, plen=48, len=2, rtlifetime=600, prf=1)), has_route("high"), ""
    yield "rfc4191-2.3 a route to one host", lambda r, n: ra(r, ICMPv6NDOptRouteInfo(prefix=n, plen=128, len=3, rtlifetime=600)), has_route("medium", 128), ""
    yield "rfc4191-2.3 of the reserved preference", lambda r, n: ra(r, ICMPv6NDOptRouteInfo(prefix=n, plen=48, len=2, rtlifetime=600, prf=2)), has_route(None), ""
    yield "rfc4191-2.3 a route that is over", lambda r, n: [ra(r, ICMPv6NDOptRouteInfo(prefix=n, plen=48, len=2, rtlifetime=t)) for t in (600, 0)], has_route(None), ""
    yield ("rfc4191-2.3 shorter than its prefix", lambda r, n: raw_nd(bytes(ICMPv6ND_RA(routerlifetime=9)) + b"\x18\x02\x60\x00" + bytes(12), r, ALL_NODES), is_no_router,
           "nd_malformed")
    yield ("rfc4191-3.1 a route to everywhere is the router's own", lambda r, n: ra(r, ICMPv6NDOptRouteInfo(prefix="::", plen=0, len=1, rtlifetime=600, prf=1)),
           is_router(preference="high"), "")
    yield "rfc8106-5.1 a name server", lambda r, n: ra(r, ICMPv6NDOptRDNSS(dns=[n + "53"], lifetime=600)), lambda seen, r, n: n + "53" in seen["servers"], ""
    yield "rfc8106-5.1 a name server that is over", lambda r, n: [ra(r, ICMPv6NDOptRDNSS(dns=[n + "53"], lifetime=t)) for t in (600, 0)], lambda seen, r, n: n + "53" not in seen["servers"], ""
    yield ("rfc8106-5.1 no name server", lambda r, n: raw_nd(bytes(ICMPv6ND_RA(routerlifetime=9)) + b"\x19\x01" + bytes(6), r, ALL_NODES), is_no_router, "nd_malformed")


ADVERTISEMENTS = list(advertisements())


def names(number):
    return f"fe80::c:{number:x}", f"fd10:{number:x}::"


@pytest.fixture(scope="module")
def routers(lab):
    """What the stack knows when all was said, and what it counted."""
    before = lab.stack.drops()
    for number, (name, what, _, _) in enumerate(ADVERTISEMENTS):
        said = what(*names(number))
        for packet in said if isinstance(said, list) else [said]:
            assert lab.station.ask(packet) == [], name
            if isinstance(said, list) or number == len(ADVERTISEMENTS) - 1:
                settle(lab)
    counted = grown(lab, before)
    told = lab.stack.json("ndp", "-r")
    addresses = lab.stack.json("ifconfig", "-L", "en0")["interfaces"][0]["addresses"]
    seen = {"routers": {r["address"].split("%")[0]: r for r in told["routers"]}, "routes": told["routes"], "prefixes": told["prefixes"],
            "servers": [s["address"].split("%")[0] for s in told["dns_servers"]], "addresses": [{"flag_names": "", **a} for a in addresses]}
    for what in ("-R", "-P"):
        lab.stack.utility("ndp", what)
    return seen, counted


@pytest.mark.parametrize("name", [row[0] for row in ADVERTISEMENTS])
def test_advertisement(routers, name):
    number = [row[0] for row in ADVERTISEMENTS].index(name)
    assert ADVERTISEMENTS[number][2](routers[0], *names(number)), routers[0]


def test_what_was_ignored_is_counted(routers):
    assert routers[1] == drops_named(ADVERTISEMENTS)


# What is told of a link, one after the other; None: as it was.
PARAMETERS = [("rfc4861-6.3.4 a reachable time", dict(reachabletime=20000), "base_reachable_ms", 20000), ("rfc4861-6.3.4 0 says nothing of it", dict(reachabletime=0), "base_reachable_ms", 20000),
              ("rfc4861-6.2.1 more than an hour is none", dict(reachabletime=3_600_001), "base_reachable_ms", 20000),
              ("rfc4861-6.3.4 a time between questions", dict(retranstimer=500), "retransmit_ms", 500), ("rfc4861-6.3.4 0 says nothing of that", dict(retranstimer=0), "retransmit_ms", 500)]
# Hop limit and MTU take hold together, a while later: the one that is good shows when. What is said, and what holds then.
LINKS = [("rfc4861-6.3.4 a hop limit", (48, 1450), (48, 1450)), ("rfc4861-6.3.4 0 says nothing of hops", (0, 1440), (48, 1440)),
         ("rfc6104 a hop limit that cuts off is none", (1, 1430), (48, 1430)), ("rfc4861-6.3.4 an MTU", (49, 1400), (49, 1400)),
         ("rfc4861-6.3.4 an MTU of less than 1280 is none", (50, 1279), (50, 1400)), ("rfc2464-2 an MTU of more than the link's is none", (51, 9000), (51, 1400)),
         ("rfc4861-6.3.4 the least MTU", (52, 1280), (52, 1280))]


@pytest.mark.parametrize("name,said,what,value", PARAMETERS, ids=[row[0] for row in PARAMETERS])
def test_parameter(lab, name, said, what, value):
    lab.station.ask(ra(ROUTER, routerlifetime=0, **{"chlim": 0, **said}))
    settle(lab)

    def shown():
        return lab.stack.json("ndp", "-i", "en0")["interfaces"][0][what]
    # A link's parameters change once a second at most.
    wait_until(lambda: shown() == value, shown)


@pytest.mark.parametrize("name,said,holds", LINKS, ids=[row[0] for row in LINKS])
def test_link(lab, name, said, holds):
    lab.station.ask(ra(ROUTER, ICMPv6NDOptMTU(mtu=said[1]), routerlifetime=0, chlim=said[0]))

    def now():
        told = lab.stack.json("ndp", "-i", "en0")["interfaces"][0]
        return told["hop_limit"], told["mtu"]
    wait_until(lambda: any(one == is_now for one, is_now in zip(said, now())), lambda: str(now()))
    assert now() == holds
    answers = [f[IPv6] for f in lab.station.ask(IPv6(src=STATION6, dst=OURS6) / ICMPv6EchoRequest(data=bytes(1452)))]
    assert {packet.hlim for packet in answers} == {holds[0]} and max(map(len, answers)) in range(holds[1] - 7, holds[1] + 1)


# ---- redirects: RFC 4861 section 8


def redirect(to, target="fe80::b2", source=ROUTER, mac=OTHER_MAC, **more):
    return nd(ICMPv6ND_Redirect(tgt=target, dst=to) / ICMPv6NDOptDstLLAddr(lladdr=mac), source, OURS6, **more)


def redirect_cases():
    """name, packet of the destination, the MAC that packets to it have then, drop"""
    yield "rfc4861-8.3 a better router", redirect, OTHER_MAC, ""
    yield "rfc4861-8.3 a neighbour", lambda d: redirect(d, target=d), OTHER_MAC, ""
    yield "rfc4861-8.1 not from the link", lambda d: redirect(d, source=STATION6), ROUTER_MAC, "nd_bad_address"
    yield "rfc4861-8.1 of another router than the one in use", lambda d: redirect(d, source="fe80::b9"), ROUTER_MAC, "nd_bad_address"
    yield "rfc4861-8.1 to what is neither of the link nor the destination", lambda d: redirect(d, target="2001:db8::9"), ROUTER_MAC, "nd_bad_address"
    yield "rfc4861-8.1 of a group", lambda d: redirect("ff15::1"), ROUTER_MAC, "nd_bad_address"
    yield "rfc4861-8.3 to ourselves", lambda d: redirect(d, target=redirect_cases.own), ROUTER_MAC, "nd_bad_address"
    for number, (why, _, drop) in enumerate(forms(redirect("2001:db8::1"))):
        yield f"rfc{'6980-5' if why == 'a fragment header' else '4861-8.1'} {why}", lambda d, number=number: list(forms(redirect(d)))[number][1], ROUTER_MAC, drop


REDIRECTS = list(redirect_cases())


@pytest.fixture(scope="module")
def redirects(lab):
    """By name: the MAC that the answer to each destination went to; what was counted."""
    station = lab.station
    redirect_cases.own = next(a["address"] for a in lab.stack.interface("en0")["addresses"] if a["address"].startswith("fe80")).split("%")[0]
    station.ask(ra(ROUTER, ICMPv6NDOptSrcLLAddr(lladdr=ROUTER_MAC)))
    station.addresses[ROUTER] = ROUTER_MAC
    before, went = lab.stack.drops(), {}
    for number, (name, packet, _, _) in enumerate(REDIRECTS):
        destination = f"2001:db8:{number:x}::1"
        question = IPv6(src=destination, dst=OURS6) / ICMPv6EchoRequest()
        first = station.ask(question, packet(destination))
        assert [(describe(f), f.dst) for f in first] == [("echo reply", ROUTER_MAC)], name
        then = station.ask(question)
        went[name] = [frame.dst for frame in then if ICMPv6EchoReply in frame]
    return went, grown(lab, before)


@pytest.mark.parametrize("name,mac", [(row[0], row[2]) for row in REDIRECTS], ids=[row[0] for row in REDIRECTS])
def test_redirect(redirects, name, mac):
    assert redirects[0][name] == [mac]


def test_ignored_redirects_are_counted(redirects):
    assert redirects[1] == drops_named(REDIRECTS)


def test_rfc4861_8_3_redirects_can_be_refused(lab, redirects):
    lab.stack.utility("sysctl", "-w", "net.inet6.icmp6.rediraccept=0")
    question = IPv6(src="2001:db8:ff::1", dst=OURS6) / ICMPv6EchoRequest()
    lab.station.ask(question, redirect("2001:db8:ff::1"))
    assert [f.dst for f in lab.station.ask(question)] == [ROUTER_MAC]
    lab.stack.utility("sysctl", "-w", "net.inet6.icmp6.rediraccept=1")


# ---- floods: what is kept is bounded, what worked goes on


def icmp6(source, to, payload, hlim=255):
    """A packet without Scapy's help, which takes its time."""
    source, to = (bytes.fromhex("".join(f"{int(g or '0', 16):04x}" for g in whole(a))) for a in (source, to))
    total = sum(struct.unpack(f"!{len(payload) // 2 + 16}H", source + to + payload)) + len(payload) + 58
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return b"\x60\0\0\0" + struct.pack("!HBB", len(payload), 58, hlim) + source + to + payload[:2] + struct.pack("!H", ~total & 0xFFFF) + payload[4:]


def whole(address):
    front, _, back = address.partition("::")
    front, back = [g for g in front.split(":") if g], [g for g in back.split(":") if g]
    return front + ["0"] * (8 - len(front) - len(back)) + back if "::" in address else front


def flood(lab, packets):
    """In pieces that the wire holds."""
    for begin in range(0, len(packets), 200):
        lab.station.send(*packets[begin:begin + 200])
        lab.station.fence()


@pytest.fixture
def few_neighbours(lab):
    """A bound, and one neighbour that has answered; the others are forgotten."""
    station = lab.station
    lab.stack.utility("sysctl", "-w", f"net.inet.arp.maxentries={BOUND}")
    station.addresses["fd09::ee:1"] = "02:00:00:00:ee:01"
    wait_until(lambda: [f.dst for f in station.ask(IPv6(src="fd09::ee:1", dst=OURS6) / ICMPv6EchoRequest())] == ["02:00:00:00:ee:01"], "the neighbour")
    yield
    entries = lab.stack.json("ndp", "-a")["neighbours"]
    assert len(entries) <= BOUND
    assert ("fd09::ee:1", "reachable") in {(n["address"], n["state"]) for n in entries}, "who has answered stays"
    assert [f.dst for f in station.ask(IPv6(src="fd09::ee:1", dst=OURS6) / ICMPv6EchoRequest())] == ["02:00:00:00:ee:01"]
    lab.stack.utility("sysctl", "-w", "net.inet.arp.maxentries=4096")
    wait_until(lambda: lab.stack.json("netstat", "-m")["mbufs"]["in_use"] == 0, "all buffers back")


def test_rfc6583_unsolicited_advertisements_make_no_neighbours(lab, few_neighbours):
    before = len(lab.stack.json("ndp", "-a")["neighbours"])
    target = "fd09::f0:{:x}"
    flood(lab, [icmp6(target.format(i), ALL_NODES, b"\x88\0\0\0\x20\0\0\0" + bytes(IPv6(dst=target.format(i)))[24:40] + b"\x02\x01\x02\0\0\0\0\x07") for i in range(1000)])
    assert len(lab.stack.json("ndp", "-a")["neighbours"]) == before


def test_rfc6583_solicitations_of_many(lab, few_neighbours):
    ours = bytes(IPv6(dst=OURS6))[24:40]
    flood(lab, [icmp6(f"fd09::f1:{i:x}", solicited_node(OURS6), b"\x87\0\0\0\0\0\0\0" + ours + b"\x01\x01\x02\0\0\0\0\x07") for i in range(1000)])


def test_rfc6583_answers_to_many_who_are_not_there(lab, few_neighbours):
    before = lab.stack.drops()
    flood(lab, [icmp6(f"fd09::f2:{i:x}", OURS6, b"\x80\0\0\0\0\x01\0\x01") for i in range(1000)])
    wait_until(lambda: grown(lab, before).get("arp_unresolved", 0) >= 900, "what waited for them dies")


def test_rfc6104_advertisements_of_many_routers(lab):
    for setting in ("maxrouters=16", "maxifprefixes=16", "maxdynroutes=64"):
        lab.stack.utility("sysctl", "-w", "net.inet6.ip6." + setting)
    for what in ("-R", "-P"):
        lab.stack.utility("ndp", what)
    before = lab.stack.drops()
    packets = []
    for i in range(600):
        net = struct.pack("!HH12x", 0xFD20, i)
        options = b"\x03\x04\x40\xc0" + struct.pack("!III", 86400, 14400, 0) + net + b"\x18\x02\x30\x00" + struct.pack("!I", 600) + net[:8]
        packets.append(icmp6(f"fe80::f3:{i:x}", ALL_NODES, b"\x86\0\0\0\x40\0" + struct.pack("!HII", 1800, 0, 0) + options))
    flood(lab, packets)
    told = lab.stack.json("ndp", "-r")
    assert len(told["routers"]) <= 16 and len(told["prefixes"]) <= 16 and len(told["routes"]) <= 64
    assert sum("autoconf" in a.get("flag_names", "") for a in lab.stack.interface("en0")["addresses"]) <= 256
    assert grown(lab, before)["nd_limit"] >= 500
    assert [describe(f) for f in lab.station.ask(IPv6(src=STATION6, dst=OURS6) / ICMPv6EchoRequest())] == ["echo reply"]
