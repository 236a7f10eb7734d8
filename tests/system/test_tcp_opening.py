"""TCP Fast Open (RFC 7413) and signed segments (RFC 2385, 5925) against the kernel in both roles, seen in captures. The kernel of today's
distributions has no TCP-AO: there two stacks of ours talk, and Python computes the MACs again."""
import hashlib
import hmac
import ipaddress
import struct

import pytest

from lab import OURS, OURS6, PEER, PEER6, PEER_INTERFACE
from namespaces import wait_until
from stack import Stack

AF = {"inet": "AF_INET", "inet6": "AF_INET6"}

SERVER = """
import socket, sys
s = socket.socket(socket.FAMILY)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
SETUP
s.bind(('HERE', 7000)); s.listen(8); print('ready', flush=True)
for n in range(TIMES):
    c, _ = s.accept()
    data = b''
    while chunk := c.recv(65536): data += chunk
    c.sendall(data[::-1]); c.close()
"""
CLIENT = """
import socket, sys
for n in range(TIMES):
    s = socket.socket(socket.FAMILY)
    SETUP
    data = bytes(i * 7 % 251 for i in range(SIZE))
    CONNECT
    s.sendall(data); s.settimeout(30); s.shutdown(socket.SHUT_WR)
    back = b''
    while chunk := s.recv(65536): back += chunk
    if SIZE: assert back[::-1][-SIZE:] == bytes(i * 7 % 251 for i in range(SIZE)), (len(back), SIZE)
    s.close()
print('done', flush=True)
"""


def filled(text, **words):
    for name, value in words.items():
        text = text.replace(name, str(value))
    return text


class Capture:
    """What goes over the peer's interface, read when it is over."""

    def __init__(self, lab, path):
        self.path = path
        self.program = lab.start_in_peer("tcpdump", "-i", PEER_INTERFACE, "--immediate-mode", "-U", "-B", "65536", "-w", path, "tcp port 7000")
        wait_until(lambda: "listening on" in self.program.text(), self.program.text)

    def segments(self, answers=1, payload=0):
        """Of each segment: addresses, the header as bytes, and the payload. So many SYN,ACKs and bytes are waited for."""
        def enough():
            seen = self._read()
            return sum(is_syn_ack(header) for _, header, _ in seen) >= answers and sum(len(data) for _, _, data in seen) >= payload
        wait_until(enough, lambda: f"{len(self._read())} segments")
        self.program.stop()
        return self._read()

    def _read(self):
        data, at, found = self.path.read_bytes() if self.path.exists() else b"", 24, []
        while at + 16 <= len(data):
            length = struct.unpack_from("<I", data, at + 8)[0]
            frame = data[at + 30:at + 16 + length]
            at += 16 + length
            if len(frame) < 40:
                continue
            if frame[0] >> 4 == 4:
                ends, begin, end = (frame[12:16], frame[16:20]), (frame[0] & 15) * 4, struct.unpack_from("!H", frame, 2)[0]
            else:
                ends, begin, end = (frame[8:24], frame[24:40]), 40, 40 + struct.unpack_from("!H", frame, 4)[0]
            tcp = frame[begin:end]
            header = (tcp[12] >> 4) * 4
            found.append((ends, tcp[:header], tcp[header:]))
        return found


def options(header):
    """kind -> bytes behind kind and length"""
    at, found = 20, {}
    while at < len(header) and header[at] != 0:
        if header[at] == 1:
            at += 1
            continue
        found[header[at]] = header[at + 2:at + header[at + 1]]
        at += header[at + 1]
    return found


def is_syn(header):
    return header[13] & 0x12 == 2


def is_syn_ack(header):
    return header[13] & 0x12 == 0x12


