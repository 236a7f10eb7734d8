"""Our stack against the kernel's, each opening and each accepting, over IPv4 and IPv6: every feature of TCP is seen in a capture, in
use or refused. A path of the project's own between them (tests/link/impair.cpp) delays, loses, doubles and marks."""
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from interop import FAMILIES, PYTHON, Agent, Bed, difference
from lab import PEER, PEER6, PEER_INTERFACE, Lab
from namespaces import wait_until


@pytest.fixture(scope="module")
def bed_of_module():
    with Lab("path", 2, "inet6") as lab:
        yield Bed(lab)


@pytest.fixture
def bed(bed_of_module, request):
    yield bed_of_module
    bed_of_module.end_test()
    assert bed_of_module.lab.stack.running(), bed_of_module.lab.stack.log()


@pytest.fixture(params=[(family, ours) for family in FAMILIES for ours in (True, False)],
                ids=lambda p: f"{p[0]}-{'ours' if p[1] else 'kernel'}-opens")
def one(bed, request):
    """A connection, not opened yet; in turn over each family, opened by each."""
    return bed.connection(*request.param)


def syns(segments):
    """The SYN and the SYN,ACK."""
    first = next(s for s in segments if s.has("S") and not s.has("A"))
    second = next(s for s in segments if s.has("SA"))
    assert first.ours != second.ours
    return first, second


def sent(segments, ours):
    return [s for s in segments if s.ours == ours]


# ---- the options of a SYN


OPTIONS = {"WScale": ("net.inet.tcp.rfc1323", "ipv4.tcp_window_scaling"), "Timestamp": ("net.inet.tcp.timestamps", "ipv4.tcp_timestamps"),
           "SAckOK": ("net.inet.tcp.sack.enable", "ipv4.tcp_sack")}


def test_options_are_agreed_on_and_used(one):
    one.open()
    one.send(500_000)
    one.send(500_000, from_client=False)
    segments = one.segments()
    for syn in syns(segments):
        assert {"MSS", *OPTIONS} <= set(syn.options), syn
        assert syn.options["MSS"] == (1460 if one.family == "inet" else 1440)
    rest = [s for s in segments if not s.has("S")]
    assert all("Timestamp" in s.options for s in rest if not s.has("R"))
    scale = {s.ours: s.options["WScale"] for s in syns(segments)}
    assert all(max(s.window << scale[ours] for s in sent(rest, ours)) > 65535 for ours in (True, False)), "windows above 64 KB"
    values = {s.ours: {t.options["Timestamp"][0] for t in sent(segments, s.ours)} for s in syns(segments)}
    assert all(s.options["Timestamp"][1] in values[not s.ours] for s in rest), "a time stamp is echoed that was never sent"


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("ours_refuses", [True, False], ids=["ours-refuses", "kernel-refuses"])
def test_an_option_is_refused(bed, option, ours_refuses):
    bed.either_set(ours_refuses, *OPTIONS[option], 0)
    for one in bed.every():
        one.open()
        one.send(100_000)
        one.send(100_000, from_client=False)
        segments = one.segments()
        refuses = next(s for s in syns(segments) if s.ours == ours_refuses)
        other = next(s for s in syns(segments) if s.ours != ours_refuses)
        assert option not in refuses.options, str(one)
        # Who is asked does not offer what was not asked for.
        assert (option in other.options) == (one.ours_opens != ours_refuses), str(one)
        if option == "Timestamp":
            assert not any(option in s.options for s in segments if not s.has("S"))
        if option == "SAckOK":
            assert not any(s.sacks for s in segments)


@pytest.mark.parametrize("at_client", [True, False], ids=["client", "server"])
def test_segment_size_of_a_socket(one, at_client):
    wish = "%s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 700)"
    one.open(client=wish % "$c" if at_client else "", server="" if at_client else wish % "$l")
    one.send(50_000, from_client=not at_client)
    segments = one.segments()
    wished, other = syns(segments)[::1 if at_client else -1]
    assert wished.options["MSS"] == 700 and other.options["MSS"] >= 1440
    # RFC 6691: the value is without options, so that these take from the payload.
    assert max(s.length for s in sent(segments, other.ours)) == 700 - 12


# ---- loss


