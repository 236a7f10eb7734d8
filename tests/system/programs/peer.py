"""The other end of a victim's connection. peer.py MODE ADDRESS PORT [COUNT].

accept     takes one connection, prints "accepted", reads nothing before a line comes on standard input
accept-send  the same, and sends a little
accept-close the same, and shuts its own direction once it has the end of the other
connect    makes COUNT connections, prints "connected"
Then it reads to the end of each and prints how that came: "fin" or "reset".
"""
import socket
import sys

mode, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def say(*words):
    print(*words, flush=True)


def end_of(s):
    try:
        while s.recv(65536):
            pass
        return "fin"
    except ConnectionResetError:
        return "reset"


if mode.startswith("accept"):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    listener.bind((address, port))
    listener.listen()
    ends = [listener.accept()[0]]
    say("accepted")
    if mode == "accept-send":
        ends[0].sendall(b"w" * 1000)
    if mode == "accept-close":
        say(end_of(ends[0]))
        ends[0].shutdown(socket.SHUT_WR)
else:
    ends = [socket.create_connection((address, port)) for _ in range(int(sys.argv[4]))]
    say("connected")
sys.stdin.readline()
for end in ends:
    say(end_of(end))
