"""Stream mode: connections that programs without the preloaded library inherit or are sent."""
import os
import shutil
import subprocess
import textwrap

import pytest

from shim_support import BUILD, Stack

PYTHON = "/usr/bin/python3"
STATIC = BUILD / "tests" / "programs" / "static_echo"
LIMIT = 60  # seconds; only ends what hangs
SIZE = 8 << 20

# One connection that the script itself makes on the stack: `c` is the client's side, `s` the server's.
PROLOGUE = f"""
import array, ctypes, errno, fcntl, hashlib, os, select, signal, socket, subprocess, sys, threading, time
STATIC = {str(STATIC)!r}
SIZE = {SIZE}
DATA = os.urandom(1 << 20) * (SIZE >> 20)
def pair():
    l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen(8)
    c = socket.create_connection(l.getsockname()); s, _ = l.accept(); l.close(); return c, s
def send(c, data):
    c.sendall(data); c.shutdown(socket.SHUT_WR)
def read_all(c):
    parts = []
    while part := c.recv(1 << 18): parts.append(part)
    return b''.join(parts)
def same(a, b):
    print('same' if hashlib.sha256(a).digest() == hashlib.sha256(b).digest() else f'differ: {{len(a)}} and {{len(b)}} bytes')
def echoed(c, data=None):
    data = DATA if data is None else data
    t = threading.Thread(target=send, args=(c, data)); t.start(); back = read_all(c); t.join(); same(data, back)
def without_library():
    e = dict(os.environ); e.pop('LD_PRELOAD'); return e
"""


@pytest.fixture(scope="module", params=[1, 2], ids=["one-shard", "two-shards"])
def stack(request):
    with Stack(shards=request.param) as running:
        yield running
        assert running.running(), running.log()


def run(stack, script, **more):
    done = subprocess.run([PYTHON, "-c", PROLOGUE + textwrap.dedent(script)], env=stack.environment(**more),
                          capture_output=True, text=True, timeout=LIMIT)
    assert stack.running(), stack.log()
    return done.stdout + done.stderr


EXEC = {
    # fork and exec, as inetd does it
    "fork": """
        c, s = pair()
        if os.fork() == 0:
            os.dup2(s.fileno(), 0); os.dup2(s.fileno(), 1); os.execv(STATIC, [STATIC])
        s.close(); echoed(c); print(os.wait()[1])""",
    # the child of vfork(): its descriptors are not those of the tables
    "vfork": """
        c, s = pair()
        p = subprocess.Popen([STATIC], stdin=s.fileno(), stdout=s.fileno())
        s.close(); echoed(c); print(p.wait())""",
    "spawn": """
        c, s = pair()
        n = s.fileno()
        p = os.posix_spawn(STATIC, [STATIC], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, n, 0), (os.POSIX_SPAWN_DUP2, n, 1)])
        s.close(); echoed(c); print(os.waitpid(p, 0)[1])""",
    # a forked process that has no connection to the stack of its own, and then a vfork child of it
    "fork-vfork": """
        c, s = pair()
        if os.fork() == 0:
            c.close(); p = subprocess.Popen([STATIC], stdin=s.fileno(), stdout=s.fileno()); os._exit(p.wait())
        s.close(); echoed(c); print(os.wait()[1])""",
    "shell": """
        c, s = pair()
        p = subprocess.Popen(['/bin/sh', '-c', f'exec {STATIC}'], stdin=s.fileno(), stdout=s.fileno())
        s.close(); echoed(c); print(p.wait())""",
    "env-i": """
        c, s = pair()
        p = subprocess.Popen(['env', '-i', '/bin/cat'], stdin=s.fileno(), stdout=s.fileno())
        s.close(); echoed(c); print(p.wait())""",
    "other-stack": """
        c, s = pair()
        p = subprocess.Popen(['/bin/cat'], stdin=s.fileno(), stdout=s.fileno(), env=dict(os.environ, SOCK='/nowhere', IOPKT_QUIET='1'))
        s.close(); echoed(c); print(p.wait())""",
    # data in both directions before, and unread data with the end of the stream behind it
    "in-flight": """
        c, s = pair()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, b'\\0' * 16)
        s.sendall(b'hello'); send(c, b'request')
        p = select.poll(); p.register(s, select.POLLIN | select.POLLRDHUP)
        while not p.poll()[0][1] & select.POLLRDHUP: pass
        q = subprocess.Popen([STATIC], stdin=s.fileno(), stdout=s.fileno())
        s.close(); print(read_all(c)); print(q.wait())""",
    # a full ring in each direction
    "full": """
        c, s = pair()
        c.setblocking(False); s.setblocking(False)
        def fill(x):
            n = 0
            while True:
                try: n += x.send(DATA[n:n + 65536])
                except BlockingIOError:
                    if not select.select([], [x], [], 0.2)[1]: return n
        to_s, to_c = fill(c), fill(s)
        c.setblocking(True); s.setblocking(True)
        t = threading.Thread(target=lambda: send(c, DATA[to_s:])); t.start()
        p = subprocess.Popen([STATIC], stdin=s.fileno(), stdout=s.fileno())
        s.close(); same(read_all(c), DATA[:to_c] + DATA); t.join(); print(p.wait())""",
}
EXEC_ANSWER = {"in-flight": "b'hellorequest'\n0\n"}


@pytest.mark.parametrize("how", EXEC)
def test_exec(stack, how):
    assert run(stack, EXEC[how]) == EXEC_ANSWER.get(how, "same\n0\n")