def test_selective_acknowledgments_after_loss(bed, one):
    one.open()
    bed.impair("delay=5", f"{'ba' if one.ours_opens else 'ab'}.lose_every=40")
    one.send(600_000)
    segments = one.segments()
    assert any(s.sacks for s in sent(segments, not one.ours_opens)), "the receiver says what it has"
    highest, held, again, needless = None, [], 0, 0
    for s in segments:
        if s.ours != one.ours_opens:
            held += s.sacks
        elif s.length:
            if highest is not None and difference(s.end, highest) <= 0:
                again += 1
                needless += any(difference(s.seq, left) >= 0 and difference(s.end, right) <= 0 for left, right in held)
            highest = s.end if highest is None or difference(s.end, highest) > 0 else highest
    assert again, "nothing was sent again"
    # Losses are repaired from what the receiver said, also where a timer expires; a few may cross what it says.
    assert needless < again / 4


def test_duplicates_are_reported(bed, one):
    """RFC 2883: a segment that came twice is the first SACK block of an acknowledgment beyond it."""
    one.open()
    bed.impair(f"{'ba' if one.ours_opens else 'ab'}.duplicate=1")
    one.send(30_000)
    bed.impair("duplicate=0")
    acks = [s for s in sent(one.segments(), not one.ours_opens) if s.sacks]
    assert any(difference(s.ack, s.sacks[0][1]) >= 0 for s in acks)


def test_reordering_costs_little(bed, one):
    # RACK waits for a quarter of the least round trip (RFC 8985 section 6.2 step 4): 2.5 ms, once the path has its delay.
    bed.impair("delay=5")
    one.open()
    one.send(100_000)
    bed.impair("delay=5", "reorder=0.05", "reorder_by=2")
    one.send(600_000)
    segments = sent(one.segments(), one.ours_opens)
    # Behind the path nothing was lost, so that what comes a second time was sent for nothing.
    seen = [s.seq for s in segments if s.length]
    assert len(seen) - len(set(seen)) < len(seen) * 0.15


# ---- ECN


def test_congestion_is_marked(bed, one):
    """RFC 3168: asked for, granted, marks come back as ECE until CWR."""
    bed.kernel_set("ipv4.tcp_ecn", 1)
    bed.ours_set("net.inet.tcp.ecn.enable", 1)
    one.open()
    one.send(20_000)
    bed.impair("mark=1", "delay=2")
    one.send(300_000)
    bed.impair("mark=0")
    one.send(300_000)
    segments = one.segments()
    syn, answer = syns(segments)
    assert syn.has("EC") and (syn.ecn, answer.ecn) == (0, 0)
    assert answer.has("E") and not answer.has("C") and not answer.has("N"), answer.flags
    data = [s for s in sent(segments, one.ours_opens) if s.length]
    assert any(s.has("C") for s in data), "CWR after an ECE"
    for i, s in enumerate(data):  # section 6.1.5: what is sent again says nothing
        assert s.ecn in (2, 3) or any(difference(earlier.end, s.seq) > 0 for earlier in data[:i]), "ECT(0)"
    acks = [s for s in sent(segments, not one.ours_opens) if not s.has("S")]
    assert any(s.has("E") for s in acks) and not acks[-1].has("E")
    assert {s.ecn for s in acks if not s.length} == {0}, "acknowledgments alone are not marked (section 6.1.4)"


def test_ecn_is_refused(bed, one):
    bed.kernel_set("ipv4.tcp_ecn", 1 if not one.ours_opens else 0)
    bed.ours_set("net.inet.tcp.ecn.enable", 1 if one.ours_opens else 0)
    one.open()
    one.send(50_000)
    segments = one.segments()
    syn, answer = syns(segments)
    assert syn.has("EC") and not answer.has("E") and not answer.has("C")
    assert {s.ecn for s in segments} == {0}


@pytest.mark.parametrize("kernel", [0, 1, 2])
def test_accurate_ecn_falls_back(bed, kernel):
    """RFC 9768 section 3.1.2, table 2: this kernel has no AccECN, and gets what it has: the ECN of RFC 3168, or none."""
    bed.kernel_set("ipv4.tcp_ecn", kernel)
    bed.ours_set("net.inet.tcp.ecn.enable", 3)
    for one in bed.every():
        one.open()
        one.send(50_000)
        one.send(50_000, from_client=False)
        bed.impair("mark=0.2", "delay=2")
        one.send(100_000, from_client=one.ours_opens)
        bed.impair("mark=0", "delay=0")
        segments = one.segments()
        syn, answer = syns(segments)
        agreed = kernel == 1 or (kernel == 2 and one.ours_opens)
        assert "".join(f for f in syn.flags if f in "ECN") == ("ECN" if one.ours_opens else "EC" if kernel == 1 else ""), str(one)
        assert "".join(f for f in answer.flags if f in "ECN") == ("E" if agreed else ""), str(one)
        assert (syn.ecn, answer.ecn) == (0, 0)
        ours = [s for s in sent(segments, True) if not s.has("S")]
        assert not any(s.has("N") or {172, 174} & s.options.keys() for s in ours), "AccECN without agreement"
        assert any(s.ecn for s in ours if s.length) == agreed, str(one)
        assert any(s.has("C") for s in ours) == agreed, "CWR after an ECE"


