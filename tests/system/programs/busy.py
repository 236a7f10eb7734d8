"""Connects, echoes a little, closes, for ever; a line for each: busy.py ADDRESS PORT."""
import socket
import sys

while True:
    kept = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(3)]
    for s in kept:
        s.sendall(b"hello" * 100)
        left = 500
        while left > 0:
            data = s.recv(left)
            if not data:
                sys.exit("the echo has ended")
            left -= len(data)
        s.close()
        print("echoed", flush=True)