def play(lab, on_stack, words, server_setup="", client_setup="", connect="", times=1, size=1000):
    """A server on one side and a client on the other; `on_stack`: the server is on ours."""
    family = AF[lab.family]
    ours, peer = (OURS6, PEER6) if lab.inet6 else (OURS, PEER)
    here = ours if on_stack else peer
    words = {"FAMILY": family, "HERE": here, "TIMES": times, "SIZE": size, **words}
    server = lab.start(on_stack, "python3", "-c", filled(SERVER.replace("SETUP", server_setup), **words))
    wait_until(lambda: "ready" in server.text(), server.text)
    client = lab.start(not on_stack, "python3", "-c",
                       filled(CLIENT.replace("SETUP", client_setup).replace("CONNECT", connect or "s.connect(('HERE', 7000))"), **words))
    assert "done" in client.wait()
    server.wait()


FAST_CLIENTS = {
    "sendto": "data = data[s.sendto(data, socket.MSG_FASTOPEN, ('HERE', 7000)):]",
    "connect": "s.setsockopt(socket.IPPROTO_TCP, 30, 1); s.connect(('HERE', 7000))",
    "nothing": "s.sendto(b'', socket.MSG_FASTOPEN, ('HERE', 7000))",
    "write of nothing": "s.setsockopt(socket.IPPROTO_TCP, 30, 1); s.connect(('HERE', 7000)); s.send(b'')",
}


@pytest.mark.parametrize("kind, shards, family", [("tap", 1, "inet"), ("veth", 2, "inet6")])
@pytest.mark.parametrize("ours", ["server", "client"])
def test_fast_open_with_the_kernel(own_lab, tmp_path, ours, kind, shards, family):
    """The first connection asks for a cookie, the next ones have it and data in the SYN, which the SYN,ACK acknowledges."""
    lab = own_lab(kind, shards, family)
    lab.peer.run(["sh", "-c", "echo 3 > /proc/sys/net/ipv4/tcp_fastopen"])
    lab.stack.utility("sysctl", "-w", "net.inet.tcp.fastopen.server_enable=1")
    for way, connect in FAST_CLIENTS.items():
        capture = Capture(lab, tmp_path / f"{way}.pcap")
        play(lab, ours == "server", {}, "s.setsockopt(socket.IPPROTO_TCP, 23, 5)", connect=connect, times=3, size=500)
        seen = capture.segments(answers=3)
        syns = [(header, payload) for _, header, payload in seen if is_syn(header)]
        answers = [header for _, header, _ in seen if is_syn_ack(header)]
        assert len(syns) == 3 and len(answers) == 3
        cookies = [options(header).get(34) for header, _ in syns]
        if way == "sendto":  # the second way finds the cookie that the first one brought
            assert cookies[0] == b"" and syns[0][1] == b"", "a cookie is asked for"
            assert len(options(answers[0])[34]) >= 4, "and given"
        for (header, payload), answer, cookie in list(zip(syns, answers, cookies))[1:]:
            with_syn = len(payload)
            # Behind a write of nothing comes one of all, which may be there before the SYN has left.
            assert len(cookie) >= 4 and with_syn in {"nothing": (0,), "write of nothing": (0, 500)}.get(way, (500,))
            begin, acked = struct.unpack_from("!I", header, 4)[0], struct.unpack_from("!I", answer, 8)[0]
            assert (acked - begin) % 2**32 == 1 + with_syn, "the SYN,ACK acknowledges the data"


def test_the_same_key_gives_the_kernels_cookie(own_lab, tmp_path):
    """TCP_FASTOPEN_KEY on both sides: a client that has the kernel's cookie is taken by us, and the other way round."""
    lab = own_lab("tap", 1, "inet")
    lab.peer.run(["sh", "-c", "echo 3 > /proc/sys/net/ipv4/tcp_fastopen"])
    lab.stack.utility("sysctl", "-w", "net.inet.tcp.fastopen.server_enable=1")
    given = []
    for on_stack in (True, False):
        capture = Capture(lab, tmp_path / f"{on_stack}.pcap")
        setup = "s.setsockopt(socket.IPPROTO_TCP, 23, 5); s.setsockopt(socket.IPPROTO_TCP, 33, bytes(range(16)))"
        play(lab, on_stack, {}, setup, connect=FAST_CLIENTS["sendto"], size=100)
        ends, header = next((ends, header) for ends, header, _ in capture.segments() if is_syn_ack(header))
        given.append((ends, options(header)[34]))
    # The cookie is a function of client and server, which are the other way round here: computed with the ends of each.
    for (server, client), cookie in given:
        assert cookie == siphash(bytes(range(16)), client + server)