# ---- time


def test_keepalive(bed):
    """Probes are answered; when they are not, the connection ends with ETIMEDOUT."""
    bed.ours_set("net.inet.tcp.keepcnt", 1)
    words = "\n".join(f"$c.setsockopt(*{pair})" for pair in
                      ("(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)", "(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)",
                       "(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)", "(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 1)"))
    every = [one.open(client=words) for one in bed.every()]

    def probes(one):
        segments = one.segments()
        base = syns(segments)[0].end
        return [(s, [a for a in segments if a.at >= s.at and a.ours != s.ours and not a.has("S")])
                for s in sent(segments, one.ours_opens) if s.seq == base - 1 and not s.has("S") and s.length <= 1]
    wait_until(lambda: all(any(answers for _, answers in probes(one)) for one in every), "probes and their answers")
    assert not any(one.at_client("ready($c)") for one in every)
    bed.impair("loss=1")
    for one in every:
        assert one.at_client("ready($c, limit=20000)") is True
        assert one.refused(True, "$c.recv(1)") == "ETIMEDOUT", str(one)


def test_user_timeout(bed):
    """RFC 5482: data that is not acknowledged for so long ends the connection, after some repetitions."""
    every = [one.open(client="$c.setsockopt(socket.IPPROTO_TCP, 18, 700)") for one in bed.every()]
    bed.impair("loss=1")
    for one in every:
        one.at_client("$c.send(b'lost')")
    for one in every:
        assert one.at_client("ready($c, limit=20000)") is True
        assert one.refused(True, "$c.recv(1)") == "ETIMEDOUT", str(one)
        if not one.ours_opens:  # the capture is before the path only there
            assert len([s for s in sent(one.segments(), False) if s.length == 4]) >= 2


def test_zero_window(bed):
    bed.ours_set("net.inet.tcp.persist_min", 500)
    every = []
    for one in bed.every():
        one.open(server="$l.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20000)")
        one.at_client("$c.setblocking(False)\n$total = 0".replace("$total", f"total{one.number}"))
        every.append(one)
    fill = "try:\n while True: $total += $c.send(bytes(50000))\nexcept BlockingIOError: pass"
    for one in every:
        one.at_client(fill.replace("$total", f"total{one.number}"))

    def probed(one):
        segments = one.segments()
        shut = [s for s in sent(segments, not one.ours_opens) if s.window == 0]
        return shut and [s for s in sent(segments, one.ours_opens) if s.at > shut[0].at and s.length <= 1 and difference(s.seq, shut[0].ack) <= 0]
    wait_until(lambda: all(probed(one) for one in every), "a window of zero, and probes of it")
    for one in every:
        one.at_client("$c.setblocking(True)")
        # What was taken before is counted; until the window was shut more may have gone.
        total = one.at_client(f"total{one.number}")
        one.at_client("$c.shutdown(socket.SHUT_WR)")
        assert one.at_server(f"len(exactly($s, {total} + 1))") == total, str(one)


# ---- urgent data


def test_urgent_data(one):
    """RFC 6093: the pointer says the byte behind the urgent one, and the byte is read in the stream."""
    one.open()
    one.at_server("$s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)")
    one.at_client("$c.sendall(b'before')")
    one.at_client("$c.send(b'now!', socket.MSG_OOB)")
    one.at_client("$c.sendall(b'behind')")
    assert one.at_server("exactly($s, 16)") == "beforenow!behind"
    segments = one.segments()
    base = syns(segments)[0].end
    urgent = [s for s in sent(segments, one.ours_opens) if s.has("U")]
    assert urgent and {difference((s.seq + s.urgent) & 0xFFFFFFFF, base) for s in urgent} <= {10, 9}


# ---- the end


def test_half_closed(one):
    one.open()
    one.at_client("$c.shutdown(socket.SHUT_WR)")
    assert one.at_server("$s.recv(1)") == ""
    one.send(300_000, from_client=False)
    one.at_server("$s.close()")
    assert one.at_client("$c.recv(1)") == ""
    # A machine that is short of time makes a sender send its FIN again.
    fins = list(dict.fromkeys(s.ours for s in one.segments() if s.has("F")))
    assert fins == [one.ours_opens, not one.ours_opens]


