"""Calls of a program and packets of its peer, in an order each: what both stacks are compared by. A scenario is a function of a Play."""
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Raw

LINGER = "s['c'].setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))"
ERROR = "errno.errorcode.get(s['c'].getsockopt(SOL_SOCKET, SO_ERROR), 0)"
SCENARIOS = {}


def scenario(name):
    def take(function):
        SCENARIOS[name] = function
        return function
    return take


# ---- opening


@scenario("connect, and both close")
def _(p):
    p.connected()
    p.call("s['c'].send(b'hello')")
    p.see()
    p.send("A", seq=1, ack=6)
    p.send("PA", b"answer", seq=1, ack=6)
    p.call("wait('c', 'IN')")
    p.call("s['c'].recv(100)")
    p.call("s['c'].close()")
    p.see()
    p.send("FA", seq=7, ack=7)
    p.see(acks=True)


@scenario("connect is refused")
def _(p):
    p.connect()
    p.send("RA", seq=0, ack=1)
    p.call("wait('c', 'ERR')")
    p.call(ERROR)
    p.call(ERROR)
    p.call("s['c'].send(b'x')")
    p.call("s['c'].recv(1)")
    p.call("wait('c', 'OUT')")


@scenario("a RST that acknowledges nothing does not end a connect")
def _(p):
    p.connect()
    p.send("R", seq=0)
    p.send("RA", seq=0, ack=9)
    p.quiet()
    p.send("SA", ack=1)
    p.call("wait('c', 'OUT', 'ERR')")


@scenario("a SYN,ACK for another SYN")
def _(p):
    p.connect()
    p.send("SA", ack=77)
    p.see()
    p.send("SA", ack=1)
    p.call("wait('c', 'OUT', 'ERR')")


@scenario("simultaneous open")
def _(p):
    p.connect()
    p.send("S", options=[("MSS", 1460)])
    p.see()
    p.send("A", seq=1, ack=1)
    p.call("wait('c', 'OUT')")
    p.send("PA", b"data", seq=1, ack=1)
    p.call("wait('c', 'IN')")
    p.call("s['c'].recv(10)")


def unreachable(p, code):
    p.connect()
    inner = TCP(sport=p.sut_port, dport=p.peer_port, seq=p.isn, flags="S")
    if p.four:
        p.packet(ICMP(type=3, code=code) / IP(src=p.ours, dst=p.peer) / inner)
    else:
        p.packet(ICMPv6DestUnreach(code=code) / IPv6(src=p.ours, dst=p.peer) / inner)
    p.quiet()
    p.call("wait('c', 'ERR') if %s else None" % (code in ((2, 3) if p.four else (1, 4))))
    p.call(ERROR)


for code in (0, 1, 2, 3, 9, 10, 13):
    SCENARIOS[f"connect and an unreachable of code {code}"] = lambda p, code=code: unreachable(p, code)


@scenario("connect while connecting, and when connected")
def _(p):
    p.connect()
    again = f"s['c'].connect(('{p.peer}', {p.peer_port}))"
    p.call(again)
    p.call("s['c'].send(b'x')")
    p.call("s['c'].recv(1)")
    p.call("s['c'].getpeername()")
    p.call("s['c'].listen(1)")
    p.send("SA", ack=1)
    p.call("wait('c', 'OUT')")
    p.call(again)
    p.call(again)
    p.call("s['c'].listen(1)")


@scenario("close while connecting")
def _(p):
    p.connect()
    p.call("s['c'].close()")
    p.quiet()  # the stack knows of it
    p.send("SA", ack=1)
    p.see()


@scenario("shutdown while connecting")
def _(p):
    p.connect()
    p.call("s['c'].shutdown(SHUT_WR)")
    p.call("wait('c', 'HUP', 'ERR', 'OUT')")
    p.call(ERROR)


@scenario("accept, and the peer closes first")
def _(p):
    p.accepted()
    p.send("FA", seq=1)
    p.call("wait('c', 'RDHUP')")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10)")
    p.call("s['c'].send(b'rest')")
    p.see()
    p.call("s['c'].close()")
    p.see()
    p.send("A", seq=2, ack=6)
    p.quiet(acks=True)


@scenario("accept: the peer resets first")
def _(p):
    p.listen()
    p.send("S")
    p.see()
    p.send("A", seq=1)
    p.send("R", seq=1)
    p.quiet()
    p.call("wait('l', 'IN')")
    p.call("accept('l', 'c')")
    p.call("wait('c', 'HUP')")
    p.call("s['c'].recv(1)")
    p.call("s['c'].recv(1)")


