"""Two hosts for tests: a stack of ours with its programs, and the kernel as its peer, over TAP or veth/AF_PACKET.

Programs run in a namespace where only a lo exists, and that is down: what goes through, went through our stack.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from namespaces import LIMIT, Namespace, command_output, wait_until
from stack import BUILD, PROGRAM, PROGRAM6, Stack

PEER = "10.9.0.1"
OURS = "10.9.0.2"
PEER6 = "fd09::1"
OURS6 = "fd09::2"
PEER_INTERFACE = "peer0"
FULL = os.environ.get("IOPKT_SYSTEM_FULL", "") not in ("", "0")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def all_pings(count):
    """Words for ping: with a limit for all it waits for each of `count` answers; without, only two round trips after the last question."""
    return ["-n", "-i", "0.01", "-w", str(LIMIT), "-c", str(count)]


def lost_pings(said, count):
    """Which of the first `count` questions were not answered."""
    return set(range(1, count + 1)) - {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl=", said)}


class Running:
    """A program that runs, with what it printed so far in a file."""

    def __init__(self, name, process, out):
        self.name, self.process, self.out = name, process, out

    @property
    def pid(self):
        return self.process.pid

    def text(self):
        return self.out.read_text(errors="replace")

    def running(self):
        return self.process.poll() is None

    def wait(self, status=0, limit=LIMIT):
        try:
            got = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} hangs; it printed:\n{self.text()}") from None
        assert status is None or got == status, f"{self.name} ended with {got}; it printed:\n{self.text()}"
        return self.text()

    def stop(self):
        if self.running():
            self.process.terminate()
            try:
                self.process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} did not end on SIGTERM; it printed:\n{self.text()}") from None

    def kill(self, children=True):
        """With all that it has started, unless they made a session of their own."""
        if self.running():  # not reaped yet, so the number is still its own
            (os.killpg if children else os.kill)(self.pid, signal.SIGKILL)
            self.process.wait()


class Path:
    """The project's impairment between two TAPs, one in each namespace: what is set holds from then on. Direction "ab." is from the
    first to the second."""

    def __init__(self, a, b, *words):
        self.process = subprocess.Popen([BUILD / "tests" / "programs" / "impair", a, b, *words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def _ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def set(self, *words):
        """E.g. set("loss=0.1", "ab.delay=10"); see tests/link/impair.cpp."""
        assert (answer := self._ask(" ".join(words))) == "ok", answer

    def counts(self):
        """What became of frames: {"ab": {"in": 5, ...}, "ba": ...}."""
        out = {}
        for word in self._ask("counts").split():
            name, _, value = word.partition("=")
            if not value:
                one = out[name] = {}
            else:
                one[name] = int(value)
        return out

    def close(self):
        self.process.stdin.close()
        self.process.wait(LIMIT)


class Lab:
    """`family` "inet6": the v6 variant, with addresses of both families at both ends; programs are given those of IPv6. "link": they are
    given link-local addresses, with their zone (RFC 4007): the interface is called en0 on both sides.
    `kind`: tap, veth, or path: AF_PACKET on one end of `path`, a Path whose other end ("ba.": from us to it) is the peer's."""

    def __init__(self, kind="tap", shards=1, family="inet", options=()):
        self.kind, self.shards, self.family, self.options = kind, shards, family, list(options)
        self.path = None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="iop"))  # short: socket addresses hold 107 bytes
        self.folder.chmod(0o755)
        self.namespaces, self.programs, self._count = [], [], 0
        self.stack = None

    # ---- life

    def __enter__(self):
        try:
            self.home = self.namespace("st")
            self.peer = self.namespace("pe")
            self.peer.run(["ip", "link", "set", "lo", "up"])
            self.wire = self.namespace("wi") if self.kind != "tap" else None
            if self.kind == "veth":
                self._make_veth()
            elif self.kind == "path":
                self._make_path()
            self.start_stack()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, *_):
        self.close(check=kind is None)

    def namespace(self, label):
        made = Namespace(label)
        self.namespaces.append(made)
        return made

    def _make_veth(self):
        self.peer.run(["ip", "link", "add", self.peer_interface, "type", "veth", "peer", "name", "wire0", "netns", self.wire.name])
        self.peer.run(["ip", "address", "add", f"{PEER}/24", "dev", self.peer_interface])
        self.peer.run(["ip", "link", "set", self.peer_interface, "up"])

    def _make_path(self):
        self.path = Path(f"{self.peer.name},{PEER_INTERFACE}", f"{self.wire.name},wire0")
        for namespace, interface in ((self.peer, PEER_INTERFACE), (self.wire, "wire0")):
            namespace.run(["ip", "link", "set", interface, "txqueuelen", "10000", "up"])
        self.peer.run(["ip", "address", "add", f"{PEER}/24", "dev", PEER_INTERFACE])

    def driver(self):
        """The words that start the driver whose wire ends at the peer."""
        if self.kind == "tap":
            return ["-d", "tap", f"netns={self.peer.name},hostip={PEER}/24,ifname={self.peer_interface}"]
        return ["-d", "packet", f"netns={self.wire.name},if=wire0"]

    @property
    def inet6(self):
        return self.family in ("inet6", "link")

    @property
    def peer_interface(self):
        return "en0" if self.family == "link" else PEER_INTERFACE

    def _give_peer_inet6(self):
        """The peer's end speaks IPv6, and its addresses can be used at once."""
        for setting in ("accept_dad=0", "accept_ra=0", "disable_ipv6=0"):
            name, value = setting.split("=")
            self.peer.run(["sh", "-c", f"echo {value} > /proc/sys/net/ipv6/conf/{self.peer_interface}/{name}"])
        self.peer.run(["ip", "address", "add", f"{PEER6}/64", "dev", self.peer_interface, "nodad"])

    def start_stack(self):
        instance = self.stack.instance if self.stack else None
        words = ["-t", self.shards, *self.driver(), *self.options]
        self.stack = Stack(self.folder, self.home, words, instance=instance, program=PROGRAM6 if self.inet6 else PROGRAM)
        self.stack.start()
        self.stack.utility("if_up", "-p", "en0")
        self.stack.utility("ifconfig", "en0", f"{OURS}/24")
        self.stack.utility("if_up", "-l", "en0")
        if self.inet6:
            self._give_peer_inet6()
            self.stack.utility("ifconfig", "en0", "inet6", f"{OURS6}/64")
            wait_until(self._has_address6, lambda: "an address that is nobody else's: " + self.stack.utility("ifconfig", "en0"))
        return self.stack

    def _has_address6(self):
        mine = [a for a in self.stack.interface("en0")["addresses"] if a["family"] == "inet6"]
        return len(mine) >= 2 and not any("tentative" in a.get("flag_names", "") for a in mine)

    def close(self, check=True):
        self.end_programs()
        try:
            if self.stack is not None:
                if check:
                    self.stack.stop()
                else:
                    self.stack.kill()
        finally:
            if self.stack is not None:
                self.stack.kill()
            if self.path is not None:
                self.path.close()
            for namespace in self.namespaces:
                namespace.delete()
            shutil.rmtree(self.folder, ignore_errors=True)

    def end_programs(self):
        for program in self.programs:
            program.kill()
        self.programs.clear()

    def report(self):
        """For a failed test: what the stack logged and counted, and the end of what programs printed."""
        parts = ["---- the stack's log\n" + self.stack.log()]
        if self.stack.running():
            for words in (["ifconfig", "-a"], ["netstat", "-an"], ["netstat", "-m"], ["netstat", "-s", "-s"]):
                try:
                    parts.append(f"---- {' '.join(words)}\n" + self.stack.utility(*words))
                except (AssertionError, subprocess.TimeoutExpired) as fault:
                    parts.append(str(fault))
        for program in self.programs[-6:]:
            parts.append(f"---- {program.name}\n" + program.text()[-4000:])
        return "\n".join(parts)

    # ---- programs

    def _start(self, command, words, more):
        self._count += 1
        out = self.folder / f"out{self._count}"
        with open(out, "wb") as file:
            more = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": subprocess.STDOUT, **more}
            process = subprocess.Popen(command, cwd=self.folder, start_new_session=True, **more)
        program = Running(" ".join(str(w) for w in words)[:200], process, out)
        self.programs.append(program)
        return program

    def start_on_stack(self, *words, env=None, **more):
        environment = self.stack.environment(preload=False, **(env or {}))
        return self._start(self.stack.command_on(words), words, {"env": environment, **more})

    def start_in(self, namespace, *words, env=None, **more):
        return self._start(namespace.command(words), words, {"env": dict(os.environ, **(env or {})), **more})

    def start_in_peer(self, *words, **more):
        return self.start_in(self.peer, *words, **more)

    def start(self, on_stack, *words, **more):
        return (self.start_on_stack if on_stack else self.start_in_peer)(*words, **more)

    def run(self, on_stack, *words, status=0, limit=LIMIT, **more):
        """What the program printed; it must end with `status` (None: any)."""
        return self.start(on_stack, *words, **more).wait(status, limit)

    def link_local(self, on_stack):
        """The one link-local address there, without its zone."""
        if on_stack:
            found = [a["address"].split("%")[0] for a in self.stack.interface("en0")["addresses"] if a["address"].startswith("fe80")]
        else:
            shown = json.loads(self.peer.run(["ip", "-j", "-6", "address", "show", "dev", self.peer_interface, "scope", "link"]))
            found = [a["local"] for i in shown for a in i.get("addr_info", []) if "local" in a]
        assert len(found) == 1, found
        return found[0]

    def address(self, on_stack):
        if self.family == "link":
            return f"{self.link_local(on_stack)}%en0"
        if self.inet6:
            return OURS6 if on_stack else PEER6
        return OURS if on_stack else PEER

    def host(self, on_stack):
        """The address as an URL has it."""
        return f"[{self.address(on_stack)}]" if self.inet6 else self.address(on_stack)

    @property
    def any(self):
        return "::" if self.inet6 else "0.0.0.0"

    def wait_listening(self, on_stack, port, program=None, protocol="tcp"):
        """Returns when something listens on the port, there."""
        def listens():
            assert program is None or program.running(), f"{program.name} ended:\n{program.text()}"
            if not on_stack:
                flags = "-Hltn" if protocol == "tcp" else "-Hlun"
                return f":{port} " in self.peer.run(["ss", flags])
            state = "LISTEN" if protocol == "tcp" else ""
            return any(s["local_port"] == port and s["protocol"] == protocol and s["state"] == state for s in self.stack.sockets())
        wait_until(listens, lambda: f"port {port}: {program.text() if program else ''}")

    # ---- data

    def file(self, name, size):
        """A file of random bytes, and its hash."""
        path = self.folder / name
        with open(path, "wb") as file:
            left = size
            while left > 0:
                left -= file.write(os.urandom(min(left, 1 << 20)))
        path.chmod(0o644)
        return path, sha256(path)

    def directory(self, name):
        path = self.folder / name
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
        return path

    def settled(self, sockets, descriptors):
        """Returns when sockets and descriptors of the stack are back at these counts."""
        def counts():
            return len(self.stack.sockets()), self.stack.descriptors()
        wait_until(lambda: all(now <= then for now, then in zip(counts(), (sockets, descriptors))),
                   lambda: f"{(sockets, descriptors)} sockets and descriptors, now {counts()}:\n"
                   + self.stack.utility("netstat", "-an"))
