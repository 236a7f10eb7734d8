"""Network namespaces for tests: made under a name of their own, and deleted with all that still runs in them."""
import itertools
import os
import signal
import subprocess
import time

_numbers = itertools.count(1)
LIMIT = 60  # seconds; only ends what hangs


def wait_until(condition, what, limit=LIMIT):
    """Waits until condition() is true and returns what it gave; fails with `what` when that never comes."""
    end = time.monotonic() + limit
    pause = 0.005
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {limit} s for {what() if callable(what) else what}"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return value


def command_output(words, **more):
    """What a command prints; fails with all that it said when its exit status is not 0."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, errors="replace", timeout=LIMIT, **more)
    assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


class Namespace:
    """A network namespace without any working interface: its own lo is down."""

    def __init__(self, label):
        self.name = f"ioptest-{os.getpid()}-{next(_numbers)}-{label}"
        command_output(["ip", "netns", "add", self.name])
        # Interfaces that are made here later speak no IPv6 of their own accord.
        self.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"])

    @property
    def path(self):
        return f"/run/netns/{self.name}"

    def command(self, words):
        """The words that run a command here, under the same process id."""
        return ["nsenter", f"--net={self.path}", "--", *[str(w) for w in words]]

    def run(self, words):
        return command_output(self.command(words))

    def interfaces(self):
        listed = self.run(["ip", "-o", "link"]).splitlines()
        return {line.split(": ")[1].split("@")[0] for line in listed}

    def delete(self):
        """Ends every process that is left here, which can only be one that a test started."""
        def left():
            pids = [int(p) for p in command_output(["ip", "netns", "pids", self.name]).split()]
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except (ProcessLookupError, ChildProcessError):
                    pass
            return pids
        wait_until(lambda: not left(), f"the end of the processes in {self.name}")
        command_output(["ip", "netns", "del", self.name])
