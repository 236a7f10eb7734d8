"""A started io-pkt and what is asked of it: readiness, utilities, counts of sockets and descriptors, its log."""
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest

from namespaces import LIMIT, command_output, wait_until

SOURCE = pathlib.Path(os.environ.get("IOPKT_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
BUILD = pathlib.Path(os.environ.get("IOPKT_BUILD_DIR", SOURCE / "build" / "dev"))
PROGRAM = BUILD / "sbin" / "io-pkt-v4-hc"
PROGRAM6 = BUILD / "sbin" / "io-pkt-v6-hc"
SHIM = BUILD / "lib" / "io-pkt" / "libiopkt-socket.so"
UTILITIES = BUILD / "lib" / "io-pkt" / "bin"
_instances = itertools.count(1)


def is_built_with(sanitizer):
    cache = BUILD / "CMakeCache.txt"
    return cache.exists() and re.search(rf"^IOPKT_SANITIZE:STRING=.*\b{sanitizer}\b", cache.read_text(), re.M) is not None


no_thread_sanitizer = pytest.mark.skipif(is_built_with("thread"),
                                         reason="the thread sanitizer brings a thread of its own, which wakes up by itself")


def utility(name):
    """A command by its name: where it collides with the host's, it lies in a directory of its own."""
    path = UTILITIES / name
    return path if path.exists() else BUILD / "bin" / name


class ReadySocket:
    """Where a stack says that it is ready, as a service manager is told. That its nodes are there says less: each is bound first, and
    nobody can connect to it before it listens."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.environment = {"NOTIFY_SOCKET": str(path)}

    def __enter__(self):
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(self.path))
        return self

    def __exit__(self, *_):
        self.socket.close()

    def wait(self, process, log):
        def ready():
            assert process.poll() is None, f"the stack ended with {process.returncode}:\n{log()}"
            try:
                return b"READY=1" in self.socket.recv(4096)
            except BlockingIOError:
                return False
        wait_until(ready, lambda: "the stack's READY:\n" + log())


class Stack:
    """One process. `folder` holds its prefix, its run directory and its log."""

    def __init__(self, folder, namespace, words, instance=None, prefix=None, program=PROGRAM):
        self.folder = pathlib.Path(folder)
        self.namespace = namespace
        self.instance = next(_instances) if instance is None else instance
        self.prefix = pathlib.Path(prefix) if prefix else self.folder / f"p{self.instance}"
        self.run_directory = self.folder / "run"
        self.words = [str(w) for w in words]
        self.program = program
        self.process = None
        self.prefix.mkdir(parents=True, exist_ok=True)

    # ---- life

    def command(self):
        return [str(self.program), "-i", str(self.instance), *self.words, "-p", "tcpip",
                f"prefix={self.prefix}"]

    def start(self):
        """Returns when the stack says that it is ready."""
        self.log_file = open(self.log_path, "ab")
        with ReadySocket(self.folder / f"n{self.instance}") as ready:
            self.process = subprocess.Popen(
                self.namespace.command(self.command()), stdout=self.log_file, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, env=self.environment(preload=False, **ready.environment))
            ready.wait(self.process, self.log)
        return self

    @property
    def log_path(self):
        return self.folder / f"log{self.instance}"

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """Ends it as a service manager does; it must obey with status 0."""
        if self.process is None:
            return
        early = self.process.poll()
        if early is None:
            self.process.terminate()
            try:
                self.process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the stack did not end on SIGTERM:\n{self.log()}")
        status, self.process = self.process.returncode, None
        self.log_file.close()
        assert early is None, f"the stack had ended before, with {early}:\n{self.log()}"
        assert status == 0, f"the stack ended with {status}:\n{self.log()}"

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            self.log_file.close()

    # ---- clients

    def environment(self, preload=True, **more):
        env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "SOCK", "NOTIFY_SOCKET")}
        env.update(IOPKT_RUN_DIR=str(self.run_directory), SOCK=str(self.prefix))
        if preload:
            env["LD_PRELOAD"] = str(SHIM)
        env.update({k: str(v) for k, v in more.items()})
        return env

    def command_on(self, words):
        """The words that run a program on this stack, in its namespace, under the same process id."""
        preload = ["env", f"LD_PRELOAD={SHIM}", f"SOCK={self.prefix}"]
        return self.namespace.command([*preload, *words])

    def utility(self, name, *words):
        return command_output([utility(name), *words], env=self.environment(preload=False))

    def json(self, name, *words):
        return json.loads(self.utility(name, "--json", *words))

    # ---- what it counts

    def sockets(self, states=None):
        """Every socket but those that only wait for old segments to die."""
        found = [s for s in self.json("netstat", "-an")["sockets"] if s.get("state") != "TIME_WAIT"]
        return [s for s in found if states is None or s.get("state") in states]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def counters(self, protocol=None):
        """All counters with their full names: {"tcp.rx.segments": 5, ...}."""
        words = ["-s"] + (["-p", protocol] if protocol else [])
        rows = [row for one in self.json("netstat", *words)["protocols"] for row in one["counters"]]
        return {row["name"]: row["value"] for row in rows}

    def drops(self):
        """Packets dropped, by name of the reason."""
        rows = [row for one in self.json("netstat", "-s")["protocols"] for row in one["drops"]]
        return {row["name"]: row["value"] for row in rows if row["value"] > 0}

    def interface(self, name):
        found = [i for i in self.json("ifconfig", "-a")["interfaces"] if i["name"] == name]
        return found[0] if found else None
