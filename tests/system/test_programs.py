"""Unmodified programs on our stack and against it. Whatever carries data is checked by hash."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from conftest import LABS
from lab import FULL, all_pings, lost_pings, sha256
from namespaces import LIMIT, wait_until
from nginx import PORT as HTTP_PORT, start_nginx

PROGRAMS = pathlib.Path(__file__).parent / "programs"
MEGABYTE = 1 << 20
PORT = 7001
PYTHON = "/usr/bin/python3"


# Link-local addresses, too.
PROGRAM_LABS = LABS + ([("tap", 1, "link")] if FULL else [])


@pytest.fixture(params=PROGRAM_LABS, ids=[f"{kind}-{shards}-{family}" for kind, shards, family in PROGRAM_LABS], scope="session")
def lab_key(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["server-on-stack", "client-on-stack"])
def on_stack(request):
    """Where the server runs; its client is on the other side."""
    return request.param


# ---- python


def test_python_http(lab, on_stack):
    root = lab.directory("python-www")
    _, wanted = lab.file("python-www/data", 8 * MEGABYTE)
    server = lab.start(on_stack, PYTHON, "-u", "-m", "http.server", PORT, "--bind", lab.address(on_stack), "--directory", root)
    lab.wait_listening(on_stack, PORT, server)
    url = f"http://{lab.host(on_stack)}:{PORT}/data"
    got = lab.run(not on_stack, PYTHON, PROGRAMS / "fetch.py", url, 5)
    assert got.split() == [wanted] * 5
    server.kill()


# ---- iperf3


def iperf(lab, on_stack, *words):
    server = lab.start(on_stack, "iperf3", "-s", "-1", "-p", PORT)
    lab.wait_listening(on_stack, PORT, server)
    text = lab.run(not on_stack, "iperf3", "-J", "-c", lab.address(on_stack), "-p", PORT, "-t", 5 if FULL else 1, *words)
    server.wait()
    report = json.loads(text)
    assert "error" not in report, report["error"]
    return report["end"]


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("streams", [1, 8])
def test_iperf3_tcp(lab, on_stack, streams, reverse):
    end = iperf(lab, on_stack, "-P", streams, *(["-R"] if reverse else []))
    assert len(end["streams"]) == streams
    assert all(one["receiver"]["bytes"] > 0 for one in end["streams"])
    # What was received was sent; the sender's figure may hold what was still on the way at the end.
    assert 0 < end["sum_received"]["bytes"] <= end["sum_sent"]["bytes"]
    print(f"{end['sum_received']['bits_per_second'] / 1e9:.2f} Gbit/s, "
          f"{end['sum_sent'].get('retransmits', 0)} retransmissions")


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_iperf3_udp(lab, on_stack, reverse):
    end = iperf(lab, on_stack, "-u", "-b", "20M", "-l", 1400, *(["-R"] if reverse else []))
    total = end["sum"]
    assert total["packets"] > 0 and total["lost_packets"] < total["packets"] / 2, total
    print(f"{total['packets']} datagrams, {total['lost_packets']} lost")


# ---- ssh


SSHD = """
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
Subsystem sftp internal-sftp
"""


def may_change_user():
    """sshd's unprivileged half needs a second user, which a user namespace of one user does not have."""
    return len(pathlib.Path("/proc/self/uid_map").read_text().split()) > 3 or "4294967295" in pathlib.Path("/proc/self/uid_map").read_text()


@pytest.fixture
def sshd(lab, on_stack):
    if not may_change_user():
        pytest.skip("sshd needs a second user; this namespace has one")
    folder = lab.directory("ssh")
    for key in ("host_key", "user_key"):
        if not (folder / key).exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    (folder / "authorized_keys").write_bytes((folder / "user_key.pub").read_bytes())
    config = folder / f"sshd_config_{on_stack}"
    config.write_text(SSHD.format(address=lab.address(on_stack), port=PORT, folder=folder))
    # sshd wants /run/sshd: it gets a /run of its own. What this machine's shell does at its start is not part of the test.
    start = ('mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && { [ ! -e ~/.bashrc ] || mount --bind /dev/null ~/.bashrc; } '
             '&& exec "$@"')
    server = lab.start(on_stack, "unshare", "--mount", "sh", "-c", start, "sh", "/usr/sbin/sshd", "-D", "-e", "-f", config)
    lab.wait_listening(on_stack, PORT, server)
    options = ["-F", "none", "-i", folder / "user_key", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
               "-o", f"UserKnownHostsFile={folder}/known_{on_stack}", "-o", "LogLevel=ERROR"]
    yield folder, options
    server.kill()