@scenario("a half-open connection is reset")
def _(p):
    p.listen()
    p.send("S")
    p.see()
    p.send("R", seq=1)
    p.send("A", seq=1)
    p.see()
    p.call("accept('l', 'c')")


@scenario("a half-open connection: an acknowledgment of what was not sent")
def _(p):
    p.listen()
    p.send("S")
    p.see()
    p.send("A", seq=1, ack=99)
    p.see()
    p.send("A", seq=1)
    p.call("wait('l', 'IN')")


@scenario("a half-open connection: another SYN")
def _(p):
    p.listen()
    p.send("S")
    p.see()
    p.send("S", seq=100)
    p.quiet(acks=True)
    p.send("A", seq=1)
    p.call("wait('l', 'IN')")


@scenario("data comes with the end of the handshake")
def _(p):
    p.listen()
    p.send("S")
    p.see()
    p.send("PA", b"early", seq=1)
    p.call("wait('l', 'IN')")
    p.call("accept('l', 'c')")
    p.call("wait('c', 'IN')")
    p.call("s['c'].recv(10)")


@scenario("a FIN comes with the end of the handshake")
def _(p):
    p.listen()
    p.send("S")
    p.see()
    p.send("FPA", b"all", seq=1)
    p.call("wait('l', 'IN')")
    p.call("accept('l', 'c')")
    p.call("wait('c', 'RDHUP')")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10)")


@scenario("the listener closes over a connection")
def _(p):
    p.listen()
    p.send("S")
    p.see()
    p.send("A", seq=1)
    p.call("wait('l', 'IN')")
    p.call("s['l'].close()")
    p.see()


@scenario("the listener closes over half a connection")
def _(p):
    p.listen()
    p.send("S")
    p.see()
    p.call("s['l'].close()")
    p.send("A", seq=1)
    p.see()


@scenario("the listener is shut down")
def _(p):
    p.listen()
    p.call("s['l'].shutdown(SHUT_RD)")
    p.send("S")
    p.see()
    p.call("wait('l', 'HUP', 'IN')")
    p.call("accept('l', 'c')")


# ---- transfer


@scenario("out of order, and filled")
def _(p):
    p.accepted([("MSS", 1460), ("SAckOK", b"")])
    p.send("PA", b"world", seq=6)
    p.see(acks=True)
    p.send("PA", b"hello", seq=1)
    p.see(acks=True)
    p.call("wait('c', 'IN')")
    p.call("s['c'].recv(100)")


@scenario("overlapping segments")
def _(p):
    p.accepted()
    p.send("PA", b"abcdef", seq=1)
    p.send("PA", b"DEFGHI", seq=4)
    p.call("wait('c', 'IN')")
    p.send("PA", b"AB", seq=1)
    p.quiet()
    p.call("s['c'].recv(100)")


@scenario("old data, and data beyond the window")
def _(p):
    p.accepted()
    p.send("PA", b"x", seq=-1000)
    p.see(acks=True)
    p.send("PA", b"x", seq=10_000_000)
    p.quiet(acks=True)


@scenario("an acknowledgment of what was never sent")
def _(p):
    p.accepted()
    p.send("A", seq=1, ack=5000)
    p.see(acks=True)
    p.call("s['c'].send(b'on')")
    p.see()


@scenario("an acknowledgment that is very old")
def _(p):
    p.accepted()
    p.send("PA", b"x", seq=1, ack=-100_000_000)
    p.quiet(acks=True)


@scenario("resets: outside, inside, exact")
def _(p):
    p.accepted()
    p.send("R", seq=-5)
    p.quiet(acks=True)
    p.send("R", seq=10)
    p.see(acks=True)
    p.call("s['c'].send(b'on')")
    p.see()
    p.send("R", seq=1)
    p.call("wait('c', 'HUP')")
    p.call("s['c'].recv(1)")
    p.call("s['c'].recv(1)")
    p.call("s['c'].send(b'x')")
    p.call(ERROR)


@scenario("a SYN into a connection")
def _(p):
    p.accepted()
    p.send("S", seq=1)
    p.see(acks=True)


@scenario("a SYN,ACK into a connection")
def _(p):
    p.accepted()
    p.send("SA", seq=0)
    p.quiet(acks=True)


@scenario("segments without ACK")
def _(p):
    p.accepted()
    p.send("P", b"x", seq=1)
    p.send("F", seq=1)
    p.quiet(acks=True)
    p.call("s['c'].recv(1)")


@scenario("urgent data")
def _(p):
    p.accepted()
    p.send("PAU", b"abc!", seq=1, urgent=4)
    p.call("wait('c', 'PRI')")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10, MSG_OOB)")
    p.call("s['c'].recv(10, MSG_OOB)")


