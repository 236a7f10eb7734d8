"""What goes wrong: bad command lines, clients and stacks that are killed, frames and messages that make no sense."""
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from lab import OURS, PEER, PEER_INTERFACE, Lab
from namespaces import LIMIT, wait_until
from stack import PROGRAM, Stack

PROGRAMS = pathlib.Path(__file__).parent / "programs"
PYTHON = "/usr/bin/python3"
MEGABYTE = 1 << 20
PORT, FILE_PORT = 7101, 7102


# ---- starting


@pytest.fixture
def short_path():
    """pytest's own names are too long for a prefix."""
    with tempfile.TemporaryDirectory(prefix="iop") as path:
        yield pathlib.Path(path)


LONG = "/tmp/" + "a" * 120


@pytest.mark.parametrize("words,status,said", [
    (["-d", "nosuch"], 2, "driver nosuch.*known: .*tap"),
    (["-d", "tap", "nosuch=1"], 2, "unknown option nosuch; known: .*hostip"),
    (["-d", "tap", "mtu=7"], 2, r"mtu=7.*allowed: 68\.\.65535"),
    (["-d", "packet"], 2, "if="),
    (["-d", "tap", "hostip=banana"], 2, "hostip=banana: not an IPv4 address"),
    (["-d", "packet", "if=nosuch"], 1, "nosuch"),
    (["-t", "0"], 2, r"-t 0.*allowed: 1\.\.64"),
    (["-t", "x"], 2, "-t x"),
    (["-x"], 2, "unknown option -x; known: "),
    (["-i", "70000"], 2, r"-i 70000.*allowed: 0\.\.65535"),
    (["-p", "nosuch"], 2, "nosuch: unknown protocol; known: .*tcpip"),
    (["-p", "tcpip", "nosuch"], 2, "unknown option nosuch"),
    (["-p", "tcpip", "mclbytes=1"], 2, r"mclbytes=1.*allowed: 2048\.\.65536"),
    (["-p", "tcpip", "fastforward=1"], 2, "fastforward: not built yet"),
    (["-w", "3"], 2, "-w: not built yet"),
    (["leftover"], 2, "leftover.*left-over word"),
    (["-p", "tcpip", f"prefix={LONG}"], 2, "too long for a socket address; allowed: at most"),
    (["-p", "tcpip", "prefix=/proc/nosuch"], 1, "cannot make /proc/nosuch.*a directory that is writable"),
])
def test_a_bad_command_line_is_refused(short_path, words, status, said):
    prefix = [] if any("prefix=" in w for w in words) else ["-p", "tcpip", f"prefix={short_path}"]
    done = subprocess.run([PROGRAM, "--foreground", "-i", "901", *words, *prefix], capture_output=True, text=True, timeout=LIMIT,
                          env=dict(os.environ, IOPKT_RUN_DIR=str(short_path / "run")))
    assert done.returncode == status and re.search(said, done.stderr), f"{done.returncode}: {done.stderr}"
    assert done.stderr.count("\n") == 1, f"more than one line: {done.stderr}"
    assert not (short_path / "dev/socket/config").exists()


@pytest.mark.parametrize("same", ["number", "prefix"])
def test_a_second_stack_is_refused(own_lab, same):
    lab = own_lab()
    first = lab.stack
    second = Stack(lab.folder, lab.home, [], instance=first.instance if same == "number" else None,
                   prefix=lab.folder / "other" if same == "number" else first.prefix)
    done = subprocess.run(second.command() + ["--foreground"], capture_output=True, text=True, timeout=LIMIT,
                          env=second.environment(preload=False))
    assert done.returncode != 0
    named = str(first.instance) if same == "number" else str(first.prefix)
    assert named in done.stderr, done.stderr
    # The first one has not noticed.
    lab.run(False, "ping", "-n", "-c", 1, OURS)
    assert first.interface("en0")["addresses"][0]["address"] == OURS