def test_both_close_at_once(bed, one):
    one.open()
    release = bed.hold()
    one.at_client("$c.close()")
    one.at_server("$s.close()")
    release()
    both = [True, False]

    def crossed():
        fins = {s.ours: s for s in one.segments() if s.has("F")}
        return fins if len(fins) == 2 else None
    fins = wait_until(crossed, "both FINs")
    assert all(fins[ours].ack == fins[not ours].end - 1 for ours in both), "each FIN left before the other came"

    def acknowledged():
        segments = one.segments()
        return all(any(s.ack == fins[not ours].end for s in sent(segments, ours)) for ours in both)
    wait_until(acknowledged, "both FINs are acknowledged")
    assert not any(s.has("R") for s in one.segments())


@pytest.mark.parametrize("at_client", [True, False], ids=["client", "server"])
def test_linger_of_nothing_resets(one, at_client):
    one.open()
    name, other = ("$c", "$s") if at_client else ("$s", "$c")
    (one.at_client if at_client else one.at_server)(
        f"{name}.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n{name}.close()")
    assert one.refused(not at_client, f"{other}.recv(1)") == "ECONNRESET"
    segments = one.segments()
    resets = [s for s in segments if s.has("R")]
    assert resets and resets[0].ours == (one.ours_opens == at_client) and not any(s.has("F") for s in segments)


@pytest.mark.parametrize("at_client", [True, False], ids=["client", "server"])
def test_unread_data_resets(one, at_client):
    """RFC 1122 section 4.2.2.13: who closes with data that was never read tells the other that it was lost."""
    one.open()
    name, other = ("$c", "$s") if at_client else ("$s", "$c")
    reader, writer = (one.at_client, one.at_server) if at_client else (one.at_server, one.at_client)
    writer(f"{other}.sendall(b'never read')")
    assert reader(f"ready({name}, limit=10000)") is True
    reader(f"{name}.close()")
    assert one.refused(not at_client, f"{other}.recv(1)") == "ECONNRESET"
    segments = one.segments()
    assert [s.ours for s in segments if s.has("R")][:1] == [one.ours_opens == at_client] and not any(s.has("F") for s in segments)


@pytest.mark.parametrize("ours_opens", [True, False], ids=["ours-opens", "kernel-opens"])
def test_time_wait_is_used_again(bed, ours_opens):
    """RFC 6191: a SYN with a newer time stamp opens anew what its acceptor still has in TIME-WAIT."""
    for one in bed.every(ours_opens=(ours_opens,)):
        one.open(client=f"$c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n$c.bind(('{one.client_host}', {one.port + 10000}))")
        one.at_server("$s.close()")
        assert one.at_client("$c.recv(1)") == ""
        one.at_client("$c.close()")
        first = wait_until(lambda: (found := one.segments()) and found[-1].ours != one.ours_opens and len([s for s in found if s.has("F")]) == 2
                           and found, "TIME-WAIT at the acceptor")
        one.connect(before=f"$c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n$c.bind(('{one.client_host}', {one.port + 10000}))")
        one.accept()
        one.send(1000)
        again = one.segments()[len(first):]
        assert [s.flags for s in again[:3]] == ["S", "SA", "A"], str(one)
        assert difference(again[1].seq, first[-1].ack) != 0


# ---- opening


def test_both_open_at_once(bed):
    """RFC 9293 figure 8: two SYNs that cross make one connection."""
    for family in FAMILIES:
        one = bed.connection(family, True)
        release = bed.hold()
        for at_client, host, other, ports in ((True, one.client_host, one.server_host, (one.port, one.port + 10000)),
                                              (False, one.server_host, one.client_host, (one.port + 10000, one.port))):
            name = "$c" if at_client else "$s"
            one.begin(at_client, f"{name} = socket.socket({one.family_name}, socket.SOCK_STREAM)\n{name}.bind(('{host}', {ports[0]}))\n"
                                 f"{name}.connect(('{other}', {ports[1]}))")
        release()
        one.end(True)
        one.end(False)
        one.send(20_000)
        one.send(20_000, from_client=False)
        segments = one.segments()
        assert [s.has("A") for s in segments if s.has("S")][:2] == [False, False]
        assert any(s.has("SA") for s in segments) and not any(s.has("R") for s in segments)