@scenario("urgent data in line")
def _(p):
    p.accepted()
    p.call("s['c'].setsockopt(SOL_SOCKET, SO_OOBINLINE, 1)")
    p.send("PAU", b"abc!", seq=1, urgent=4)
    p.call("wait('c', 'PRI')")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10)")


@scenario("urgent data is announced before it comes")
def _(p):
    p.accepted()
    p.send("AU", seq=1, urgent=5)
    p.call("s['c'].recv(10, MSG_OOB)")
    p.call("s['c'].recv(10)")
    p.send("PA", b"abcd", seq=1)
    p.call("wait('c', 'IN')")
    p.call("s['c'].recv(2)")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10, MSG_OOB)")
    p.send("PA", b"!e", seq=5)
    p.call("wait('c', 'PRI')")
    p.call("s['c'].recv(10, MSG_OOB | MSG_PEEK)")
    p.call("s['c'].recv(10, MSG_OOB)")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10)")


@scenario("urgent data out of order")
def _(p):
    p.accepted()
    p.send("PAU", b"!x", seq=4, urgent=1)
    p.call("wait('c', 'PRI')")
    p.call("s['c'].recv(10, MSG_OOB)")
    p.call("s['c'].recv(10)")
    p.send("PA", b"abc", seq=1)
    p.call("wait('c', 'IN')")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10)")


@scenario("urgent data again, and at what came before")
def _(p):
    p.accepted()
    p.send("PAU", b"ab!c", seq=1, urgent=3)
    p.call("wait('c', 'PRI')")
    p.send("PAU", b"ab!c", seq=1, urgent=3)
    p.send("PAU", b"ab!c", seq=1, urgent=4)
    p.call("s['c'].recv(10, MSG_OOB)")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10)")
    p.send("PAU", b"ab!c", seq=1, urgent=3)
    p.call("s['c'].recv(10, MSG_OOB)")
    p.send("PAU", b"d?", seq=5, urgent=2)
    p.call("wait('c', 'PRI')")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10, MSG_OOB)")


@scenario("urgent data ends before it comes")
def _(p):
    p.accepted()
    p.send("AU", seq=1, urgent=5)
    p.send("FA", seq=1)
    p.call("wait('c', 'RDHUP')")
    p.call("s['c'].recv(10, MSG_OOB)")
    p.call("s['c'].recv(10)")


@scenario("a reset with urgent data unread")
def _(p):
    p.accepted()
    p.send("PAU", b"ab!", seq=1, urgent=3)
    p.call("wait('c', 'PRI')")
    p.send("R", seq=4)
    p.call("wait('c', 'ERR')")
    p.call("s['c'].recv(10, MSG_OOB)")


@scenario("sending urgent data")
def _(p):
    p.accepted()
    p.call("s['c'].send(b'ab!', MSG_OOB)")
    p.see()


@scenario("a window of nothing, and one again")
def _(p):
    p.accepted()
    p.send("A", seq=1, window=0)
    p.quiet()
    p.call("s['c'].send(b'waits')")
    p.quiet()
    p.send("A", seq=1, window=1000)
    p.see()


@scenario("a window of three bytes")
def _(p):
    p.accepted()
    p.send("A", seq=1, window=3)
    p.quiet()
    p.call("s['c'].setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)")
    p.call("s['c'].send(b'sixsix')")
    p.send("A", seq=1, window=1000)
    p.see()


@scenario("cork, and its end")
def _(p):
    p.accepted()
    p.call("s['c'].setsockopt(IPPROTO_TCP, TCP_CORK, 1)")
    p.call("s['c'].send(b'a')")
    p.call("s['c'].send(b'b')")
    p.quiet()
    p.call("s['c'].setsockopt(IPPROTO_TCP, TCP_CORK, 0)")
    p.see()


@scenario("peek and waitall")
def _(p):
    p.accepted()
    p.send("PA", b"abcdef", seq=1)
    p.call("wait('c', 'IN')")
    p.call("s['c'].recv(3, MSG_PEEK)")
    p.call("s['c'].recv(3)")
    p.call("s['c'].recv(100, MSG_WAITALL)")
    p.call("s['c'].recv(100)")


# ---- closing


