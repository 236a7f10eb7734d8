"""Conformance of neighbour discovery (RFC 4861, 4862, 4191, 6980, 7527), each case named by RFC and section, with Scapy as the neighbour,
the router and the attacker. A table is played as a whole and looked at once; each case then reads its own row."""
import collections
import itertools

import pytest
from scapy.layers.inet6 import (ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6ND_Redirect,
                                ICMPv6NDOptDstLLAddr, ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo, ICMPv6NDOptRDNSS, ICMPv6NDOptRouteInfo,
                                ICMPv6NDOptSrcLLAddr, ICMPv6NDOptUnknown, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from cases6 import message
from lab import OURS6
from namespaces import wait_until
from station import STATION6, STATION_MAC, StationLab, describe, solicited_node

ALL_NODES = "ff02::1"
OLD, NEW = "02:00:00:00:0a:01", "02:00:00:00:0a:02"


@pytest.fixture(scope="module")
def lab():
    """Nothing happens here because time passes."""
    with StationLab() as made:
        for setting in ("net.inet.arp.retransmit=60000", "net.inet.arp.reachable=3600", "net.inet.arp.delay=3600",
                        "net.inet6.ip6.maxrouters=256", "net.inet6.ip6.maxifprefixes=256"):
            made.stack.utility("sysctl", "-w", setting)
        yield made
        assert made.stack.running(), "the stack has ended:\n" + made.stack.log()


@pytest.fixture(scope="module")
def dropped(lab):
    """By name: how many packets the cases so far have lost, and what the stack had counted before."""
    return collections.Counter(), collections.Counter(lab.stack.drops())


def grown(lab, before):
    now = lab.stack.drops()
    return {name: now[name] - before.get(name, 0) for name in now if now[name] != before.get(name, 0)}


def nd(body, source=STATION6, to=OURS6, hlim=255):
    return IPv6(src=source, dst=to, hlim=hlim) / body


def raw_nd(payload, source=STATION6, to=OURS6, next_header=58, **more):
    """A message of any bytes and a right checksum."""
    payload = message(payload, source, to)
    return bytes(IPv6(src=source, dst=to, hlim=255, plen=len(payload), nh=next_header, **more)) + payload


def broken(packet, change):
    """The ICMPv6 message behind a header of 40 bytes, changed, with a right checksum."""
    data = bytes(packet)
    payload = change(data[40:])
    return raw_nd(payload, packet.src, packet.dst)


def forms(valid):
    """How a message of neighbour discovery is wrong, whatever it says: RFC 4861 sections 6.1, 7.1, 8.1; of each the drop that counts it."""
    fixed = {133: 8, 134: 16, 135: 24, 136: 24, 137: 40}[bytes(valid)[40]]
    yield "hop limit 254", IPv6(bytes(valid)[:7] + b"\xfe" + bytes(valid)[8:]), "nd_bad_hop_limit"
    yield "a wrong checksum", bytes(valid)[:42] + b"\x12\x34" + bytes(valid)[44:], "icmp_bad_checksum"
    yield "code 1", broken(valid, lambda m: m[:1] + b"\x01" + m[2:]), "nd_malformed"
    yield "a message that is cut short", broken(valid, lambda m: m[:fixed - 1]), "nd_malformed"
    yield "an option of length 0", broken(valid, lambda m: m + b"\xfd\x00" + bytes(6)), "nd_malformed"
    yield "an option that is cut short", broken(valid, lambda m: m + b"\xfd\x02" + bytes(6)), "nd_malformed"
    yield "half an option", broken(valid, lambda m: m + bytes(4)), "nd_malformed"
    yield "a link-layer address of another length", broken(valid, lambda m: m[:fixed] + bytes([1, 2]) + bytes(14)), "nd_malformed"
    yield "the link-layer address of a group", broken(valid, lambda m: m[:fixed] + b"\x02\x01\x33\x33\x00\x00\x00\x01"), "nd_bad_address"
    atomic = bytes([58, 0, 0, 0, 0, 0, 0, 9]) + bytes(valid)[40:]
    yield "a fragment header", bytes(valid)[:4] + len(atomic).to_bytes(2, "big") + b"\x2c\xff" + bytes(valid)[8:40] + atomic, "nd_malformed"


# ---- solicitations: RFC 4861 sections 7.1.1, 7.2.3, 7.2.4


def ns(target=OURS6, link=STATION_MAC, **more):
    return ICMPv6ND_NS(tgt=target, **more) / ICMPv6NDOptSrcLLAddr(lladdr=link) if link else ICMPv6ND_NS(tgt=target, **more)


def solicitation_cases():
    """name, packet, answers, drop"""
    answer = [f"na {OURS6} to {STATION6} R0 S1 O1 with its MAC"]
    group = solicited_node(OURS6)
    yield "rfc4861-7.2.4 to the solicited-node group", nd(ns(), to=group), answer, ""
    yield "rfc4861-7.2.4 to the address", nd(ns()), answer, ""
    yield "rfc4861-7.2.4 without an address of the link", nd(ns(link=None)), answer, ""
    yield "rfc4861-7.2.4 to a group without an address of the link", nd(ns(link=None), to=group), answer, ""
    yield "rfc4861-4.3 reserved bits", nd(ns(res=0xFFFFFFFF)), answer, ""
    yield "rfc4861-4.6 an option that nobody knows", nd(ns() / ICMPv6NDOptUnknown(type=253, len=1, data=bytes(6))), answer, ""
    yield "rfc4861-7.1.1 behind destination options", IPv6(src=STATION6, dst=OURS6, hlim=255) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / ns(), answer, ""
    yield "rfc4862-5.4.3 a probe for an address that is ours", nd(ns(link=None), source="::", to=group), [f"na {OURS6} to {ALL_NODES} R0 S0 O1 with its MAC"], ""
    yield "rfc4861-7.2.3 for another's address", nd(ns("fd09::5")), [], "nd_not_for_us"
    yield "rfc4861-7.1.1 a probe with an address of the link", nd(ns(), source="::", to=group), [], "nd_bad_address"
    yield "rfc4861-7.1.1 a probe to another group", nd(ns(link=None), source="::", to=ALL_NODES), [], "nd_bad_address"
    yield "rfc4861-7.1.1 a probe to the address itself", nd(ns(link=None), source="::"), [], "ip_bad_source"
    yield "rfc4861-7.1.1 the target is a group", nd(ns(group)), [], "nd_bad_address"
    yield "rfc4861-7.1.1 no target", nd(ns("::")), [], "nd_bad_address"
    for why, packet, drop in forms(nd(ns(link=None))):
        yield f"rfc{'6980-5' if why == 'a fragment header' else '4861-7.1.1'} {why}", packet, [], drop
    yield "rfc6980-5 in two fragments", [IPv6(src=STATION6, dst=OURS6, hlim=255) / IPv6ExtHdrFragment(nh=58, offset=begin // 8, m=begin == 0, id=99)
                                         / Raw(message(bytes(ns()))[begin:begin + 16]) for begin in (0, 16)], [], "nd_malformed"


SOLICITATIONS = list(solicitation_cases())


@pytest.mark.parametrize("name,packet,answers,drop", SOLICITATIONS, ids=[row[0] for row in SOLICITATIONS])
def test_solicitation(lab, dropped, name, packet, answers, drop):
    got = lab.station.ask(*packet) if isinstance(packet, list) else lab.station.ask(packet)
    assert [describe(frame) for frame in got] == answers
    assert all(frame[IPv6].hlim == 255 for frame in got), "RFC 4861 section 4.4"
    if drop:
        dropped[0][drop] += 1


def test_each_was_counted_by_name(lab, dropped):
    assert grown(lab, dropped[1]) == dict(dropped[0])


# ---- the state of a neighbour: RFC 4861 sections 7.2.3, 7.2.5, 7.3.3, appendix C

STATES = ("none", "incomplete", "reachable", "stale", "delay", "probe")


def after_advertisement(before, solicited, override, link):
    """(state, MAC) as RFC 4861 section 7.2.5 says; `link`: the MAC it names, or None."""
    if before == "none" or (before == "incomplete" and link is None):
        return before, None
    if before == "incomplete":
        return ("reachable" if solicited else "stale"), link
    if link == NEW and not override:
        return ("stale" if before == "reachable" else before), OLD
    state = "reachable" if solicited else "stale" if link == NEW else before
    return state, link or OLD


def after_solicitation(before, link):
    """Section 7.2.3: who asks is heard, and not thereby reachable: he is stale, and the answer to him is the first use of that."""
    known = before not in ("none", "incomplete")
    return (before if known and link == OLD and before != "stale" else "delay"), link


def neighbour_cases():
    """(name, state before, message from its address, (state, MAC) after)"""
    for before, solicited, override, link in itertools.product(STATES, (0, 1), (0, 1), (OLD, NEW, None)):
        option = f"{'its' if link == OLD else 'another' if link else 'no'} MAC"
        name = f"rfc4861-7.2.5 {before}, advertisement S{solicited} O{override} with {option}"

        def packet(address, solicited=solicited, override=override, link=link):
            body = ICMPv6ND_NA(tgt=address, R=0, S=solicited, O=override)
            return nd(body / ICMPv6NDOptDstLLAddr(lladdr=link) if link else body, address, OURS6 if solicited else ALL_NODES)
        yield name, before, packet, after_advertisement(before, solicited, override, link)
    for before, link in itertools.product(STATES, (OLD, NEW)):
        name = f"rfc4861-7.2.3 {before}, solicitation with {'its' if link == OLD else 'another'} MAC"
        yield name, before, lambda address, link=link: nd(ns(link=link), address), after_solicitation(before, link)
    for before in STATES:
        yield (f"rfc4861-6.2.6 {before}, router solicitation", before, lambda address: nd(ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=NEW), address, ALL_NODES),
               (before, None if before in ("none", "incomplete") else OLD))
    valid = nd(ICMPv6ND_NA(tgt="fd09::ffff", S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NEW))
    for number, (why, _, _) in enumerate(forms(valid)):
        def packet(address, number=number):
            return list(forms(nd(ICMPv6ND_NA(tgt=address, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NEW), address)))[number][1]
        yield f"rfc{'6980-5' if why == 'a fragment header' else '4861-7.1.2'} incomplete, {why}", "incomplete", packet, ("incomplete", None)
    yield ("rfc4861-7.1.2 incomplete, solicited and to a group", "incomplete",
           lambda address: nd(ICMPv6ND_NA(tgt=address, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NEW), address, ALL_NODES), ("incomplete", None))
    yield ("rfc4861-7.1.2 incomplete, the target is a group", "incomplete",
           lambda address: nd(ICMPv6ND_NA(tgt="ff02::1:ff00:1", S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NEW), address), ("incomplete", None))
    yield ("rfc4861-7.2.5 incomplete, about another target", "incomplete",
           lambda address: nd(ICMPv6ND_NA(tgt="fd09::fffe", S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NEW), address), ("incomplete", None))


NEIGHBOURS = list(neighbour_cases())


def bring_to(station, address, state):
    """By messages alone. What comes to delay goes on to probe when it is let."""
    question = IPv6(src=address, dst=OURS6) / ICMPv6EchoRequest(id=1)
    station.send(question)
    if state != "incomplete":
        solicited = int(state == "reachable")
        station.send(nd(ICMPv6ND_NA(tgt=address, S=solicited, O=1) / ICMPv6NDOptDstLLAddr(lladdr=OLD), address, OURS6 if solicited else ALL_NODES))
    if state in ("delay", "probe"):
        station.send(question)
    return station.fence()


@pytest.fixture(scope="module")
def neighbours(lab):
    """By address: (state, MAC) when all of the table have been played, each on an address of its own."""
    station = lab.station
    rows = [(f"fd09::a:{number:x}", *row) for number, row in enumerate(NEIGHBOURS)]
    lab.stack.utility("sysctl", "-w", "net.inet.arp.delay=0")
    for address, _, before, _, _ in rows:
        if before == "probe":
            bring_to(station, address, before)
    wait_until(lambda: sum(n["state"] == "probe" for n in lab.stack.json("ndp", "-a")["neighbours"]) >= sum(r[2] == "probe" for r in rows), "probes")
    lab.stack.utility("sysctl", "-w", "net.inet.arp.delay=3600")
    for address, _, before, _, _ in rows:
        if before not in ("probe", "none"):
            bring_to(station, address, before)
    begun = {n["address"]: n["state"] for n in lab.stack.json("ndp", "-a")["neighbours"]}
    assert {row[0]: begun.get(row[0], "none") for row in rows} == {row[0]: row[2] for row in rows}
    for address, _, _, packet, _ in rows:
        station.send(packet(address))
        station.fence()
    known = {n["address"]: (n["state"], n.get("mac")) for n in lab.stack.json("ndp", "-a")["neighbours"]}
    yield {row[1]: known.get(row[0], ("none", None)) for row in rows}
    for address, *_ in rows:
        if address in known:
            station.addresses[address] = OLD


@pytest.mark.parametrize("name,expected", [(row[0], row[3]) for row in NEIGHBOURS], ids=[row[0] for row in NEIGHBOURS])
def test_neighbour(neighbours, name, expected):
    state, mac = neighbours[name]
    assert (state, None if mac in (None, "00:00:00:00:00:00") else mac) == expected


def test_rfc4861_7_3_3_a_probe_is_unicast_and_its_answer_counts(lab):
    """Stale, used, probed at the address that is known; an answer brings it back."""
    address, station = "fd09::b:1", lab.station
    lab.stack.utility("sysctl", "-w", "net.inet.arp.delay=0")
    station.frames += bring_to(station, address, "delay")
    probe = station.wait(lambda f: ICMPv6ND_NS in f and f[ICMPv6ND_NS].tgt == address and f.dst == OLD, what="a probe")
    lab.stack.utility("sysctl", "-w", "net.inet.arp.delay=3600")
    assert probe[IPv6].dst == address and probe[IPv6].hlim == 255
    station.send(nd(ICMPv6ND_NA(tgt=address, S=1, O=0) / ICMPv6NDOptDstLLAddr(lladdr=OLD), address))
    station.fence()
    assert [n["state"] for n in lab.stack.json("ndp", "-a")["neighbours"] if n["address"] == address] == ["reachable"]


def test_rfc4861_7_2_2_who_does_not_answer_is_told_of(lab):
    """Three questions to the group; what waited is counted."""
    address, station = "fd09::b:2", lab.station
    lab.stack.utility("sysctl", "-w", "net.inet.arp.retransmit=100")
    before = lab.stack.drops()
    station.send(IPv6(src=address, dst=OURS6) / ICMPv6EchoRequest(id=1))
    for _ in range(3):
        asked = station.wait(lambda f: ICMPv6ND_NS in f and f[ICMPv6ND_NS].tgt == address, what="a question")
        assert asked[IPv6].dst == solicited_node(address) and asked.dst == "33:33:ff:0b:00:02"
        assert asked[ICMPv6NDOptSrcLLAddr].lladdr == station.peer_mac
    wait_until(lambda: grown(lab, before).get("arp_unresolved") == 1, "the drop")
    lab.stack.utility("sysctl", "-w", "net.inet.arp.retransmit=60000")


# ---- duplicate address detection: RFC 4862 section 5.4


def tentative_cases():
    """name, what comes while it is tentative (a function of address and probe), whether it is somebody else's then, drop"""
    def probe(address, more=b"", **how):
        return raw_nd(bytes(ICMPv6ND_NS(tgt=address)) + more, "::", solicited_node(address), **how)
    yield "rfc4862-5.4.3 another's probe", lambda a, seen: probe(a), True, ""
    yield "rfc7527-4.2 another's probe with a nonce", lambda a, seen: probe(a, b"\x0e\x01another"[:8]), True, ""
    yield "rfc7527-4.1 our own probe comes back", lambda a, seen: bytes(seen[IPv6]), False, "nd_looped"
    yield "rfc4862-5.4.4 an advertisement", lambda a, seen: nd(ICMPv6ND_NA(tgt=a, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=NEW), a, ALL_NODES), True, ""
    yield "rfc4862-5.4.4 an advertisement that does not override", lambda a, seen: nd(ICMPv6ND_NA(tgt=a, S=0, O=0), "fd09::ffff", ALL_NODES), True, ""
    yield "rfc4862-5.4.3 a question for it is not answered", lambda a, seen: nd(ns(a), to=solicited_node(a)), False, "nd_not_for_us"
    yield "rfc4862-5.4 an echo request to it is not answered", lambda a, seen: IPv6(src=STATION6, dst=a) / ICMPv6EchoRequest(), False, "ip_not_for_us"
    yield ("rfc4861-7.1.1 a probe that was forwarded", lambda a, seen: IPv6(src="::", dst=solicited_node(a), hlim=254) / ICMPv6ND_NS(tgt=a), False,
           "nd_bad_hop_limit")
    yield ("rfc4861-7.1.1 a probe with an address of the link", lambda a, seen: probe(a, bytes(ICMPv6NDOptSrcLLAddr(lladdr=NEW))), False, "nd_bad_address")
    yield ("rfc4861-7.1.2 an advertisement that was forwarded", lambda a, seen: nd(ICMPv6ND_NA(tgt=a), "fd09::ffff", ALL_NODES, hlim=64), False,
           "nd_bad_hop_limit")
    yield "rfc6980-5 an advertisement in a fragment", lambda a, seen: IPv6(src="fd09::ffff", dst=ALL_NODES, hlim=255) / IPv6ExtHdrFragment(id=5) / ICMPv6ND_NA(tgt=a), False, "nd_malformed"


TENTATIVE = list(tentative_cases())


def flags(lab):
    """By address, those of the interface."""
    return {a["address"]: a.get("flag_names", "") for a in lab.stack.interface("en0")["addresses"]}


@pytest.fixture(scope="module")
def detections(lab):
    """What became of each address, and what the stack counted. A router has said that answers take a minute: so they stay tentative."""
    station = lab.station
    station.send(nd(ICMPv6ND_RA(routerlifetime=0, retranstimer=60000), "fe80::b1", ALL_NODES))
    station.fence()
    before = lab.stack.drops()
    for number, (name, reaction, taken, _) in enumerate(TENTATIVE):
        address = f"fd09::d:{number:x}"
        lab.stack.utility("ifconfig", "en0", "inet6", f"{address}/64")
        seen = station.wait(lambda f: ICMPv6ND_NS in f and f[ICMPv6ND_NS].tgt == address, what="a probe")
        assert seen[IPv6].src == "::" and seen[IPv6].dst == solicited_node(address) and ICMPv6NDOptSrcLLAddr not in seen, name
        assert station.ask(reaction(address, seen)) == [], f"{name}: nothing is said of an address that is not ours yet"
    counted = grown(lab, before)
    found = flags(lab)
    assert station.ask(*[IPv6(src=STATION6, dst=address) / ICMPv6EchoRequest() for address in found if "duplicated" in found[address]]) == []
    return {row[0]: found[f"fd09::d:{number:x}"] for number, row in enumerate(TENTATIVE)}, counted


@pytest.mark.parametrize("name,taken", [(row[0], row[2]) for row in TENTATIVE], ids=[row[0] for row in TENTATIVE])
def test_detection(detections, name, taken):
    assert detections[0][name] == ("duplicated" if taken else "tentative")


def test_what_was_ignored_is_counted(detections):
    assert detections[1] == collections.Counter(row[3] for row in TENTATIVE if row[3])


def test_rfc4862_5_4_an_address_that_nobody_has(lab):
    lab.station.send(nd(ICMPv6ND_RA(routerlifetime=0, retranstimer=100), "fe80::b1", ALL_NODES))
    lab.station.fence()
    lab.stack.utility("ifconfig", "en0", "inet6", "fd09::d:ff/64")
    wait_until(lambda: flags(lab)["fd09::d:ff"] == "", "the end of the detection")
    assert [describe(f) for f in lab.station.ask(IPv6(src=STATION6, dst="fd09::d:ff") / ICMPv6EchoRequest())] == ["echo reply"]
    assert lab.station.ask(nd(ICMPv6ND_NA(tgt="fd09::d:ff", O=1) / ICMPv6NDOptDstLLAddr(lladdr=NEW), "fd09::d:ff", ALL_NODES)) == []
    assert flags(lab)["fd09::d:ff"] == "", "RFC 4862 section 5.4.4: in use it stays ours"
