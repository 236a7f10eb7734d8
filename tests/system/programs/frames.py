"""Sends malformed frames of every layer: frames.py INTERFACE OUR_ADDRESS THEIR_ADDRESS THEIR_MAC PORT SEED COUNT."""
import random
import socket
import sys

from scapy.all import ARP, ICMP, IP, TCP, UDP, Ether, IPOption, Raw  # noqa: E402

interface, ours, theirs, mac, port, seed, count = sys.argv[1:]
rng = random.Random(int(seed))


def raw(n):
    return bytes(rng.randrange(256) for _ in range(n))


def ip(**more):
    return Ether(dst=mac) / IP(src=ours, dst=theirs, **more)


def templates():
    sport, dport = rng.randrange(1024, 65536), int(port)
    fragment = rng.randrange(0, 8190)
    return [
        Ether(dst=mac, type=rng.randrange(65536)) / Raw(raw(rng.randrange(60))),
        Ether(dst=mac) / ARP(op=rng.randrange(4), psrc=ours, pdst=theirs, hwlen=rng.choice([6, 0, 255]), plen=rng.choice([4, 0, 16])),
        ip(ttl=0) / ICMP() / Raw(raw(8)),
        ip(ihl=rng.choice([0, 4, 15])) / UDP(dport=9) / Raw(raw(20)),
        ip(len=rng.choice([0, 19, 65535])) / UDP(dport=9) / Raw(raw(20)),
        ip(version=rng.choice([0, 6, 15])) / UDP(dport=9),
        ip(chksum=rng.randrange(65536)) / UDP(dport=9),
        ip(options=[IPOption(copy_flag=rng.randrange(2), optclass=rng.randrange(4), option=rng.randrange(32), length=rng.randrange(256), value=raw(rng.randrange(30)))]) / ICMP() / Raw(raw(8)),
        ip(proto=rng.randrange(256)) / Raw(raw(rng.randrange(40))),
        ip(flags="MF", frag=fragment, id=7) / Raw(raw(rng.choice([1, 8, 1400]))),
        ip(frag=rng.choice([8189, 8191]), id=8) / Raw(raw(1400)),
        ip() / UDP(sport=0, dport=rng.randrange(65536), len=rng.choice([0, 7, 9999])) / Raw(raw(30)),
        ip() / UDP(dport=9, chksum=rng.randrange(1, 65536)) / Raw(raw(30)),
        ip() / ICMP(type=rng.randrange(256), code=rng.randrange(256)) / Raw(raw(rng.randrange(64))),
        ip() / ICMP(type=3, code=4) / IP(src=theirs, dst=ours, ihl=rng.choice([5, 15])) / Raw(raw(rng.randrange(12))),
        ip() / TCP(sport=sport, dport=dport, flags=rng.randrange(256), dataofs=rng.choice([0, 4, 5, 15]), seq=rng.randrange(2**32)),
        ip() / TCP(sport=sport, dport=dport, flags="S", options=[(rng.randrange(2, 255), raw(rng.randrange(20)))]),
        ip() / TCP(sport=sport, dport=dport, flags="SFRPU", seq=rng.randrange(2**32)) / Raw(raw(100)),
        ip() / TCP(sport=sport, dport=dport, flags="A", chksum=rng.randrange(65536)),
        Ether(dst=mac) / IP(src=theirs, dst=theirs) / TCP(sport=dport, dport=dport, flags="S"),
        Ether(dst=mac) / IP(src="255.255.255.255", dst=theirs) / ICMP(),
        Ether(dst=mac) / IP(src="127.0.0.1", dst="127.0.0.1") / UDP(dport=9),
    ]


out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((interface, 0))
for n in range(int(count)):
    options = templates()
    frame = bytearray(bytes(options[n % len(options)]))
    if n // len(options) % 2 == 1:  # every second round: bits turned over behind the addresses, and the end cut off
        for _ in range(rng.randrange(1, 6)):
            frame[rng.randrange(12, len(frame))] ^= 1 << rng.randrange(8)
        frame = frame[:rng.randrange(14, len(frame) + 1)]
    out.send(bytes(frame[:1514]))
print("sent", count)