@scenario("shutdown of writing, and the peer goes on")
def _(p):
    p.accepted()
    p.call("s['c'].shutdown(SHUT_WR)")
    p.see()
    p.send("A", seq=1, ack=2)
    p.call("s['c'].shutdown(SHUT_WR)")
    p.send("PA", b"still", seq=1, ack=2)
    p.call("wait('c', 'IN')")
    p.call("s['c'].recv(10)")
    p.send("FA", seq=6, ack=2)
    p.call("wait('c', 'HUP')")
    p.call("s['c'].recv(10)")
    p.call("s['c'].getpeername()")
    p.call("s['c'].shutdown(SHUT_RD)")


@scenario("shutdown of reading")
def _(p):
    p.accepted()
    p.call("s['c'].shutdown(SHUT_RD)")
    p.call("s['c'].recv(10)")
    p.send("PA", b"unread", seq=1)
    p.quiet()
    p.call("s['c'].recv(10)")
    p.call("s['c'].send(b'x')")
    p.see()


@scenario("shutdown of both")
def _(p):
    p.accepted()
    p.call("s['c'].shutdown(SHUT_RDWR)")
    p.see()
    p.call("wait('c', 'HUP', 'RDHUP')")
    p.call("s['c'].recv(10)")
    p.call("s['c'].close()")


@scenario("close over unread data")
def _(p):
    p.accepted()
    p.send("PA", b"unread", seq=1)
    p.call("wait('c', 'IN')")
    p.call("s['c'].close()")
    p.see()


@scenario("close with a linger time and unread data")
def _(p):
    p.connected()
    p.call("s['c'].setblocking(True)")
    p.call(LINGER.replace("1, 0", "1, 5"))
    p.send("PA", b"unread", seq=1, ack=1)
    p.call("wait('c', 'IN')")
    p.call("s['c'].close()")
    p.see()


@scenario("close with linger 0")
def _(p):
    p.accepted()
    p.call(LINGER)
    p.call("s['c'].close()")
    p.see()


@scenario("simultaneous close")
def _(p):
    p.accepted()
    p.call("s['c'].close()")
    p.see()
    p.send("FA", seq=1, ack=1)
    p.see(acks=True)
    p.send("A", seq=2, ack=2)
    p.quiet(acks=True)
    p.send("FA", seq=1, ack=2)
    p.see(acks=True)


@scenario("data after close")
def _(p):
    p.accepted()
    p.call("s['c'].close()")
    p.see()
    p.send("PA", b"late", seq=1, ack=2)
    p.see()


@scenario("data after the peer's FIN")
def _(p):
    p.accepted()
    p.send("FA", seq=1)
    p.call("wait('c', 'RDHUP')")
    p.send("PA", b"more", seq=2)
    p.quiet()
    p.call("s['c'].recv(10)")


@scenario("the peer's FIN once more")
def _(p):
    p.accepted()
    p.send("FA", seq=1)
    p.call("wait('c', 'RDHUP')")
    p.send("FA", seq=1)
    p.quiet()
    p.call("s['c'].recv(10)")


@scenario("writing to a connection that was reset")
def _(p):
    p.accepted()
    p.send("R", seq=1)
    p.call("wait('c', 'ERR', 'HUP')")
    p.call("s['c'].send(b'x')")
    p.call("s['c'].send(b'x')")
    p.call("s['c'].recv(1)")
    p.call("s['c'].getpeername()")
    p.call("s['c'].shutdown(SHUT_RDWR)")


def timed_wait(p):
    p.accepted()
    p.call("s['c'].close()")
    p.see()
    p.send("FA", seq=1, ack=2)
    p.see(acks=True)


@scenario("TIME-WAIT: a new SYN")
def _(p):
    timed_wait(p)
    p.send("S", seq=100_000)
    p.see()


@scenario("TIME-WAIT: an old SYN")
def _(p):
    timed_wait(p)
    p.send("S", seq=-100)
    p.quiet(acks=True)


@scenario("TIME-WAIT: a RST")
def _(p):
    timed_wait(p)
    p.send("R", seq=2)
    p.quiet(acks=True)
    p.send("FA", seq=1, ack=2)
    p.quiet(acks=True)


@scenario("TIME-WAIT: data")
def _(p):
    timed_wait(p)
    p.send("PA", b"x", seq=2, ack=2)
    p.quiet(acks=True)


# ---- calls alone


@scenario("calls in the wrong order")
def _(p):
    p.new("c")
    for text in ("s['c'].recv(1)", "s['c'].send(b'x')", "s['c'].getpeername()", "s['c'].shutdown(SHUT_WR)", "s['c'].accept()", "s['c'].getsockname()[1]", f"s['c'].bind(('{p.ours}', {p.port}))",
                 f"s['c'].bind(('{p.ours}', {p.port}))", "s['c'].listen(1)", "s['c'].listen(7)", f"s['c'].connect(('{p.peer}', 9))", "s['c'].send(b'x')", "s['c'].recv(1)", "s['c'].getsockname()[1] > 0",
                 "s['c'].getpeername()", "s['c'].bind(('', 1))", "wait('c', 'HUP') if 0 else 0"):
        p.call(text)