def test_a_second_stack_on_the_same_interface_is_refused(own_lab):
    lab = own_lab("veth")
    words = ["-d", "packet", f"netns={lab.wire.name},if=wire0"]
    second = Stack(lab.folder, lab.home, words, prefix=lab.folder / "other")
    done = subprocess.run(second.command() + ["--foreground"], capture_output=True, text=True, timeout=LIMIT,
                          env=second.environment(preload=False))
    assert done.returncode == 1 and "another stack answers for" in done.stderr, done.stderr
    lab.run(False, "ping", "-n", "-c", 1, OURS)
    # A station of its own may share the wire.
    beside = Stack(lab.folder, lab.home, [*words[:2], words[2] + ",mac=0200000000aa"], prefix=lab.folder / "beside").start()
    beside.stop()
    # And what a killed stack held is free at once.
    lab.stack.kill()
    lab.start_stack()
    lab.run(False, "ping", "-n", "-c", 1, OURS)


HOLD = """
import signal, socket, sys
with socket.create_server((sys.argv[1], 7000), backlog=512) as listener:
    print('ready', flush=True)
    kept = []
    try:
        while True: kept.append(listener.accept()[0])
    except OSError: signal.pause()
"""
OPEN = """
import socket, sys
kept = [socket.create_connection((sys.argv[1], 7000)) for _ in range(int(sys.argv[2]))]
print('ready', flush=True)
ends = []
for one in kept:
    one.settimeout(10)
    try: ends.append(one.recv(1))
    except OSError as error: ends.append(type(error).__name__)
print({end: ends.count(end) for end in set(ends)}, flush=True)
"""


def test_the_end_of_the_stack_resets_every_connection(own_lab):
    """More of them than a device's queue has places."""
    lab = own_lab()
    ready(lab.start(True, PYTHON, "-c", HOLD, OURS))
    peers = lab.start(False, PYTHON, "-c", OPEN, OURS, 3000)
    ready(peers)
    lab.stack.stop()
    assert "{'ConnectionResetError': 3000}" in peers.wait()


# ---- helpers


def ready(program, word="ready"):
    wait_until(lambda: word in program.text().split() or not program.running(), f"{word} of {program.name}")
    assert word in program.text().split(), f"{program.name} ended: {program.text()}"


class Transfer:
    """A bystander: a file that goes to a program on the stack for as long as the test wants, checked each time."""

    def __init__(self, lab):
        self.lab = lab
        path, self.wanted = lab.file("bystander", 4 * MEGABYTE)
        self.server = lab.start_in_peer(PYTHON, "-m", "http.server", FILE_PORT, "--bind", PEER, "--directory", path.parent)
        lab.wait_listening(False, FILE_PORT, self.server)
        self.client = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "fetch.py", f"http://{PEER}:{FILE_PORT}/bystander", 1000000)
        self.more(1)

    def hashes(self):
        return self.client.text().split()

    def more(self, count=2):
        """Returns when it has gone on so many times."""
        target = len(self.hashes()) + count
        wait_until(lambda: len(self.hashes()) >= target or not self.client.running(), lambda: self.client.text()[-500:])
        assert self.client.running(), self.client.text()[-2000:]

    def stop(self):
        self.more()
        # The last word may be half a hash.
        assert set(self.client.text().split("\n")[:-1]) == {self.wanted}
        self.client.kill()
        self.server.kill()


# ---- clients that are killed


def start_victim(lab, state):
    """The victim in its state, and its peer, if any."""
    modes = {"unread": "accept-send", "shut": "accept-close"}
    if state == "listening":
        victim = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "victim.py", state, OURS, PORT)
        ready(victim)
        peer = lab.start_in_peer(PYTHON, "-u", PROGRAMS / "peer.py", "connect", OURS, PORT, 5, stdin=subprocess.PIPE)
        ready(peer, "connected")
        return victim, peer
    if state in ("connecting", "datagrams"):
        # Nobody has this address; nobody reads this port.
        address = "10.9.0.77" if state == "connecting" else PEER
        receiver = None
        if state == "datagrams":
            receiver = lab.start_in_peer("socat", "-u", f"UDP4-RECV:{PORT}", "STDOUT")
            lab.wait_listening(False, PORT, receiver, protocol="udp")
        victim = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "victim.py", state, address, PORT)
        ready(victim)
        return victim, receiver
    peer = lab.start_in_peer(PYTHON, "-u", PROGRAMS / "peer.py", modes.get(state, "accept"), PEER, PORT, stdin=subprocess.PIPE)
    lab.wait_listening(False, PORT, peer)
    victim = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "victim.py", state, PEER, PORT)
    ready(victim)
    return victim, peer


