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
    (folder / "hosts").write_text("127.0.0.1 localhost\n10.3.3.3 fromfile fromfile.test\n::1 localhost\n"
                                  "2001:db8:2::9 prefix.file\n2001:db8:1::9 prefix.file\n127.0.0.1 mixed.file\n2001:db8:2::9 mixed.file\n")
    (folder / "host.conf").write_text("multi on\n")
    server = subprocess.Popen([PYTHON, HERE / "dns_server.py", address], env=stack.environment(), stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"
    script = f"mount --bind {folder}/resolv.conf /etc/resolv.conf && mount --bind {folder}/hosts /etc/hosts && mount --bind {folder}/host.conf /etc/host.conf && exec \"$@\""
    yield ["unshare", "--mount", "sh", "-c", script, "sh"]
    server.kill()
    server.wait()


@pytest.fixture(scope="module")
def resolver(stack, tmp_path_factory):
    yield from resolver_on(stack, tmp_path_factory.mktemp("resolver"), "127.0.0.1")


@pytest.fixture(scope="module")
def resolver6(stack6, tmp_path_factory):
    yield from resolver_on(stack6, tmp_path_factory.mktemp("resolver6"), "::1")


@pytest.fixture(scope="module")
def routed(tmp_path_factory):
    """A stack with addresses of its own and a way everywhere. The addresses of the loopback interface do: it has no neighbours."""
    with Stack(program=PROGRAM6) as running:
        for words in (["inet6", "2001:db8:1::1/64"], ["inet6", "fd00:1::1/64"], ["10.9.0.1/16"], ["169.254.7.1/16"]):
            running.utility("ifconfig", "lo0", *words, "alias")
        running.utility("route", "add", "-inet6", "default", "::1")
        for prefix in resolver_on(running, tmp_path_factory.mktemp("routed"), "::1"):
            yield running, prefix


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The same with no other address than a unique local one."""
    with Stack(program=PROGRAM6) as running:
        running.utility("ifconfig", "lo0", "inet6", "fd00:1::1/64", "alias")
        running.utility("route", "add", "-inet6", "default", "::1")
        for prefix in resolver_on(running, tmp_path_factory.mktemp("local"), "::1"):
            yield running, prefix


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


def in_order(stack, resolver, name, family):
    return ask(stack, resolver, f"""
     for a in socket.getaddrinfo('{name}', 80, socket.{family}, socket.SOCK_STREAM): print(a[4][0])
     """).split()


@pytest.mark.parametrize("name,family,wanted", [
    ("mixed.test", "AF_UNSPEC", ["2001:db8:2::9", "127.0.0.1"]),        # rule 6: precedence 40 before 35
    ("precedence.test", "AF_INET6", ["2001:db8:2::9", "fd00:1::9"]),    # 40 before 3; both have a source of their label
    ("precedence.test", "AF_UNSPEC", ["2001:db8:2::9", "fd00:1::9"]),
    ("prefix.test", "AF_INET6", ["2001:db8:1::9", "2001:db8:2::9"]),    # rule 9: longest matching prefix
    ("scope.test", "AF_INET", ["169.254.7.7", "10.9.8.7"]),             # rule 8: smaller scope
    ("prefix.file", "AF_INET6", ["2001:db8:1::9", "2001:db8:2::9"]),
    ("prefix.file", "AF_UNSPEC", ["2001:db8:1::9", "2001:db8:2::9"]),
    ("mixed.file", "AF_UNSPEC", ["2001:db8:2::9", "127.0.0.1"]),
])
def test_names_are_in_the_order_of_the_stack(routed, name, family, wanted):
    """RFC 6724 section 6, by the addresses that this stack would come from; the answers and the file have them the other way round."""
    assert in_order(*routed, name, family) == wanted


def test_order_follows_the_label_of_the_source(local):
    """RFC 6724 section 6, rule 5 goes before rule 6: from a unique local address it goes to its like first."""
    assert in_order(*local, "label.test", "AF_INET6") == ["fd00:1::9", "2001:db8:2::9"]


@pytest.mark.parametrize("name", ["mixed.test", "mixed.file"])
def test_what_cannot_be_reached_comes_last(stack6, resolver6, name):
    """RFC 6724 section 6, rule 1: this stack has no way to any global address."""
    assert in_order(stack6, resolver6, name, "AF_UNSPEC") == ["127.0.0.1", "2001:db8:2::9"]


def test_sorted_names_of_a_file_keep_their_canonical_name_and_all_types(routed):
    assert ask(*routed, """
     for a in socket.getaddrinfo('prefix.file', 80, socket.AF_INET6, 0, 0, socket.AI_CANONNAME): print(a[1].name, a[3], a[4][0])
     """).splitlines() == [f"{kind} {'prefix.file' if n == 0 and kind == 'SOCK_STREAM' else ''} {address}"
                           for n, address in enumerate(["2001:db8:1::9", "2001:db8:2::9"])
                           for kind in ("SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW")]


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