@pytest.mark.parametrize("ours_opens", [True, False], ids=["ours-opens", "kernel-opens"])
def test_syn_cookies(bed, ours_opens):
    """RFC 4987: with cookies always, nothing is kept, and yet the options hold: they come back in the time stamp."""
    bed.either_set(not ours_opens, "net.inet.tcp.syncookies", "ipv4.tcp_syncookies", 2)

    def made():
        if ours_opens:
            return bed.kernel_counter("SyncookiesRecv")
        return bed.lab.stack.counters("tcp")[COOKIES]
    for one in bed.every(ours_opens=(ours_opens,)):
        before = made()
        one.open()
        assert made() == before + 1, str(one)
        bed.impair("delay=3", f"{'ba' if ours_opens else 'ab'}.lose_every=50")
        one.send(300_000)
        bed.impair("delay=0", "lose_every=0")
        segments = one.segments()
        scale = syns(segments)[1].options["WScale"]
        assert max(s.window << scale for s in sent(segments, not ours_opens) if not s.has("S")) > 65535
        assert any(s.sacks for s in sent(segments, not ours_opens))


COOKIES = "tcp.cookies.good"


def test_accept_waits_for_data(one):
    one.listen(before="$l.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)").connect()
    assert one.at_server("ready($l, limit=150)") is False
    one.at_client("$c.sendall(b'now')")
    assert one.at_server("ready($l, limit=10000)") is True
    one.accept()
    assert one.at_server("exactly($s, 3)") == "now"


@pytest.mark.parametrize("name", ["cubic", "reno"])
def test_congestion_control_by_name(bed, one, name):
    one.open(client=f"$c.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b'{name}')")
    assert one.at_client("$c.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)").rstrip("\0") == name
    assert one.refused(True, "$c.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b'nosuch')") == "ENOENT"
    bed.impair("delay=2", "lose_every=60")
    one.send(200_000)


# ---- bad segments


def inject(bed, one, at_client, **more):
    """A segment to the client (or the server) that says to be from the other end; fields of TCP, `seq` and `ack` as said."""
    to_ours = one.ours_opens == at_client
    segments = one.segments()
    example = Ether(next(s for s in segments if s.ours != to_ours).frame)
    ip = example.getlayer(IP) or example.getlayer(IPv6)
    v4 = isinstance(ip, IP)
    ether = Ether(src=example.src, dst=example.dst)
    made = ether / (IP(src=ip.src, dst=ip.dst) if v4 else IPv6(src=ip.src, dst=ip.dst)) / TCP(sport=ip[TCP].sport, dport=ip[TCP].dport, **more)
    namespace, interface = (bed.lab.peer, PEER_INTERFACE) if to_ours else (bed.lab.wire, "wire0")
    namespace.run([PYTHON, "-c", "import socket,sys\ns=socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
                   "s.bind((sys.argv[1], 0))\ns.send(bytes.fromhex(sys.argv[2]))", interface, bytes(made).hex()])
    return segments


def numbers(one, at_client):
    """Where the streams are, as the end that is named sees them: (what it expects next, what it sends next)."""
    segments = one.segments()
    ours = one.ours_opens == at_client
    last = lambda of: max(sent(segments, of), key=lambda s: difference(s.end, segments[0].seq if of == segments[0].ours else segments[1].seq)).end
    return last(not ours), last(ours)


@pytest.mark.parametrize("at_client", [True, False], ids=["client", "server"])
@pytest.mark.parametrize("flags", ["R", "S", "SA", "A"], ids=["rst", "syn", "synack", "far-ack"])
def test_blind_attacks_are_challenged(bed, one, at_client, flags):
    """RFC 5961: a RST beside the exact number, a SYN in the window, an ACK of what was never sent: answered, without effect."""
    one.open()
    one.send(1000)
    one.send(1000, from_client=False)
    expected, next_ = numbers(one, at_client)
    # With the timestamps that were agreed on: what lacks them may be dropped before (RFC 7323 section 3.2).
    stamp = [s for s in one.segments() if s.ours != (one.ours_opens == at_client) and not s.has("S")][-1].options["Timestamp"]
    fields = {"flags": flags, "seq": (expected + 100) & 0xFFFFFFFF, "ack": next_, "window": 1000}
    if flags == "A":
        fields |= {"seq": expected, "ack": (next_ + 100_000) & 0xFFFFFFFF}
    before = inject(bed, one, at_client, options=[("NOP", None), ("NOP", None), ("Timestamp", stamp)], **fields)

    def challenged():
        after = one.segments()[len(before):]
        came = next((i for i, s in enumerate(after) if s.seq == fields["seq"] and s.ack == fields["ack"] and s.flags == flags), len(after))
        return [s for s in after[came:] if s.ours == (one.ours_opens == at_client) and s.flags == "A" and s.length == 0 and s.ack == expected]
    wait_until(challenged, lambda: f"a challenge: {one.segments()[len(before):]}")
    one.send(1000)
    one.send(1000, from_client=False)