def test_ssh_and_scp(lab, on_stack, sshd):
    folder, options = sshd
    address = lab.address(on_stack)
    data, wanted = lab.file("ssh/data", 16 * MEGABYTE)
    said = lab.run(not on_stack, "ssh", *options, "-p", PORT, f"root@{address}", f"echo over there; sha256sum {data}")
    assert said.split() == ["over", "there", wanted, str(data)]
    # Through the remote shell's standard input and output, both ways at once.
    with open(data, "rb") as source, open(folder / "back", "wb") as back:
        lab.run(not on_stack, "ssh", *options, "-p", PORT, f"root@{address}", "cat", stdin=source, stdout=back, limit=300)
    assert sha256(folder / "back") == wanted
    there = f"root@{lab.host(on_stack)}"
    for words in ([data, f"{there}:{folder}/up"], [f"{there}:{data}", folder / "down"]):
        lab.run(not on_stack, "scp", *options, "-P", PORT, *words, limit=300)
    assert sha256(folder / "up") == wanted and sha256(folder / "down") == wanted


# ---- redis


REDIS_COMMANDS = ("ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,"
                  "lrange_300,lrange_500,lrange_600,mset")


def test_redis(lab, on_stack):
    server = lab.start(on_stack, "redis-server", "--port", PORT, "--bind", lab.any, "--protected-mode", "no", "--save", "",
                       "--dir", lab.folder)
    lab.wait_listening(on_stack, PORT, server)
    where = ["-h", lab.address(on_stack), "-p", PORT]
    text = lab.run(not on_stack, "redis-benchmark", *where, "-c", 50, "-n", 20000 if FULL else 1000, "--csv", limit=300)
    rows = [line.split(",")[0].strip('"') for line in text.splitlines()[1:] if line.startswith('"')]
    assert len(rows) == 20, text
    assert all(float(line.split(",")[1].strip('"')) > 0 for line in text.splitlines()[1:] if line.startswith('"'))
    value, count = os.urandom(32).hex(), 200
    got = lab.run(not on_stack, "redis-cli", *where, "-r", count, "append", "key", value)
    assert got.split()[-1] == str(len(value) * count)
    assert lab.run(not on_stack, "redis-cli", *where, "--raw", "get", "key").strip() == value * count
    lab.run(not on_stack, "redis-cli", *where, "shutdown", "nosave", status=None)
    server.wait()


# ---- socat, netcat


def test_socat_echo(lab, on_stack):
    """A file goes to an echo server and comes back."""
    data, wanted = lab.file("socat-data", 8 * MEGABYTE)
    # Not socat's PIPE: it writes 8 KB to a pipe that has room for less when reads were cut within a page, and blocks for ever.
    kind = "TCP6" if lab.inet6 else "TCP4"
    server = lab.start(on_stack, "socat", f"{kind}-LISTEN:{PORT},reuseaddr,fork", "EXEC:cat")
    lab.wait_listening(on_stack, PORT, server)
    with open(data, "rb") as source, open(lab.folder / "socat-back", "wb") as back:
        lab.run(not on_stack, "socat", "-t", 60, "-", f"{kind}:{lab.host(on_stack)}:{PORT}", stdin=source, stdout=back,
                stderr=subprocess.DEVNULL)
    assert sha256(lab.folder / "socat-back") == wanted
    server.kill()


def test_socat_udp(lab, on_stack):
    kind = "UDP6" if lab.inet6 else "UDP4"
    server = lab.start(on_stack, "socat", f"{kind}-RECVFROM:{PORT},fork", "EXEC:rev")
    lab.wait_listening(on_stack, PORT, server, protocol="udp")
    # The pipe stays open, so that socat waits for the answer; it is ended once that has come.
    client = lab.start(not on_stack, "socat", "-", f"{kind}:{lab.host(on_stack)}:{PORT}", stdin=subprocess.PIPE)
    client.process.stdin.write(b"stressed\n")
    client.process.stdin.flush()
    wait_until(lambda: client.text() == "desserts\n", lambda: "the answer, not " + client.text())
    client.process.stdin.close()
    client.kill()
    server.kill()


