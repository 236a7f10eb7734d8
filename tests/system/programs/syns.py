"""Sends SYNs from many addresses and ports that never answer: syns.py INTERFACE THEIR_ADDRESS THEIR_MAC PORT SEED COUNT.

COUNT 0: the same 20000 again and again, as fast as it can, until it is killed."""
import errno
import random
import socket
import struct
import sys

interface, theirs, mac, port, seed, count = sys.argv[1:]
rng = random.Random(int(seed))
destination = socket.inet_aton(theirs)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn():
    source = socket.inet_aton(f"10.9.{rng.randrange(1, 255)}.{rng.randrange(1, 255)}")
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, rng.randrange(65536), 0, 64, 6, 0, source, destination)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    tcp = struct.pack("!HHIIBBHHH", rng.randrange(1024, 65536), int(port), rng.randrange(2**32), 0, 0x50, 2, 65535, 0, 0)
    pseudo = source + destination + struct.pack("!BBH", 0, 6, 20)
    return head + tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]


out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((interface, 0))
ethernet = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("020000000099") + b"\x08\x00"
if int(count) == 0:
    frames = [ethernet + syn() for _ in range(20000)]
    print("sending", flush=True)
    while True:
        for frame in frames:
            try:
                out.send(frame)
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # the link's queue is full
                    raise
for _ in range(int(count)):
    out.send(ethernet + syn())
print("sent", count)
