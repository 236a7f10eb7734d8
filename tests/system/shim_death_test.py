"""The stack is killed while programs wait in every kind of call: each sees an error within a moment, none hangs."""
import shutil
import subprocess
import tempfile
import textwrap
import time

import pytest

from shim_support import Stack

PYTHON = "/usr/bin/python3"
LIMIT = 5  # seconds; only ends a call that hangs

PROLOGUE = """
import errno, os, select, socket, sys
def listener():
    l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(8); return l
def pair():
    l = listener(); c = socket.create_connection(l.getsockname()); s, _ = l.accept(); return c, s
def ready(): print('ready', flush=True)
def report(call):
    try: print('answer', repr(call())[:60])
    except OSError as e: print('error', errno.errorcode[e.errno])
"""

CALLS = {
    "recv": "c, s = pair(); ready(); report(lambda: c.recv(10))",
    "send": """
        c, s = pair(); ready()
        def fill():
            while True: c.send(bytes(100000))
        report(fill)""",
    "accept": "l = listener(); ready(); report(l.accept)",
    "accept-nonblocking": """
        l = listener(); l.setblocking(False); p = select.poll(); p.register(l, select.POLLIN); ready(); p.poll(); report(l.accept)""",
    "accept-epoll": """
        l = listener(); l.setblocking(False); p = select.epoll(); p.register(l, select.EPOLLIN | select.EPOLLET)
        ready(); p.poll(); report(l.accept)""",
    # Another thread's answer must not be the only one; nor does a worker know the stack but by the listener.
    "accept-threads": """
        import threading
        l = listener(); t = threading.Thread(target=lambda: report(l.accept)); t.start(); ready(); report(l.accept); t.join()""",
    "accept-worker": """
        l = listener()
        if (child := os.fork()) == 0:
            report(l.accept); os._exit(0)
        ready(); os.waitpid(child, 0)""",
    "recvfrom": "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0)); ready(); report(lambda: u.recvfrom(10))",
    "poll": """
        c, s = pair(); p = select.poll(); p.register(c, select.POLLIN); ready(); p.poll()
        report(lambda: c.recv(10))""",
    "epoll": """
        c, s = pair(); p = select.epoll(); p.register(c, select.EPOLLIN | select.EPOLLET); ready(); p.poll()
        c.setblocking(False); report(lambda: c.recv(10))""",
    "connect": """
        ready(); sys.stdin.readline()
        c = socket.socket(socket.AF_INET, socket.SOCK_STREAM); report(lambda: c.connect(('127.0.0.1', 9)))""",
}


@pytest.mark.parametrize("call", CALLS)
def test_no_call_hangs(call):
    with Stack() as stack:
        program = subprocess.Popen([PYTHON, "-c", PROLOGUE + textwrap.dedent(CALLS[call])],
                                   env=stack.environment(IOPKT_QUIET="1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        assert program.stdout.readline() == "ready\n", program.stderr.read()
        # Until it sleeps in its call (or, for the ones that are not there yet, to see it fail all the same).
        while open(f"/proc/{program.pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "SZ":
            time.sleep(0.001)
        stack.process.kill()
        stack.process.wait()
        try:
            out, err = program.communicate("go\n", timeout=LIMIT)
        except subprocess.TimeoutExpired:
            program.kill()
            pytest.fail("hangs in " + call)
    assert "error" in out or program.returncode != 0, (out, err)


def test_a_restarted_stack_serves_a_running_program():
    code = PROLOGUE + textwrap.dedent("""
        c, s = pair(); ready(); sys.stdin.readline()
        report(lambda: c.recv(10))
        c, s = pair(); s.send(b'again'); print(c.recv(10))
    """)
    folder = tempfile.mkdtemp(prefix="iopkt-", dir="/tmp")
    with Stack(folder) as first:
        program = subprocess.Popen([PYTHON, "-c", code], env=first.environment(), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert program.stdout.readline() == "ready\n", program.stderr.read()
        first.process.kill()
        first.process.wait()
    with Stack(folder):
        out, err = program.communicate("go\n", timeout=LIMIT)
    shutil.rmtree(folder, ignore_errors=True)
    assert "b'again'" in out, (out, err)