@scenario("addresses that are none")
def _(p):
    p.new("c")
    for text in ("s['c'].bind(('192.0.2.9', 0))", f"s['c'].connect(('192.0.2.9', 9))", "s['c'].connect(('255.255.255.255', 9))", "s['c'].connect(('10.9.0.255', 9))", "s['c'].connect(('224.0.0.1', 9))",
                 f"s['c'].connect(('{p.peer}', 0))"):
        p.call(text)
        p.new("c")


@scenario("two at one port")
def _(p):
    p.listen()
    p.new("c")
    p.call(f"s['c'].bind(('{p.ours}', {p.port}))")
    p.call(f"s['c'].bind(('0.0.0.0', {p.port}))")
    p.call("s['c'].setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)")
    p.call(f"s['c'].bind(('{p.ours}', {p.port}))")
    p.call("s['c'].setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)")
    p.call(f"s['c'].bind(('{p.ours}', {p.port}))")


@scenario("UDP: a connected socket is told that nobody listens")
def _(p):
    p.new("c", "SOCK_DGRAM")
    p.call(f"s['c'].connect(('{p.peer}', 9))")
    p.call("s['c'].send(b'hello')")
    frame = p.side.station.wait(lambda f: f.name == "Ethernet" and b"hello" in bytes(f), what="a datagram")
    sent = bytes(frame[IP]) if p.four else bytes(frame[IPv6])
    p.packet(ICMP(type=3, code=3) / Raw(sent))
    p.call("wait('c', 'ERR')")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10)")
    p.call("s['c'].send(b'again')")


@scenario("UDP: one that is not connected is not told")
def _(p):
    p.new("c", "SOCK_DGRAM")
    p.call(f"s['c'].sendto(b'hello', ('{p.peer}', 9))")
    frame = p.side.station.wait(lambda f: b"hello" in bytes(f), what="a datagram")
    p.packet(ICMP(type=3, code=3) / Raw(bytes(frame[IP])))
    p.quiet()
    p.call("s['c'].recv(10)")


@scenario("UDP: calls")
def _(p):
    p.new("c", "SOCK_DGRAM")
    for text in ("s['c'].send(b'x')", "s['c'].recv(1)", "s['c'].listen(1)", "s['c'].accept()", "s['c'].shutdown(SHUT_RD)", f"s['c'].sendto(b'x', ('{p.peer}', 0))", "s['c'].sendto(b'x', ('192.0.2.1', 9))",
                 "s['c'].recv(1)", "s['c'].sendto(b'x', ('10.9.0.255', 9))", "s['c'].sendto(bytes(65508), ('10.9.0.100', 9))", "s['c'].sendto(b'', ('10.9.0.100', 9))",
                 f"s['c'].connect(('{p.peer}', 9))", "s['c'].getpeername()", "s['c'].shutdown(SHUT_WR)", "s['c'].send(b'x')"):
        p.call(text)


@scenario("UDP: datagrams that are longer than what is read")
def _(p):
    from scapy.layers.inet import UDP
    p.new("c", "SOCK_DGRAM")
    p.call(f"s['c'].bind(('{p.ours}', {p.port}))")
    for data in (b"abcdef", b"", b"ghi", b"jkl"):
        p.packet(UDP(sport=p.peer_port, dport=p.port) / Raw(data))
    p.call("wait('c', 'IN')")
    p.quiet()
    for text in ("s['c'].recv(3, MSG_PEEK)", "s['c'].recvmsg(3)[::2]", "s['c'].recvfrom(3)", "s['c'].recv(3, MSG_TRUNC)", "s['c'].recv(10)", "s['c'].recv(10)"):
        p.call(text)


@scenario("UDP: connected, only the peer is heard")
def _(p):
    from scapy.layers.inet import UDP
    p.new("c", "SOCK_DGRAM")
    p.call(f"s['c'].bind(('{p.ours}', {p.port}))")
    p.call(f"s['c'].connect(('{p.peer}', {p.peer_port}))")
    p.packet(UDP(sport=p.peer_port + 1, dport=p.port) / Raw(b"other"))
    p.packet(UDP(sport=p.peer_port, dport=p.port) / Raw(b"peer"))
    p.call("wait('c', 'IN')")
    p.call("s['c'].recv(10)")
    p.call("s['c'].recv(10)")