def siphash(key, data):
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotate(x, b):
        return (x << b | x >> (64 - b)) & mask

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & mask
            v[1] = rotate(v[1], 13) ^ v[0]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & mask
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask
            v[1] = rotate(v[1], 17) ^ v[2]
            v[2] = rotate(v[2], 32)

    whole = len(data) // 8 * 8
    words = list(struct.unpack(f"<{whole // 8}Q", data[:whole])) + [len(data) << 56 & mask | int.from_bytes(data[whole:], "little")]
    for word in words:
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return struct.pack("<Q", v[0] ^ v[1] ^ v[2] ^ v[3])


MD5 = """
import ctypes
def signed(peer, key):
    import struct
    if ':' in peer: a = struct.pack('=HHI', socket.AF_INET6, 0, 0) + socket.inet_pton(socket.AF_INET6, peer)
    else: a = struct.pack('=HH', socket.AF_INET, 0) + socket.inet_aton(peer)
    return a.ljust(128, b'\\0') + struct.pack('=BBHi', 0, 0, len(key), 0) + key.ljust(80, b'\\0')
s.setsockopt(socket.IPPROTO_TCP, 14, signed('OTHER', b'secret'))
"""


def indented(text):
    return text.strip().replace("\n", "\n    ")


@pytest.mark.parametrize("kind, shards, family", [("tap", 1, "inet"), ("veth", 2, "inet6")])
@pytest.mark.parametrize("ours", ["server", "client"])
def test_md5_with_the_kernel(own_lab, tmp_path, ours, kind, shards, family):
    """Every segment is signed, of both sides, and each takes the other's: the kernel drops what is not."""
    lab = own_lab(kind, shards, family)
    capture = Capture(lab, tmp_path / "md5.pcap")
    us, peer = (OURS6, PEER6) if lab.inet6 else (OURS, PEER)
    server, client = (us, peer) if ours == "server" else (peer, us)
    play(lab, ours == "server", {}, MD5.strip().replace("OTHER", client), indented(MD5.replace("OTHER", server)), size=200_000)
    seen = capture.segments(payload=400_000)
    for (source, to), header, payload in seen:
        digest = options(header).get(19)
        assert digest is not None, header.hex()
        length = len(header) + len(payload)
        pseudo = source + to + (struct.pack("!HH", 6, length) if len(source) == 4 else struct.pack("!II", length, 6))
        assert digest == hashlib.md5(pseudo + header[:16] + b"\0\0" + header[18:20] + payload + b"secret").digest()


def test_md5_of_another_key_is_refused(own_lab):
    lab = own_lab("tap", 1, "inet")
    setup = MD5.strip().replace("OTHER", PEER)
    server = lab.start(True, "python3", "-c", filled(SERVER.replace("SETUP", setup), FAMILY="AF_INET", HERE=OURS, TIMES=1))
    wait_until(lambda: "ready" in server.text(), server.text)
    other = indented(MD5.replace("OTHER", OURS).replace("b'secret'", "b'guess'"))
    words = {"FAMILY": "AF_INET", "HERE": OURS, "TIMES": 1, "SIZE": 1}
    client = lab.start(False, "python3", "-c", filled(
        CLIENT.replace("SETUP", other).replace("CONNECT", "s.settimeout(3)\n    s.connect(('HERE', 7000))"), **words))
    assert "timed out" in client.wait(status=None)
    assert "signature is not that of the key" in lab.stack.utility("netstat", "-s", "-s")