@pytest.mark.parametrize("state", ["idle", "polling", "full", "unread", "listening", "connecting", "shut", "datagrams"])
def test_killed_client(lab, state):
    bystander = Transfer(lab)
    before = sum(s["local_port"] not in (0, FILE_PORT) and s["remote_port"] != FILE_PORT for s in lab.stack.sockets())
    descriptors = lab.stack.descriptors()
    victim, peer = start_victim(lab, state)
    bystander.more()
    victim.kill()
    if peer is not None and peer.process.stdin is not None:
        peer.process.stdin.write(b"\n")
        peer.process.stdin.close()
        said = peer.wait().split()
        ends = [word for word in said if word in ("fin", "reset")]
        assert len(ends) == {"listening": 5, "shut": 2}.get(state, 1), said
        # As on a kernel: unread data makes it a reset, and so does a listener with connections nobody took.
        wanted = {"unread": {"reset"}, "listening": {"reset"}}.get(state, {"fin"})
        assert set(ends) == wanted, said
    elif peer is not None:
        peer.kill()
    bystander.stop()
    wait_until(lambda: not [s for s in lab.stack.sockets() if PORT in (s["local_port"], s["remote_port"])],
               lambda: "the victim's sockets to go:\n" + lab.stack.utility("netstat", "-an"))
    lab.settled(before, descriptors)


def kill_and_wait(pid):
    """For a process that is not ours to wait for: dead is dead, also when nobody has asked for its status yet."""
    def dead():
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True
    os.kill(pid, signal.SIGKILL)
    wait_until(dead, f"the end of process {pid}")


def listens(lab):
    return [s for s in lab.stack.sockets(states=("LISTEN",)) if s["local_port"] == PORT]


@pytest.mark.parametrize("kind", ["listening", "accepting", "holders", "forking"])
def test_killed_server(lab, kind):
    """The listener ends with its last holder: nobody has to try it, and another server has the port at once."""
    bystander = Transfer(lab)
    victim = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "victim.py", kind, OURS, PORT)
    ready(victim)
    served = None
    if kind == "holders":
        children = [int(word) for word in victim.text().split()[1:]]
        victim.kill(children=False)
        kill_and_wait(children[0])
        assert listens(lab), "one is left that holds it"
        kill_and_wait(children[1])
    elif kind == "forking":
        served = lab.start_in_peer("socat", "-", f"TCP4:{OURS}:{PORT}", stdin=subprocess.PIPE)
        ready(victim, "serving")
        victim.kill(children=False)
    else:
        victim.kill()
    wait_until(lambda: not listens(lab), lambda: "the end of the listener:\n" + lab.stack.utility("netstat", "-an"))
    lab.run(False, "socat", "-u", "STDIN", f"TCP4:{OURS}:{PORT}", status=1)
    for _ in range(3):
        again = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "victim.py", "listening", OURS, PORT)
        ready(again)
        again.kill()
    if served is not None:
        served.process.stdin.write(b"still served\n")
        served.process.stdin.close()
        assert served.wait() == "still served\n"
    bystander.stop()


def test_clients_killed_at_any_moment(lab):
    """Programs that make connections as fast as they can, killed after ever different times; nothing stays behind."""
    sockets, descriptors = len(lab.stack.sockets()), lab.stack.descriptors()
    server = lab.start_in_peer("socat", f"TCP4-LISTEN:{PORT},reuseaddr,fork,backlog=64", "PIPE")
    lab.wait_listening(False, PORT, server)
    rng = random.Random(1)
    for _ in range(20):
        client = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "busy.py", PEER, PORT)
        made = rng.randrange(0, 40)
        wait_until(lambda: client.text().count("\n") >= made or not client.running(), lambda: client.text())
        assert client.running(), client.text()
        client.kill()
    server.kill()
    lab.settled(sockets, descriptors)


# ---- the stack is killed