@pytest.mark.parametrize("sender", ["client", "server"])
def test_netcat(lab, on_stack, sender):
    data, wanted = lab.file("nc-data", 8 * MEGABYTE)
    got = lab.folder / "nc-got"
    with open(data, "rb") as source, open(got, "wb") as sink:
        def ends(sends):
            return {"stdin": source if sends else subprocess.DEVNULL, "stdout": subprocess.DEVNULL if sends else sink}
        # -N: the end of the file is the end of the stream; -d: standard input is not looked at.
        server_words = ["-N"] if sender == "server" else ["-d"]
        client_words = ["-N"] if sender == "client" else ["-d"]
        family = "-6" if lab.inet6 else "-4"
        server = lab.start(on_stack, "nc", family, *server_words, "-l", "-p", PORT, **ends(sender == "server"))
        lab.wait_listening(on_stack, PORT, server)
        lab.run(not on_stack, "nc", family, *client_words, lab.address(on_stack), PORT, **ends(sender == "client"))
        server.wait()
    assert sha256(got) == wanted


# ---- ping


def test_ping_from_the_peer(lab):
    said = lab.run(False, "ping", *all_pings(20), lab.address(True))
    assert not lost_pings(said, 20), said


def test_ping_with_every_size(lab):
    """Also those that are sent in fragments, both ways."""
    whole = 1452 if lab.inet6 else 1472  # what one packet holds
    for size in (0, 1, 17, whole, whole + 1, 2960, 9000, 65527 if lab.inet6 else 65507):
        # One at a time: after the first answer ping waits for the others only as long as two round trips.
        said = lab.run(False, "ping", "-n", "-c", 1, "-s", size, lab.address(True))
        assert "1 received" in said, f"size {size}: {said}"


def test_flood_of_pings(lab):
    before = lab.stack.counters("icmp6" if lab.inet6 else "icmp")
    said = lab.run(False, "ping", "-n", "-f", "-w", LIMIT, "-c", 500, lab.address(True))
    received = int(re.search(r"(\d+) received", said).group(1))
    assert received == 500, said
    after = lab.stack.counters("icmp6" if lab.inet6 else "icmp")
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert any(value >= 500 for value in grown.values()), grown


def test_ping_on_the_stack(lab):
    """Debian's ping has a file capability, for which the loader drops every preload; a copy has none."""
    copy = lab.folder / "ping"
    copy.write_bytes(pathlib.Path("/usr/bin/ping").read_bytes())
    copy.chmod(0o755)
    said = lab.run(True, copy, *all_pings(20), lab.address(False))
    assert not lost_pings(said, 20), said


# ---- wrk


WRK_SECONDS = 30 if FULL else 3


CONNECTIONS = 256


def check_wrk(text, closed=0):
    """Nothing failed. `closed`: so many kept connections may have been closed by the server with a request on its way."""
    print(text)
    assert "Non-2xx" not in text, text
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    connect, read, write, timeout = map(int, errors.groups()) if errors else (0, 0, 0, 0)
    assert (connect, write, timeout) == (0, 0, 0) and read <= closed, text
    assert int(re.search(r"(\d+) requests in", text).group(1)) > 0


def start_wrk(lab, *words, seconds=WRK_SECONDS):
    return lab.start(False, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", *words,
                     f"http://{lab.host(True)}:{HTTP_PORT}/")


@pytest.fixture
def loaded_nginx(lab):
    root = lab.directory("wrk-www")
    (root / "index.html").write_bytes(b"x" * 612)
    nginx = start_nginx(lab, True, root)
    yield nginx
    nginx.stop()


def test_wrk(lab, loaded_nginx):
    check_wrk(start_wrk(lab).wait(limit=300))


@pytest.mark.parametrize("kept", [False, True], ids=["connection-per-request", "kept-connections"])
def test_nginx_reload_under_load(lab, loaded_nginx, kept):
    """New workers take over while 256 connections ask.

    With a connection for each request none may fail. A kept connection is closed by its old worker, also when the next
    request is on its way: wrk counts each as a read error (on the kernel's stack as well: one per connection and reload).
    """
    reloads = 2
    # It ends when the reloads are over, however long they take, but not before its time.
    load = start_wrk(lab, *([] if kept else ["-H", "Connection: close"]), seconds=300)
    end = time.monotonic() + WRK_SECONDS

    def served():
        return lab.stack.counters("tcp")["tcp.rx.bytes"]
    for _ in range(reloads):
        mark = served()
        wait_until(lambda: served() > mark + 20000, "requests")
        started = loaded_nginx.text().count("start worker process ")
        loaded_nginx.process.send_signal(signal.SIGHUP)
        wait_until(lambda: loaded_nginx.text().count("start worker process ") >= started + 2, "new workers")
    wait_until(lambda: time.monotonic() >= end, "the end of the load")
    load.process.send_signal(signal.SIGINT)
    check_wrk(load.wait(limit=300), closed=reloads * CONNECTIONS if kept else 0)