AO = """
import struct
def key(peer, send, receive):
    a = struct.pack('=HH', socket.AF_INET, 0) + socket.inet_aton(peer)
    head = a.ljust(128, b'\\0') + b'ALGORITHM'.ljust(64, b'\\0') + struct.pack('=iIHBBBBBB', 0, 0, 0, 32, send, receive, 0, 0, 6)
    return head + b'secret'.ljust(80, b'\\0')
s.setsockopt(socket.IPPROTO_TCP, 38, key('OTHER', SEND, RECEIVE))
"""


def sha1_mac(key, message):
    return hmac.digest(key, message, "sha1")


def second_stack(lab):
    """Another stack of ours at the peer's end of the wire, in the kernel's place."""
    lab.peer.run(["ip", "address", "flush", "dev", PEER_INTERFACE])
    stack = Stack(lab.folder / "second", lab.home, ["-t", 1, "-d", "packet", f"netns={lab.peer.name},if={PEER_INTERFACE}"])
    stack.start()
    stack.utility("if_up", "-p", "en0")
    stack.utility("ifconfig", "en0", f"{PEER}/24")
    stack.utility("if_up", "-l", "en0")
    return stack


def test_ao_between_two_of_ours(own_lab, tmp_path):
    """HMAC-SHA-1-96; the MACs in the capture are computed again, with keys that are derived as RFC 5926 section 3.1.1.1 says."""
    lab = own_lab("veth", 2, "inet")
    (lab.folder / "second").mkdir()
    other = second_stack(lab)
    try:
        capture = Capture(lab, tmp_path / "ao.pcap")
        ao = AO.replace("ALGORITHM", "hmac(sha1)")
        words = {"FAMILY": "AF_INET", "HERE": OURS, "TIMES": 1, "SIZE": 100_000}
        setup = filled(ao, OTHER=PEER, SEND=84, RECEIVE=61)
        server = lab.start_on_stack("python3", "-c", filled(SERVER.replace("SETUP", setup), **words))
        wait_until(lambda: "ready" in server.text(), server.text)
        setup = indented(filled(ao, OTHER=OURS, SEND=61, RECEIVE=84))
        code = filled(CLIENT.replace("SETUP", setup).replace("CONNECT", "s.connect(('HERE', 7000))"), **words)
        client = lab._start(other.command_on(["python3", "-c", code]), ["client"], {"env": other.environment(preload=False)})
        assert "done" in client.wait()
        server.wait()
        seen = capture.segments(payload=200_000)
        check_macs(seen)
    finally:
        other.stop()


def check_macs(seen):
    isn = {}
    for (source, _), header, _ in seen:
        if header[13] & 2:
            isn[source] = struct.unpack_from("!I", header, 4)[0]
    assert len(isn) == 2
    for (source, to), header, payload in seen:
        key_id, asked = options(header)[29][:2]
        assert (key_id, asked) == ((61, 84) if ipaddress.ip_address(source) == ipaddress.ip_address(PEER) else (84, 61))
        to_isn = 0 if is_syn(header) else isn[to]
        context = source + to + header[:4] + struct.pack("!II", isn[source], to_isn)
        traffic_key = sha1_mac(b"secret", b"\x01TCP-AO" + context + b"\x00\xa0")
        sequence = struct.unpack_from("!I", header, 4)[0]
        extension = 1 if sequence < isn[source] else 0
        at = header.index(options(header)[29])
        blank = header[:16] + b"\0\0" + header[18:at + 2] + bytes(12) + header[at + 14:]
        message = struct.pack("!I", extension) + source + to + struct.pack("!HH", 6, len(header) + len(payload)) + blank + payload
        assert options(header)[29][2:] == sha1_mac(traffic_key, message)[:12], header.hex()
