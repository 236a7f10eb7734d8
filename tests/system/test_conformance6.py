"""Conformance of IPv6 (RFC 8200, 4443, 8201, 5722), each case named by RFC and section, with Scapy as the only neighbour of a running stack."""
import collections
import ipaddress

import pytest
from scapy.layers.inet6 import (ICMPv6EchoReply, ICMPv6MLQuery, ICMPv6MLQuery2, ICMPv6MLReport, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6,
                                IPv6ExtHdrHopByHop, PadN, RouterAlert)
from scapy.packet import Raw

import cases6
from cases6 import ip
from lab import OURS6
from namespaces import wait_until
from station import IPV6_ERRORS, STATION6, STATION_MAC, StationLab, checksum_is_right, describe, solicited_node

CASES = list(cases6.packet_cases())


@pytest.fixture(scope="module")
def lab():
    with StationLab() as made:
        made.stack.utility("sysctl", "-w", "net.inet.icmp.errppslimit=1000000")
        made.stack.utility("sysctl", "-w", "net.inet.icmp.errburst=65536")
        yield made
        assert made.stack.running(), "the stack has ended:\n" + made.stack.log()


@pytest.fixture(scope="module")
def dropped(lab):
    """By name: how many packets the cases so far have lost, and what the stack had counted before."""
    return collections.Counter(), collections.Counter(lab.stack.drops())


def check_answer(frame, sent):
    """What holds of every answer, whatever it says."""
    ip = frame[IPv6]
    assert checksum_is_right(frame), frame.show(dump=True)
    assert ip.src == OURS6 and ip.dst == STATION6
    if isinstance(ip.payload, IPV6_ERRORS):
        # RFC 4443 section 2.4 (c): as much of the packet as fits.
        quoted = bytes(ip.payload)[8:]
        assert len(bytes(ip)) == min(1280, 48 + max(len(p) for p in sent)), "the error's length"
        assert any(p.startswith(quoted) for p in sent), "what is quoted was sent"
    if ICMPv6EchoReply in frame and any(p[6] == 58 for p in sent):
        assert bytes(frame[ICMPv6EchoReply])[4:] == next(p for p in sent if p[6] == 58)[44:44 + len(bytes(frame[ICMPv6EchoReply])) - 4]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_packet(lab, dropped, case):
    how = {"to": "33:33:00:00:00:07"} if case.multicast_frame else {}
    answers = lab.station.ask(*case.packets, **how)
    assert [describe(frame) for frame in answers] == case.answers
    for frame in answers:
        check_answer(frame, [bytes(packet) for packet in case.packets])
    if case.drop:
        dropped[0][case.drop] += 1


# ---- path MTU: RFC 8201


def too_big(mtu, remote, quoted_source=OURS6):
    return ip(src=remote) / ICMPv6PacketTooBig(mtu=mtu) / IPv6(src=quoted_source, dst=remote) / ICMPv6EchoReply(data=bytes(1000))


# What a router says of the path to a host, and how long the longest packet is that goes there then.
PATHS = [("rfc8201-4 1400 is believed", dict(mtu=1400), 1400), ("rfc8201-4 less than 1280 is taken for that", dict(mtu=500), 1280),
         ("rfc8201-4 nothing is taken for 1280", dict(mtu=0), 1280), ("rfc8201-4 more than the link's is nothing new", dict(mtu=9000), 1500),
         ("rfc8201-4 about a packet of another host", dict(mtu=1300, quoted_source="fd09::5"), 1500)]


@pytest.mark.parametrize("name,said,longest", PATHS, ids=[row[0] for row in PATHS])
def test_path_mtu(lab, name, said, longest):
    remote = f"fd09::70:{[row[0] for row in PATHS].index(name):x}"
    lab.station.addresses[remote] = STATION_MAC
    request = ip(src=remote) / cases6.echo(1452)
    lab.station.ask(request, too_big(remote=remote, **said))
    answers = lab.station.ask(request)
    assert max(len(frame[IPv6]) for frame in answers) in range(longest - 7, longest + 1)
    assert len(answers) == (1 if longest == 1500 else 2)