def test_killed_stack(own_lab, lab_key):
    """kill -9 under load: every client is told within a second, nothing of ours stays on the host, a restart works."""
    lab = own_lab(*lab_key)
    host = lab.peer if lab.kind == "tap" else lab.wire
    before = host.run(["ip", "-o", "link"]) if lab.kind == "veth" else ""
    bystander = Transfer(lab)
    victims = {}
    for port, state in enumerate(["idle", "polling", "full"], PORT):
        peer = lab.start_in_peer(PYTHON, "-u", PROGRAMS / "peer.py", "accept", PEER, port, stdin=subprocess.PIPE)
        lab.wait_listening(False, port, peer)
        victims[state] = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "victim.py", state, PEER, port)
        ready(victims[state])
    for port, state in enumerate(["accepting", "polling_listener"], PORT):
        victims[state] = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "victim.py", state, OURS, port)
        ready(victims[state])
    victims["connecting"] = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "victim.py", "connecting", "10.9.0.77", PORT)
    ready(victims["connecting"])
    bystander.more()

    # A plain socket whose other end closes at the same time tells how long this machine takes to run a waiting program.
    ours, theirs = socket.socketpair()
    plain = subprocess.Popen([PYTHON, "-c", "import socket, time; socket.socket(fileno=0).recv(1); print(time.monotonic_ns())"],
                             stdin=ours, stdout=subprocess.PIPE, text=True)
    ours.close()
    killed = time.monotonic_ns()
    lab.stack.kill()
    theirs.close()
    usual = (int(plain.communicate(timeout=LIMIT)[0]) - killed) / 1e9

    for state, victim in victims.items():
        said = victim.wait(limit=LIMIT)
        took = (int(said.split()[-1]) - killed) / 1e9
        print(f"{state}: {said.split(chr(10))[-2]} after {took * 1000:.0f} ms; a plain socket: {usual * 1000:.0f} ms")
        assert took < 1 + 4 * usual, f"{state} was told after {took} s"
        if state != "polling":
            assert "failed" in said, f"{state} saw no error: {said}"
    bystander.client.wait(status=None)
    bystander.server.kill()
    # New sockets fail as well, at once.
    late = lab.start_on_stack("curl", "-sS", f"http://{PEER}:{FILE_PORT}/bystander")
    assert late.wait(status=None) and late.process.returncode != 0
    lab.end_programs()

    if lab.kind == "tap":
        wait_until(lambda: PEER_INTERFACE not in host.interfaces(), "the end of the TAP interface")
    else:
        # Undone by the driver's guardian: the interface is down again, as it was found.
        wait_until(lambda: "UP" not in re.search(r"wire0.*?<(.*?)>", host.run(["ip", "-o", "link"])).group(1).split(","),
                   lambda: "wire0 to be down again: " + host.run(["ip", "-o", "link"]) + " before: " + before)
    lab.start_stack()
    lab.run(False, "ping", "-n", "-c", 1, OURS)
    Transfer(lab).stop()


# ---- frames


def interface_mac(lab):
    return lab.stack.interface("en0")["mac"]


def test_malformed_frames(lab):
    seed = os.environ.get("IOPKT_SEED", "7")
    bystander = Transfer(lab)
    before = lab.stack.drops()
    lab.run(False, PYTHON, PROGRAMS / "frames.py", PEER_INTERFACE, PEER, OURS, interface_mac(lab), FILE_PORT, seed, 660)
    bystander.stop()
    grown = {n: v - before.get(n, 0) for n, v in lab.stack.drops().items() if v > before.get(n, 0)}
    print(f"seed {seed}:", grown)
    assert len(grown) >= 8, f"so few names for so many faults: {grown}"
    lab.run(False, "ping", "-n", "-c", 3, "-i", "0.01", OURS)


def test_syn_flood(lab):
    """Half-open connections are bounded and counted; beyond them there are cookies, and the flooded listener still takes connections."""
    bystander = Transfer(lab)
    server = lab.start_on_stack("socat", f"TCP4-LISTEN:{PORT},reuseaddr,fork,backlog=16", "PIPE")
    lab.wait_listening(True, PORT, server)
    other = lab.start_on_stack("socat", f"TCP4-LISTEN:{PORT + 1},reuseaddr,fork,backlog=16", "PIPE")
    lab.wait_listening(True, PORT + 1, other)
    counted = lab.stack.counters("tcp")

    def grown(*what):
        now = lab.stack.counters("tcp")
        return sum(now[f"tcp.{name}"] - counted[f"tcp.{name}"] for name in what)
    # The wire may lose some when the stack is busy: what arrived counts.
    seed = 0
    while grown("half_open.created", "cookies.sent") < 4096 * lab.shards + 1000:
        seed += 1
        assert seed < 20, "the flood does not arrive"
        lab.run(False, PYTHON, PROGRAMS / "syns.py", PEER_INTERFACE, OURS, interface_mac(lab), PORT, seed, 5000)
    bystander.more()
    for port in (PORT + 1, PORT):
        said = lab.run(False, "sh", "-c", f"echo still there | socat -t 30 - TCP4:{OURS}:{port},connect-timeout=50")
        assert said == "still there\n"
    # half_open_max is 4096 per shard.
    held = len(lab.stack.sockets(states=("SYN_RECEIVED",)))
    assert 0 < held <= 4096 * lab.shards
    assert grown("cookies.sent") > 0
    bystander.stop()
    server.kill()
    other.kill()


