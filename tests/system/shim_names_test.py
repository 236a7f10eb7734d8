"""Names under the preload: /etc/hosts and numbers by libc, DNS through the stack and never through the kernel."""
import os
import pathlib
import shutil
import subprocess
import textwrap

import pytest

from shim_support import PROGRAM6, Stack

HERE = pathlib.Path(__file__).parent
PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def stack():
    with Stack() as running:
        yield running


@pytest.fixture(scope="module")
def stack6():
    with Stack(program=PROGRAM6) as running:
        yield running


def resolver_on(stack, folder, address):
    """A name server on the stack's own loopback, and a command prefix under which /etc/resolv.conf names it."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("needs a mount namespace")
    (folder / "resolv.conf").write_text(f"nameserver {address}\nsearch inner.test\noptions timeout:2 attempts:2\n")
    (folder / "hosts").write_text("127.0.0.1 localhost\n10.3.3.3 fromfile fromfile.test\n::1 localhost\n")
    server = subprocess.Popen([PYTHON, HERE / "dns_server.py", address], env=stack.environment(), stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"
    script = f"mount --bind {folder}/resolv.conf /etc/resolv.conf && mount --bind {folder}/hosts /etc/hosts && exec \"$@\""
    yield ["unshare", "--mount", "sh", "-c", script, "sh"]
    server.kill()
    server.wait()


@pytest.fixture(scope="module")
def resolver(stack, tmp_path_factory):
    yield from resolver_on(stack, tmp_path_factory.mktemp("resolver"), "127.0.0.1")


@pytest.fixture(scope="module")
def resolver6(stack6, tmp_path_factory):
    yield from resolver_on(stack6, tmp_path_factory.mktemp("resolver6"), "::1")


def ask(stack, resolver, code):
    done = subprocess.run([*resolver, PYTHON, "-c", "import socket\n" + textwrap.dedent(code)], env=stack.environment(),
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("code,wanted", [
    ("print(socket.gethostbyname('web.test') in ('10.9.8.7', '10.9.8.6'))", "True"),
    ("print(sorted(socket.gethostbyname_ex('web.test')[2]))", "['10.9.8.6', '10.9.8.7']"),
    ("print(sorted({a[4] for a in socket.getaddrinfo('web.test', 'http', 0, socket.SOCK_STREAM)}))",
     "[('10.9.8.6', 80), ('10.9.8.7', 80)]"),
    ("print(socket.gethostbyname('deep'))", "10.1.1.1"),  # by the search list
    ("print(socket.gethostbyname('fromfile'))", "10.3.3.3"),
    ("print([a[0].name for a in socket.getaddrinfo('localhost', 1, 0, socket.SOCK_STREAM)])", "['AF_INET']"),
    ("print(socket.gethostbyaddr('10.9.8.7')[0])", "web.test"),
    ("print(socket.getnameinfo(('10.9.8.7', 80), 0))", "('web.test', 'http')"),
    ("print(socket.getnameinfo(('10.9.8.5', 80), socket.NI_NUMERICSERV))", "('10.9.8.5', '80')"),
    ("print(socket.getaddrinfo('10.2.2.2', 5, 0, socket.SOCK_DGRAM)[0][4])", "('10.2.2.2', 5)"),
    ("""
     try: socket.getaddrinfo('no.such.test', 80)
     except socket.gaierror as e: print(e.errno == socket.EAI_NONAME)
     """, "True"),
])
def test_names(stack, resolver, code, wanted):
    assert ask(stack, resolver, code) == wanted


@pytest.mark.parametrize("code,wanted", [
    ("print(sorted({a[4] for a in socket.getaddrinfo('both.test', 80, 0, socket.SOCK_STREAM)}))", "[('127.0.0.1', 80), ('::1', 80, 0, 0)]"),
    ("print({a[0].name for a in socket.getaddrinfo('both.test', 80, socket.AF_INET)})", "{'AF_INET'}"),
    ("print(socket.getaddrinfo('six.test', 'http', socket.AF_INET6, socket.SOCK_STREAM)[0][4])", "('2001:db8::7', 80, 0, 0)"),
    ("print(socket.getaddrinfo('web.test', 80, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_V4MAPPED)[0][4][0][:10])", "::ffff:10."),
    ("print(socket.getnameinfo(('2001:db8::7', 80), 0))", "('six.test', 'http')"),
    ("print(socket.gethostbyaddr('2001:db8::7')[0])", "six.test"),
    ("print(socket.gethostbyname('web.test') in ('10.9.8.7', '10.9.8.6'))", "True"),
    ("print(sorted(a[0].name for a in socket.getaddrinfo('localhost', 1, 0, socket.SOCK_STREAM)))", "['AF_INET', 'AF_INET6']"),
    ("print(socket.getaddrinfo('fe80::1%lo0', 5, 0, socket.SOCK_DGRAM)[0][4])", "('fe80::1', 5, 0, 1)"),
    ("print(socket.getnameinfo(('fe80::1', 80, 0, 1), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV))", "('fe80::1%lo0', '80')"),
    ("""
     try: socket.getaddrinfo('web.test', 80, socket.AF_INET6)
     except socket.gaierror as e: print(e.errno in (socket.EAI_NONAME, socket.EAI_NODATA))
     """, "True"),
])
def test_names_of_both_families(stack6, resolver6, code, wanted):
    assert ask(stack6, resolver6, code) == wanted


def test_no_question_reaches_the_kernel(stack, resolver, tmp_path):
    """No INET socket of the kernel is made, whatever the answer."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    trace = tmp_path / "trace"
    subprocess.run([*resolver, "strace", "-f", "-e", "trace=socket", "-o", trace, "env", f"SOCK={stack.prefix}",
                    f"LD_PRELOAD={stack.environment()['LD_PRELOAD']}", PYTHON, "-c",
                    "import socket\nfor n in ('web.test', 'no.such.test'):\n try: socket.gethostbyname(n)\n except OSError: pass"],
                   env=dict(os.environ), check=True, timeout=60, capture_output=True)
    assert "AF_UNIX" in trace.read_text()
    assert "AF_INET" not in trace.read_text()