def test_set_user_id(stack):
    """The loader ignores LD_PRELOAD for a program that runs as another user than its caller."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    program = stack.prefix / "other-cat"
    shutil.copy("/bin/cat", program)
    os.chown(program, 65534, 65534)
    os.chmod(program, 0o4755)
    stack.prefix.chmod(0o755)
    assert run(stack, f"""
        c, s = pair()
        p = subprocess.Popen([{str(program)!r}], stdin=s.fileno(), stdout=s.fileno())
        s.close(); echoed(c); print(p.wait())""") == "same\n0\n"


ENDS = {
    # the peer's reset is a reset for the static program
    "reset": """
        c, s = pair()
        p = subprocess.Popen([STATIC], stdin=s.fileno(), stdout=s.fileno(), stderr=subprocess.PIPE, text=True)
        s.close(); c.sendall(b'x'); print(c.recv(1))
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\\1\\0\\0\\0\\0\\0\\0\\0'); c.close()
        print(p.communicate()[1], p.returncode)""",
    "killed": """
        c, s = pair()
        p = subprocess.Popen([STATIC], stdin=s.fileno(), stdout=s.fileno())
        s.close(); c.sendall(b'x'); print(c.recv(1)); p.kill(); print(c.recv(1), p.wait())""",
    # closed with data unread: a reset
    "unread": """
        c, s = pair()
        p = subprocess.Popen([STATIC, '1'], stdin=s.fileno(), stdout=s.fileno())
        s.close(); c.sendall(b'xyz'); got = c.recv(1)
        try: print(got, c.recv(1))
        except OSError as e: print(got, errno.errorcode[e.errno])
        print(p.wait())""",
    "half": """
        c, s = pair()
        p = subprocess.Popen([STATIC, 'half'], stdin=s.fileno(), stdout=s.fileno())
        s.close(); send(c, b'some'); print(read_all(c), p.poll()); p.kill(); print(p.wait())""",
    # the parent keeps the socket and goes on with it: all holders follow
    "shared": """
        c, s = pair()
        p = subprocess.Popen([STATIC, '3'], stdin=s.fileno(), stdout=s.fileno())
        c.sendall(b'abc'); print(read_n(c, 3), p.wait())
        c.sendall(b'def'); print(read_n(s, 3))
        s.sendall(b'ghi'); print(read_n(c, 3), s.getpeername() == c.getsockname())
        c.sendall(b'jk'); time_out(s); n = array.array('i', [0]); fcntl.ioctl(s, 0x541B, n); print(n[0], s.recv(9))
        s.shutdown(socket.SHUT_WR); print(c.recv(9)); c.sendall(b'l'); c.close(); print(read_all(s)); s.close()""",
}
ENDS_ANSWER = {
    "reset": "b'x'\nstatic_echo: read: Connection reset by peer\n 1\n",
    "killed": "b'x'\nb'' -9\n",
    "unread": "b'x' ECONNRESET\n0\n",
    "half": "b'some' None\n-9\n",
    "shared": "b'abc' 0\nb'def'\nb'ghi' True\n2 b'jk'\nb''\nb'l'\n",
}
HELPERS = """
def read_n(x, n):
    got = b''
    while len(got) < n: got += x.recv(n - len(got))
    return got
def time_out(x):
    select.select([x], [], [])
"""


@pytest.mark.parametrize("how", ENDS)
def test_ends(stack, how):
    assert run(stack, HELPERS + textwrap.dedent(ENDS[how])) == ENDS_ANSWER[how]


PASSING = {
    "without-library": "env=without_library()",
    "with-library": "env=dict(os.environ)",
    "other-client": "env={k: v for k, v in os.environ.items() if k != 'IOPKT_CLIENT'}",
}


@pytest.mark.parametrize("receiver", PASSING)
def test_passed_by_message(stack, receiver):
    assert run(stack, f"""
        a, b = socket.socketpair()
        echo = '''
        import os, socket, sys
        a = socket.socket(fileno=int(sys.argv[1]))
        _, fds, _, _ = socket.recv_fds(a, 1, 1)
        a.close()
        while part := os.read(fds[0], 65536):
            while part: part = part[os.write(fds[0], part):]
        '''.replace('\\n        ', '\\n')
        p = subprocess.Popen([sys.executable, '-c', echo, str(b.fileno())], pass_fds=[b.fileno()], {PASSING[receiver]})
        b.close(); c, s = pair()
        socket.send_fds(a, [b'x'], [s.fileno()]); s.close(); echoed(c); print(p.wait())""") == "same\n0\n"


def test_no_slot_is_left(stack):
    """What a static program half-closes and leaves is given back, as often as it happens."""
    assert run(stack, """
        for _ in range(50):
            c, s = pair()
            p = subprocess.Popen([STATIC], stdin=s.fileno(), stdout=s.fileno())
            s.close(); echoed(c, b'short'); c.close(); p.wait()
        print('done')""") == "same\n" * 50 + "done\n"


def test_death_of_the_stack_is_seen():
    with Stack() as stack:
        program = subprocess.Popen([PYTHON, "-c", PROLOGUE + textwrap.dedent("""
            c, s = pair()
            p = subprocess.Popen([STATIC], stdin=s.fileno(), stdout=s.fileno(), stderr=subprocess.PIPE, text=True)
            s.close(); c.sendall(b'x'); c.recv(1); print('ready', flush=True); print(p.communicate()[1], p.returncode)""")],
            env=stack.environment(IOPKT_QUIET="1"), stdout=subprocess.PIPE, text=True)
        assert program.stdout.readline() == "ready\n"
        stack.process.kill()
        assert program.communicate(timeout=LIMIT)[0] == "static_echo: read: Connection reset by peer\n 1\n"