@pytest.mark.parametrize("at_client", [True, False], ids=["client", "server"])
def test_an_exact_reset_is_believed(bed, one, at_client):
    one.open()
    one.send(1000)
    expected, _ = numbers(one, at_client)
    inject(bed, one, at_client, flags="R", seq=expected)
    assert one.refused(at_client, "exactly($c, 1)" if at_client else "exactly($s, 1)") == "ECONNRESET"


@pytest.mark.parametrize("at_client", [True, False], ids=["client", "server"])
def test_old_time_stamps_are_dropped(bed, one, at_client):
    """PAWS, RFC 7323 section 5.3: answered, and its data is not taken."""
    one.open()
    one.send(1000)
    one.send(1000, from_client=False)
    expected, next_ = numbers(one, at_client)
    stamp = [s for s in one.segments() if s.ours != (one.ours_opens == at_client) and not s.has("S")][-1].options["Timestamp"]
    before = inject(bed, one, at_client, flags="PA", seq=expected, ack=next_, window=1000,
                    options=[("NOP", None), ("NOP", None), ("Timestamp", ((stamp[0] - 10_000) & 0xFFFFFFFF, stamp[1]))])
    wait_until(lambda: [s for s in one.segments()[len(before):] if s.ours == (one.ours_opens == at_client) and s.ack == expected], "its answer")
    one.send(1000)
    one.send(1000, from_client=False)


def test_a_closed_port_resets(bed):
    for one in bed.every():
        assert one.refused(True, f"$c = socket.socket({one.family_name}, socket.SOCK_STREAM)\n"
                                 f"$c.connect(('{one.server_host}', {one.port}))") == "ECONNREFUSED"
        assert [s.flags for s in one.segments()] == ["S", "RA"], str(one)


# ---- path MTU


def test_path_mtu(bed):
    """The kernel's host is behind a router that says how long packets may be on the way to it."""
    lab = bed.lab
    far = lab.namespace("fa")
    far.run(["ip", "link", "add", "far0", "type", "veth", "peer", "name", "mid0", "netns", lab.peer.name])
    for namespace, interface, v4, v6 in ((far, "far0", "10.9.5.2/24", "fd09:5::2/64"), (lab.peer, "mid0", "10.9.5.1/24", "fd09:5::1/64")):
        namespace.run(["sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{interface}/disable_ipv6"])
        namespace.run(["ip", "address", "add", v4, "dev", interface])
        namespace.run(["ip", "address", "add", v6, "dev", interface, "nodad"])
        namespace.run(["ip", "link", "set", interface, "mtu", "1300" if interface == "mid0" else "1500", "up"])
    far.run(["ip", "route", "add", "10.9.0.0/24", "via", "10.9.5.1"])
    far.run(["ip", "-6", "route", "add", "fd09::/64", "via", "fd09:5::1"])
    bed.kernel_set("ipv4.ip_forward", 1)
    bed.kernel_set("ipv6.conf.all.forwarding", 1)
    lab.stack.utility("route", "add", "-net", "10.9.5.0/24", PEER)
    lab.stack.utility("route", "add", "-inet6", "-net", "fd09:5::/64", PEER6)
    agent = Agent(lab, False, namespace=far)
    for family in FAMILIES:
        one = bed.connection(family, True)
        one.server, one.server_host = agent, "10.9.5.2" if family == "inet" else "fd09:5::2"
        one.open()
        one.send(300_000)
        segments = one.segments()
        assert max(s.size for s in sent(segments, True)) == 1500, "packets as long as the first link bears"
        too_big = bed.capture.icmp_errors((3, 4) if family == "inet" else (2, 0))
        assert set(too_big) == {1300}, str(one)
        assert {s.size for s in sent(segments, True)[-20:-3]} == {1300}
        one.close()
        known = bed.connection(family, True)
        known.server, known.server_host = agent, one.server_host
        known.open()
        known.send(50_000)
        assert max(s.size for s in sent(known.segments(), True)) == 1300, "the next one knows"
        known.close()
