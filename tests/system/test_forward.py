"""The stack as a router between two hosts of the kernel, over two TAPs, and what it learns from a router of the kernel's side."""
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from lab import all_pings, lost_pings
from namespaces import LIMIT, Namespace, wait_until
from stack import PROGRAM6, Stack

LEFT, RIGHT = "10.71.0.2", "10.72.0.2"
LEFT6, RIGHT6 = "fd71::2", "fd72::2"
PYTHON = "/usr/bin/python3"
WIRE = "wire0"


class Router:
    """left -- en0 [stack] en1 -- right"""

    def __init__(self, shards):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="iop"))
        self.folder.chmod(0o755)
        self.started = []
        self.home, self.left, self.right = Namespace("st"), Namespace("le"), Namespace("ri")
        drivers = [word for side, address in ((self.left, LEFT), (self.right, RIGHT))
                   for word in ("-d", "tap", f"netns={side.name},hostip={address}/24,ifname={WIRE}")]
        self.stack = Stack(self.folder, self.home, ["-t", shards, *drivers, "-p", "tcpip", "forward,forward6"], program=PROGRAM6)

    def __enter__(self):
        try:
            self.stack.start()
            for number, side in ((71, self.left), (72, self.right)):
                interface = f"en{number - 71}"
                self.stack.utility("if_up", "-p", interface)
                self.stack.utility("ifconfig", interface, f"10.{number}.0.1/24")
                self.stack.utility("ifconfig", interface, "inet6", f"fd{number}::1/64")
                side.run(["ip", "link", "set", "lo", "up"])
                for value, name in ((0, "accept_dad"), (0, "accept_ra"), (0, "disable_ipv6")):
                    side.run(["sh", "-c", f"echo {value} > /proc/sys/net/ipv6/conf/{WIRE}/{name}"])
                side.run(["ip", "address", "add", f"fd{number}::2/64", "dev", WIRE, "nodad"])
                side.run(["ip", "route", "add", "default", "via", f"10.{number}.0.1"])
                side.run(["ip", "-6", "route", "add", "default", "via", f"fd{number}::1"])
                self.stack.utility("if_up", "-l", interface)
            wait_until(self._addresses_settled, lambda: self.stack.utility("ifconfig", "-a"))
        except BaseException:
            self.close(check=False)
            raise
        return self

    def _addresses_settled(self):
        shown = self.stack.json("ifconfig", "-a")["interfaces"]
        return not any("tentative" in a.get("flag_names", "") for i in shown for a in i["addresses"])

    def __exit__(self, kind, *_):
        self.close(check=kind is None)

    def close(self, check):
        for process in self.started:
            process.kill()
            process.wait()
        try:
            self.stack.stop() if check else self.stack.kill()
        finally:
            self.stack.kill()
            for namespace in (self.home, self.left, self.right):
                namespace.delete()
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, side, *words, said):
        """A server; returns when it has printed `said`."""
        process = subprocess.Popen(side.command(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder)
        self.started.append(process)
        for line in process.stdout:
            if said in line:
                return process
        raise AssertionError(f"{words} ended with {process.wait()}")


@pytest.fixture(params=[1, 2], ids=["1", "2"], scope="module")
def router(request):
    with Router(request.param) as made:
        yield made
        assert made.stack.running(), "the stack has ended:\n" + made.stack.log()


def test_pings_pass(router):
    for address in (RIGHT, RIGHT6):
        assert not lost_pings(router.left.run(["ping", *all_pings(3), address]), 3)
        # In fragments, and as large as they come.
        assert not lost_pings(router.left.run(["ping", *all_pings(2), "-s", 20000, address]), 2)


@pytest.mark.parametrize("address", [RIGHT, RIGHT6])
def test_every_hop_shows(router, address):
    hops = router.left.run(["traceroute", "-n", "-q", 1, "-w", 5, "-m", 4, address]).splitlines()[1:]
    assert [line.split()[1] for line in hops] == [("fd71::1" if ":" in address else "10.71.0.1"), address]


@pytest.mark.parametrize("address", [RIGHT, RIGHT6])
def test_a_page_is_fetched_through(router, address):
    page = router.folder / "page"
    page.write_bytes(bytes(range(256)) * 8192)
    port = "8071" if ":" in address else "8072"
    router.start(router.right, PYTHON, "-u", "-m", "http.server", port, "--bind", address, said="Serving")
    url = f"http://[{address}]:{port}/page" if ":" in address else f"http://{address}:{port}/page"
    got = subprocess.run(router.left.command(["curl", "-sS", "--max-time", str(LIMIT), url]), capture_output=True, timeout=2 * LIMIT)
    assert got.returncode == 0, got.stderr
    assert got.stdout == page.read_bytes()


@pytest.mark.parametrize("address", [RIGHT, RIGHT6])
@pytest.mark.parametrize("words", [[], ["-R"], ["-u", "-b", "20M", "-l", "1200"]], ids=["tcp", "reverse", "udp"])
def test_iperf(router, address, words):
    server = router.start(router.right, "iperf3", "-s", "-1", "--forceflush", "-B", address, said="listening")
    router.left.run(["iperf3", "-c", address, "-t", 1, *words])
    server.wait(LIMIT)


def test_who_sends_hears_why_not(router):
    def refused(address, words=()):
        done = subprocess.run(router.left.command(["ping", "-n", "-c", "1", "-W", "5", *words, address]), capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode != 0
        return done.stdout
    assert "From 10.71.0.1 icmp_seq=1 Destination Net Unreachable" in refused("192.0.2.1")
    assert "From fd71::1 icmp_seq=1 Destination unreachable: No route" in refused("2001:db8::1")
    assert "Time to live exceeded" in refused(RIGHT, ["-t", "1"])
    assert "Time exceeded: Hop limit" in refused(RIGHT6, ["-t", "1"])
    # Nobody is at the last hop.
    assert "From 10.71.0.1 icmp_seq=1 Destination Host Unreachable" in refused("10.72.0.99")
    assert "From fd71::1 icmp_seq=1 Destination unreachable: Address unreachable" in refused("fd72::99")


def test_a_narrower_link_is_found_out(router):
    router.stack.utility("ifconfig", "en1", "mtu", "1400")
    try:
        for address in (RIGHT, RIGHT6):
            found = router.left.run(["tracepath", "-n", "-m", "4", address])
            assert "pmtu 1400" in found and "reached" in found, found
    finally:
        router.stack.utility("ifconfig", "en1", "mtu", "1500")
        for side in (router.left, router.right):
            side.run(["ip", "route", "flush", "cache"])
            side.run(["ip", "-6", "route", "flush", "cache"])


def test_forwarding_is_switched(router):
    assert router.stack.utility("sysctl", "-n", "net.inet.ip.forwarding", "net.inet6.ip6.forwarding") == "1\n1\n"
    router.stack.utility("sysctl", "-w", "net.inet.ip.forwarding=0")
    router.stack.utility("sysctl", "-w", "net.inet6.ip6.forwarding=0")
    try:
        for address in (RIGHT, RIGHT6):
            assert subprocess.run(router.left.command(["ping", "-n", "-c", "1", "-W", "1", address]), capture_output=True, timeout=LIMIT).returncode == 1
    finally:
        router.stack.utility("sysctl", "-w", "net.inet.ip.forwarding=1")
        router.stack.utility("sysctl", "-w", "net.inet6.ip6.forwarding=1")
    router.left.run(["ping", "-n", "-c", 1, RIGHT])
    router.left.run(["ping", "-n", "-c", 1, RIGHT6])
