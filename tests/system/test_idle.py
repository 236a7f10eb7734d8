"""An idle stack does nothing at all; what it and an idle connection cost in memory is printed."""
import os
import pathlib
import re
import resource
import subprocess
import time

from lab import PEER
from namespaces import wait_until
from stack import no_thread_sanitizer

pytestmark = no_thread_sanitizer

PROGRAMS = pathlib.Path(__file__).parent / "programs"
PYTHON = "/usr/bin/python3"
PORT, WATCHED = 7201, 2.0
# Each is a descriptor in the stack, in its client and in the peer, and an ephemeral port.
CONNECTIONS = min(15_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] * 3 // 4) if os.environ.get("IOPKT_SYSTEM_FULL") else 500


def tasks(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        status = pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text()
        ticks = pathlib.Path(f"/proc/{pid}/task/{task}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        yield int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M).group(1)), sum(map(int, ticks))


def activity(pid):
    """Voluntary context switches of all threads, and their CPU time in clock ticks."""
    rows = list(tasks(pid))
    return sum(r[0] for r in rows), sum(r[1] for r in rows)


def memory(pid):
    """Kilobytes that are the process's own: {"Rss": ..., "Pss": ..., "Private_Dirty": ...}."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}


def kernel_memory():
    """Kilobytes of slabs of the whole machine: other programs move it, too."""
    return int(re.search(r"^Slab:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M).group(1))


def quiet_for(pid, seconds):
    """What one watch saw: switches per second and clock ticks of CPU."""
    before, start = activity(pid), time.monotonic()
    time.sleep(seconds)  # the thing measured is that nothing happens in this time
    after = activity(pid)
    return (after[0] - before[0]) / (time.monotonic() - start), after[1] - before[1]


def test_idle_stack(own_lab, lab_key):
    lab = own_lab(*lab_key)
    # The peer's kernel may still have something to say in the first seconds (ARP, timers).
    wait_until(lambda: quiet_for(lab.stack.pid, WATCHED) == (0.0, 0) or None, lambda: "a quiet while: per second "
               f"{quiet_for(lab.stack.pid, WATCHED)}")
    print("idle stack: 0 context switches per second, no CPU time;", memory(lab.stack.pid)["Pss"], "KB")


def test_idle_connections(own_lab):
    lab = own_lab("tap", 1)
    server = lab.start_in_peer(PYTHON, "-u", PROGRAMS / "idle_server.py", PEER, PORT)
    lab.wait_listening(False, PORT, server)
    before, slab = memory(lab.stack.pid), kernel_memory()
    client = lab.start_on_stack(PYTHON, "-u", PROGRAMS / "idle_client.py", PEER, PORT, CONNECTIONS, stdin=subprocess.PIPE)
    wait_until(lambda: "connected" in client.text() or not client.running(), lambda: client.text())
    assert client.running(), client.text()
    after, slab_after = memory(lab.stack.pid), kernel_memory()
    print(f"{CONNECTIONS} idle connections: the stack's own {(after['Private_Dirty'] - before['Private_Dirty']) / CONNECTIONS:.2f} KB, "
          f"with shared memory {(after['Rss'] - before['Rss']) / CONNECTIONS:.2f} KB, the kernel (whole machine, with the peer's "
          f"own sockets) {(slab_after - slab) / CONNECTIONS:.2f} KB each")
    wait_until(lambda: quiet_for(lab.stack.pid, WATCHED) == (0.0, 0) or None, "a quiet while with connections")
    descriptors = lab.stack.descriptors()
    client.process.stdin.close()
    client.wait()
    server.kill()
    wait_until(lambda: lab.stack.descriptors() <= descriptors - CONNECTIONS, lambda: f"{lab.stack.descriptors()} descriptors")