def test_rfc8201_4_a_path_mtu_only_falls(lab):
    remote = "fd09::70:ff"
    lab.station.addresses[remote] = STATION_MAC
    lab.station.ask(ip(src=remote) / cases6.echo(), too_big(1300, remote), too_big(1450, remote))
    assert max(len(frame[IPv6]) for frame in lab.station.ask(ip(src=remote) / cases6.echo(1452))) <= 1300


# ---- limits


def test_rfc4443_2_4_f_errors_have_a_rate(lab):
    lab.stack.utility("sysctl", "-w", "net.inet.icmp.errppslimit=1")
    lab.stack.utility("sysctl", "-w", "net.inet.icmp.errburst=10")
    before = collections.Counter(lab.stack.drops())
    answers = lab.station.ask(*[ip() / cases6.udp()] * 300)
    limited = lab.stack.drops()["icmp_rate_limited"] - before["icmp_rate_limited"]
    lab.stack.utility("sysctl", "-w", "net.inet.icmp.errppslimit=1000000")
    lab.stack.utility("sysctl", "-w", "net.inet.icmp.errburst=65536")
    assert 10 <= len(answers) <= 60 and len(answers) + limited == 300, "a burst, and one a second"
    assert {describe(frame) for frame in answers} == {"unreachable 4"}


def test_rfc8200_4_5_what_never_comes_together(lab):
    """After its time: the sender of a first piece is told, others are not. RFC 8200's minute is a variable here."""
    lab.stack.utility("sysctl", "-w", "net.inet.ip.fragttl=1")
    lab.stack.utility("sysctl", "-w", "net.inet.ip.maxfragpackets=1")
    before = collections.Counter(lab.stack.drops())
    first, rest = cases6.pieces(cases6.message(bytes(cases6.echo(1000))), [480], 0x5001)
    lab.station.ask(cases6.piece(60, 0, 8, 0x5002))  # what earlier cases left goes
    lab.stack.utility("sysctl", "-w", "net.inet.ip.maxfragpackets=200")
    lab.station.send(first)
    told = lab.station.wait(lambda frame: ICMPv6TimeExceeded in frame, what="time exceeded")
    assert describe(told) == "time exceeded 1" and bytes(told[ICMPv6TimeExceeded])[8:] == bytes(first)
    wait_until(lambda: lab.stack.drops().get("ip_fragment_timeout", 0) - before["ip_fragment_timeout"] >= 2, "the other one's end")
    assert not any(ICMPv6TimeExceeded in frame for frame in lab.station.fence())
    assert lab.station.ask(rest) == [], "what comes later finds nothing"
    lab.stack.utility("sysctl", "-w", "net.inet.ip.fragttl=60")


def test_rfc8200_4_5_first_pieces_without_end(lab):
    """The oldest go; a whole still comes together, and all buffers come back."""
    before = collections.Counter(lab.stack.drops())
    for number in range(0x6000, 0x6000 + 1000, 100):
        lab.station.ask(*[cases6.piece(0, 1, 1200, n) for n in range(number, number + 100)])
    assert lab.stack.drops()["ip_fragment_limit"] - before["ip_fragment_limit"] >= 800
    assert lab.stack.json("netstat", "-m")["mbufs"]["in_use"] <= 300
    assert [describe(f) for f in lab.station.ask(*cases6.pieces(cases6.message(bytes(cases6.echo(1000))), [480], 0x7001))] == ["echo reply"]
    lab.stack.utility("sysctl", "-w", "net.inet.ip.maxfragpackets=0")
    assert lab.station.ask(*cases6.pieces(cases6.message(bytes(cases6.echo(1000))), [480], 0x7002)) == [], "none are taken"
    lab.stack.utility("sysctl", "-w", "net.inet.ip.maxfragpackets=200")
    wait_until(lambda: lab.stack.json("netstat", "-m")["mbufs"]["in_use"] <= 256, "the buffers of those that went")