@pytest.mark.parametrize("kind", ["tap", "veth"])
def test_a_syn_flood_beyond_what_can_be_answered(kind):
    """As fast as the peer sends: what cannot be answered is dropped by name, a transfer goes on, and afterwards all is as it was."""
    with Lab(kind) as lab:
        bystander = Transfer(lab)
        server = lab.start_on_stack("socat", f"TCP4-LISTEN:{PORT},reuseaddr,fork,backlog=16", "PIPE")
        lab.wait_listening(True, PORT, server)
        flood = lab.start_in_peer(PYTHON, "-u", PROGRAMS / "syns.py", PEER_INTERFACE, OURS, interface_mac(lab), PORT, 5, 0)

        # While connections have work SYNs are left in the driver's queue, which is soon full.
        def dropped():
            return lab.stack.interface("en0")["device"]["rx_openings_dropped"]
        wait_until(lambda: dropped() > 1000, lambda: f"{dropped()} dropped: {lab.stack.drops()} {flood.text()}")
        bystander.more(4)
        assert flood.running(), flood.text()
        flood.kill()
        said = lab.run(False, "sh", "-c", f"echo still there | socat -t 30 - TCP4:{OURS}:{PORT},connect-timeout=50")
        assert said == "still there\n"
        assert len(lab.stack.sockets(states=("SYN_RECEIVED",))) <= 4096
        bystander.stop()
        server.kill()


# ---- messages


@pytest.mark.parametrize("node,kind", [("config", socket.SOCK_SEQPACKET), ("2", socket.SOCK_STREAM),
                                       ("2.packet", socket.SOCK_SEQPACKET), ("autoconnect", socket.SOCK_SEQPACKET)])
def test_garbage_on_a_node(lab, node, kind):
    rng = random.Random(3)
    sockets, descriptors = len(lab.stack.sockets()), lab.stack.descriptors()
    path = str(lab.stack.prefix / "dev/socket" / node)
    bystander = Transfer(lab)
    for turn in range(60):
        with socket.socket(socket.AF_UNIX, kind) as s:
            s.connect(path)
            s.settimeout(LIMIT)
            try:
                for _ in range(rng.randrange(1, 4)):
                    data = bytearray(rng.randbytes(rng.choice([1, 8, 24, 32, 64, 128, 2048, 60000])))
                    if turn % 2:  # a head that might be one
                        data[:8] = rng.randrange(1, 40).to_bytes(2, "little") + bytes(6)
                    fds = [0] * rng.randrange(3)
                    if fds:
                        socket.send_fds(s, [bytes(data)], fds)
                    else:
                        s.send(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was thrown out
    bystander.stop()
    lab.settled(sockets, descriptors)


def test_connections_that_say_nothing(lab):
    """Held open without a word, and given up: no descriptor stays."""
    descriptors = lab.stack.descriptors()
    kept = []
    for node, kind in (("config", socket.SOCK_SEQPACKET), ("2", socket.SOCK_STREAM), ("2.packet", socket.SOCK_SEQPACKET)):
        for _ in range(50):
            s = socket.socket(socket.AF_UNIX, kind)
            s.connect(str(lab.stack.prefix / "dev/socket" / node))
            kept.append(s)
    Transfer(lab).stop()
    for s in kept:
        s.close()
    wait_until(lambda: lab.stack.descriptors() <= descriptors, lambda: f"{descriptors} descriptors, not {lab.stack.descriptors()}")
