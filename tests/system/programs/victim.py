"""A client to be killed. victim.py STATE ADDRESS PORT: gets into the state, prints "ready", stays there for ever.

When its socket fails instead, it prints what happened and the time (time.monotonic_ns), and ends.
"""
import errno
import os
import select
import signal
import socket
import sys
import threading
import time

state, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def say(*words):
    print(*words, flush=True)


def connected():
    s = socket.create_connection((address, port))
    s.sendall(b"x")
    return s


def fill(s):
    s.setblocking(False)
    total, empty_looks = 0, 0
    while empty_looks < 50:  # full is full when it stays so
        try:
            total += s.send(b"y" * 65536)
            empty_looks = 0
        except BlockingIOError:
            empty_looks += 1
            select.select([], [s], [], 0.01)
    s.setblocking(True)
    return total


def stay(s):
    """Waits for the peer or the stack to end the connection."""
    try:
        data = s.recv(1)
        say("recv gave", repr(data), time.monotonic_ns())
    except OSError as error:
        say("recv failed", errno.errorcode[error.errno], time.monotonic_ns())


def idle():
    s = connected()
    say("ready")
    stay(s)


def polling():
    s = connected()
    e = select.epoll()
    e.register(s, select.EPOLLIN | select.EPOLLRDHUP)
    say("ready")
    say("epoll gave", e.poll()[0][1], time.monotonic_ns())


def full():
    s = connected()
    fill(s)
    say("ready")
    try:
        s.sendall(b"z" * (1 << 24))
        say("send ended", time.monotonic_ns())
    except OSError as error:
        say("send failed", errno.errorcode[error.errno], time.monotonic_ns())


def unread():
    s = connected()
    select.select([s], [], [])
    say("ready")
    threading.Event().wait()


def listener():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    s.listen(16)
    return s


def listening():
    s = listener()
    say("ready")
    threading.Event().wait()
    s.close()


def accepting():
    s = listener()
    say("ready")
    try:
        say("accept gave", s.accept(), time.monotonic_ns())
    except OSError as error:
        say("accept failed", errno.errorcode[error.errno], time.monotonic_ns())


def polling_listener():
    s = listener()
    s.setblocking(False)
    e = select.epoll()
    e.register(s, select.EPOLLIN)
    say("ready")
    e.poll()
    try:
        say("accept gave", s.accept(), time.monotonic_ns())
    except OSError as error:
        say("accept failed", errno.errorcode[error.errno], time.monotonic_ns())


def holders():
    """Two children that have inherited the listener and never make a call; their numbers are printed."""
    s = listener()
    children = []
    for _ in range(2):
        if (child := os.fork()) == 0:
            while s:
                signal.pause()
        children.append(child)
    say("ready", *children)
    threading.Event().wait()


def forking():
    """A child serves the first connection, and survives its parent; its number is printed."""
    s = listener()
    say("ready")
    connection, _ = s.accept()
    if (child := os.fork()) == 0:
        s.close()
        while data := connection.recv(4096):
            connection.sendall(data)
        os._exit(0)
    connection.close()
    say("serving", child)
    threading.Event().wait()


def connecting():
    s = socket.socket()
    say("ready")
    try:
        s.connect((address, port))
        say("connect ended", time.monotonic_ns())
    except OSError as error:
        say("connect failed", errno.errorcode[error.errno], time.monotonic_ns())


def shut():
    """Both directions are shut: the descriptor shows nothing more when it is closed."""
    s = connected()
    s.shutdown(socket.SHUT_WR)
    while s.recv(4096):
        pass
    say("ready")
    threading.Event().wait()


def datagrams():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((address, port))
    s.send(b"hello")
    say("ready")
    stay(s)


globals()[state]()