def test_rfc4443_4_2_echo_to_a_group_can_be_answered(lab):
    lab.stack.utility("sysctl", "-w", "net.inet.icmp.bmcastecho=1")
    answers = lab.station.ask(ip(dst=cases6.ALL_NODES) / cases6.echo())
    lab.stack.utility("sysctl", "-w", "net.inet.icmp.bmcastecho=0")
    assert [(describe(frame), frame[IPv6].src) for frame in answers] == [("echo reply", OURS6)], "from an address of ours"


# ---- multicast listener discovery: RFC 3810, 2710


def query(version=2, hlim=1, source="fe80::b1", to="ff02::1", group="::", alert=True, cut=0, **more):
    body = ICMPv6MLQuery2(mrd=0, mladdr=group, **more) if version == 2 else ICMPv6MLQuery(mrd=0, mladdr=group, **more)
    if cut:
        body = Raw(cases6.message(bytes(ICMPv6MLQuery2(mrd=0))[:cut], source, to))
    headers = IPv6ExtHdrHopByHop(nh=58, options=[RouterAlert()] if alert else [PadN(optdata=bytes(4))])
    return IPv6(src=source, dst=to, hlim=hlim) / headers / body


GROUP = solicited_node(OURS6)
QUERIES = [("rfc3810-6.2 of all groups", query(), "v2", ""), ("rfc3810-6.2 of a group of ours", query(group=GROUP, to=GROUP), "v2", ""),
           ("rfc3810-6.2 of another's group", query(group="ff02::1:ff99:9999", to="ff02::1"), "", ""),
           ("rfc3810-5.1.14 with a hop limit of 2", query(hlim=2), "", "mld_not_local"),
           ("rfc3810-5.1.14 not from the link", query(source=STATION6), "", "mld_not_local"),
           ("rfc3810-5 without a router alert", query(alert=False), "", "mld_not_local"),
           ("rfc3810-8.1 of 26 bytes", query(cut=26), "", "mld_malformed"), ("rfc3810-8.1 of 23 bytes", query(cut=23), "", "mld_malformed"),
           ("rfc3810-5.1.3 a wrong checksum", query(cksum=0x1234), "", "icmp_bad_checksum"),
           ("rfc3810-5.1.5 of what is no group", query(group="fd09::5"), "", "mld_ignored"),
           ("rfc3810-8.3.1 of version 1", query(version=1), "v1", "")]


@pytest.mark.parametrize("name,packet,version,drop", QUERIES, ids=[row[0] for row in QUERIES])
def test_listener_query(lab, dropped, name, packet, version, drop):
    """It wants its answer at once."""
    lab.station.fence()
    lab.station.send(packet)
    # Timers come behind the packets of a turn: the second echo request is of a later one.
    reports = [f for f in lab.station.fence() + lab.station.fence() if IPv6 in f and f[IPv6].nh == 0]
    for frame in reports:
        assert frame[IPv6].hlim == 1 and frame[IPv6].src.startswith("fe80::") and RouterAlert in frame
    if version == "v2":
        assert [frame[IPv6].dst for frame in reports] == ["ff02::16"]
        assert ipaddress.ip_address(GROUP).packed in bytes(reports[0])
    elif version == "v1":
        # RFC 2710 section 4: to each group, of it alone, and not to that of all nodes.
        assert GROUP in {frame[IPv6].dst for frame in reports} and all(frame[ICMPv6MLReport].mladdr == frame[IPv6].dst for frame in reports)
        assert not {"ff02::1", "ff02::16"} & {frame[IPv6].dst for frame in reports}
    else:
        assert reports == []
    if drop:
        dropped[0][drop] += 1


def test_each_was_counted_by_name(lab, dropped):
    expected, before = dropped
    now = collections.Counter(lab.stack.drops())
    grown = {name: now[name] - before[name] for name in now if now[name] > before[name]}
    missing = {name: (count, grown.get(name, 0)) for name, count in expected.items() if grown.get(name, 0) < count}
    assert not missing, f"by name: (cases, counted) {missing}"
