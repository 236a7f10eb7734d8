"""A name server for tests: answers a handful of names on port 53 of an address (127.0.0.1), in whatever stack its sockets are."""
import socket
import struct
import sys

NAMES = {"web.test": ["10.9.8.7", "10.9.8.6"], "deep.inner.test": ["10.1.1.1"], "both.test": ["127.0.0.1"], "mixed.test": ["127.0.0.1"],
         "scope.test": ["10.9.8.7", "169.254.7.7"]}
NAMES6 = {"six.test": ["2001:db8::7"], "both.test": ["::1"], "mixed.test": ["2001:db8:2::9"],
          "prefix.test": ["2001:db8:2::9", "2001:db8:1::9"], "precedence.test": ["fd00:1::9", "2001:db8:2::9"],
          "label.test": ["2001:db8:2::9", "fd00:1::9"]}
ADDRESSES = {"7.8.9.10.in-addr.arpa": "web.test",
             "7.0.0.0." + "0.0.0.0." * 5 + "8.b.d.0.1.0.0.2.ip6.arpa": "six.test"}


def labels(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def answer(question):
    number, _, _ = struct.unpack("!HHH", question[:6])
    at, parts = 12, []
    while question[at]:
        parts.append(question[at + 1:at + 1 + question[at]].decode())
        at += 1 + question[at]
    name = ".".join(parts).lower()
    kind, = struct.unpack("!H", question[at + 1:at + 3])
    records = []
    if kind == 1:
        records = [socket.inet_aton(address) for address in NAMES.get(name, [])]
    elif kind == 28:
        records = [socket.inet_pton(socket.AF_INET6, address) for address in NAMES6.get(name, [])]
    elif kind == 12 and name in ADDRESSES:
        records = [labels(ADDRESSES[name])]
    code = 0 if name in NAMES or name in NAMES6 or name in ADDRESSES else 3
    out = struct.pack("!HHHHHH", number, 0x8180 | code, 1, len(records), 0, 0) + question[12:at + 5]
    for data in records:
        out += struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data
    return out


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    print("ready", flush=True)
    while True:
        question, client = server.recvfrom(2048)
        server.sendto(answer(question), client)


if __name__ == "__main__":
    main()
