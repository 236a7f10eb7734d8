"""The page's own command lines with a real driver, and the commands against a running stack: no privilege is needed."""
import json
import os
import pathlib
import subprocess
import time

import pytest

from shim_support import BUILD, SHIM, STACK
from stack import UTILITIES, utility

IOPKT = utility("iopkt")
LIMIT = 30

pytestmark = pytest.mark.skipif(not (BUILD / "lib" / "io-pkt" / "devnp-slirp.so").exists(),
                                reason="devnp-slirp.so was not built")


class Machine:
    """Stacks that share a run directory, as on one machine; each goes to the background by itself."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.run_directory = self.folder / "run"
        self.run_directory.mkdir(mode=0o700)
        self.started = []

    def environment(self, prefix=None):
        env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "SOCK", "NOTIFY_SOCKET")}
        env["IOPKT_RUN_DIR"] = str(self.run_directory)
        if prefix is not None:
            env["SOCK"] = str(self.folder / prefix)
        return env

    def start(self, *words, prefix, instance=0):
        (self.folder / prefix).mkdir(exist_ok=True)
        done = subprocess.run([STACK, *words, "-p", "tcpip", f"prefix={self.folder / prefix}"], env=self.environment(),
                              capture_output=True, text=True, timeout=LIMIT)
        if done.returncode == 0:
            self.started.append(instance)
        return done

    def run(self, *words, prefix=None, status=0):
        """A command of ours; answers its standard output."""
        done = subprocess.run([utility(words[0]), *words[1:]], env=self.environment(prefix), capture_output=True, text=True,
                              timeout=LIMIT)
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if status == 0 else done.stderr

    def interfaces(self, prefix):
        return {i["name"]: i for i in json.loads(self.run("ifconfig", "-a", "--json", prefix=prefix))["interfaces"]}

    def close(self):
        for instance in self.started:
            subprocess.run([IOPKT, "stop", "-i", str(instance)], env=self.environment(), timeout=LIMIT, check=True)


@pytest.fixture
def machine(tmp_path_factory):
    # Short: a node's path has to fit a socket address.
    folder = tmp_path_factory.mktemp("m", numbered=True)
    one = Machine(folder)
    yield one
    one.close()


@pytest.fixture
def slirp(machine):
    done = machine.start("-d", "slirp", prefix="a")
    assert done.returncode == 0, done.stderr
    return machine


def test_two_instances_side_by_side(machine):
    assert machine.start("-d", "slirp", prefix="a").returncode == 0
    assert machine.start("-i1", prefix="alt", instance=1).returncode == 0
    assert set(machine.interfaces("a")) == {"lo0", "en0"}
    assert set(machine.interfaces("alt")) == {"lo0"}
    # Only the second is reached by its number, with no SOCK.
    machine.run("mount", "-Tio-pkt1", "-o", "mac=001122334455", "devnp-slirp.so")
    assert machine.interfaces("alt")["en0"]["mac"] == "00:11:22:33:44:55"
    assert set(machine.interfaces("a")) == {"lo0", "en0"}
    listed = json.loads(machine.run("iopkt", "ps", "--json"))["instances"]
    assert [(i["instance"], pathlib.Path(i["prefix"]).name) for i in listed] == [(0, "a"), (1, "alt")]
    # The same number, the same prefix.
    assert machine.start("-i1", prefix="third").returncode != 0
    assert machine.start("-i2", prefix="a").returncode != 0


def test_names_and_units(machine):
    assert machine.start("-d", "slirp", "name=wan", "-d", "slirp", "name=en,unit=3", prefix="a").returncode == 0
    assert set(machine.interfaces("a")) == {"lo0", "wan0", "en3"}


def test_loopback_is_shown_as_documented(slirp):
    assert slirp.run("ifconfig", "lo0", prefix="a") == ("lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 33192\n"
                                                       "\tinet 127.0.0.1 netmask 0xff000000\n")


def test_a_fresh_interface_gets_the_short_form_of_an_address(slirp):
    assert slirp.run("ifconfig", "en0", prefix="a").startswith("en0: flags=8802<BROADCAST,SIMPLEX,MULTICAST> mtu 1500\n")
    slirp.run("if_up", "-p", "en0", prefix="a")
    slirp.run("if_up", "-r", "1", "-m", "1", "en0", prefix="a", status=1)
    slirp.run("ifconfig", "en0", "10.184", prefix="a")
    text = slirp.run("ifconfig", "en0", prefix="a")
    assert text.startswith("en0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500\n")
    assert "\tinet 10.0.0.184 netmask 0xff000000 broadcast 10.255.255.255\n" in text
    slirp.run("if_up", "-l", "en0", prefix="a")
    slirp.run("ifconfig", "en0", "down", prefix="a")
    assert "\tstatus: no carrier\n" in slirp.run("ifconfig", "en0", prefix="a")
    slirp.run("ifconfig", "-s", "en0", prefix="a", status=1)
    slirp.run("ifconfig", "en0", "up", prefix="a")
    slirp.run("ifconfig", "-s", "en0", prefix="a")


def test_destroy_unloads_the_driver(slirp):
    pid = json.loads(slirp.run("iopkt", "ps", "--json"))["instances"][0]["pid"]
    maps = pathlib.Path(f"/proc/{pid}/maps")
    assert "devnp-slirp.so" in maps.read_text()
    slirp.run("ifconfig", "en0", "destroy", prefix="a")
    assert set(slirp.interfaces("a")) == {"lo0"}
    assert "devnp-slirp.so" not in maps.read_text()
    slirp.run("mount", "-T", "io-pkt", "devnp-slirp.so")
    assert set(slirp.interfaces("a")) == {"lo0", "en0"}


def test_routes(slirp):
    slirp.run("ifconfig", "en0", "10.0.2.15/24", prefix="a")
    assert slirp.run("route", "add", "default", "10.0.2.2", prefix="a") == "add net default: gateway 10.0.2.2\n"
    assert slirp.run("route", "add", "default", "10.0.2.2", prefix="a", status=1) == \
        "route: writing to routing socket: File exists\n"
    assert "  interface: en0\n" in slirp.run("route", "get", "9.9.9.9", prefix="a")
    assert "default            10.0.2.2           UGS" in slirp.run("netstat", "-rn", prefix="a")
    slirp.run("route", "delete", "default", prefix="a")
    slirp.run("route", "get", "9.9.9.9", prefix="a", status=1)


def test_variables(slirp):
    assert slirp.run("sysctl", "net.inet.ip.ttl", prefix="a") == "net.inet.ip.ttl = 64\n"
    assert slirp.run("sysctl", "-w", "net.inet.ip.ttl=77", prefix="a") == "net.inet.ip.ttl: 64 -> 77\n"
    assert slirp.run("sysctl", "-n", "net.inet.ip.ttl", prefix="a") == "77\n"
    assert "1 to 255" in slirp.run("sysctl", "-w", "net.inet.ip.ttl=256", prefix="a", status=1)
    first = int(slirp.run("sysctl", "-n", "kern.hardclock_ticks", prefix="a"))
    time.sleep(0.05)
    assert int(slirp.run("sysctl", "-n", "kern.hardclock_ticks", prefix="a")) >= first + 50


@pytest.mark.parametrize("words", [["arp"], ["if_up"], ["ifconfig"], ["iopkt"], ["iopkt", "ps"], ["iopkt", "run"], ["iopkt", "snapshot"],
                                   ["iopkt", "stop"], ["iopkt", "arp"], ["mount"], ["mount", "-T", "io-pkt"], ["netstat"], ["nicinfo"],
                                   ["ndp"], ["route"], ["rtsol"], ["sysctl"]], ids=" ".join)
def test_help_is_an_answer_and_a_wrong_option_is_not(machine, words):
    assert machine.run(*words, "--help").startswith("usage: ")
    if words[0] != "iopkt" and words != ["mount"]:  # which leave the words behind to others
        assert "usage: " in machine.run(*words, "-@", status=1)


def test_counters_begin_anew(slirp):
    slirp.run("ifconfig", "lo0", prefix="a")
    assert slirp.interfaces("a")["en0"]["counters"]["tx.packets"] == 0
    env = dict(slirp.environment("a"), LD_PRELOAD=str(SHIM))
    send = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"
    subprocess.run(["/usr/bin/python3", "-c", send], env=env, timeout=LIMIT, check=True)
    assert "output: 0 packets" not in slirp.run("ifconfig", "-z", "lo0", prefix="a")
    assert "output: 0 packets" in slirp.run("ifconfig", "-v", "lo0", prefix="a")
    assert "usage: " in slirp.run("ifconfig", "-z", "lo0", "down", prefix="a", status=1)


def test_ephemeral_ports_are_those_of_the_variables(slirp):
    assert "would be above" in slirp.run("sysctl", "-w", "net.inet.ip.anonportmin=65000", "net.inet.ip.anonportmax=64999", prefix="a", status=1)
    slirp.run("sysctl", "-w", "net.inet.ip.anonportmin=20000", "net.inet.ip.anonportmax=20099", prefix="a")
    bound = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
    done = subprocess.run(["/usr/bin/python3", "-c", bound], env=dict(slirp.environment("a"), LD_PRELOAD=str(SHIM)), capture_output=True,
                          text=True, timeout=LIMIT, check=True)
    assert 20000 <= int(done.stdout) <= 20099


@pytest.mark.parametrize("words, said", [
    (["ifconfig", "xyz0"], "ifconfig: interface xyz0 does not exist\n"),
    (["ifconfig", "tap0", "create"], "ifconfig: tap interfaces are not built yet\n"),
    (["mount", "-T", "io-pkt", "nosuch"], "mount: driver nosuch: "),
    (["mount", "-T", "io-pkt", "lsm-pf-v4.so"], "mount: driver lsm-pf-v4.so: modules are not built yet\n"),
    (["ifconfig", "en0", "media", "autoselect"], "ifconfig: media: not built yet\n"),
    (["mount", "-T", "io-pkt", "-o", "did=0x1234", "devnp-slirp.so"],
     "mount: driver slirp: option did=0x1234: chooses a USB device, and this driver is for none"),
    (["mount", "-T", "io-pkt", "-o", "frob=1", "devnp-slirp.so"], "mount: driver slirp: unknown option frob"),
    (["mount", "-T", "io-pkt7", "devnp-slirp.so"], "mount: io-pkt7 is not running\n"),
    (["sysctl", "net.inet.foo"], "sysctl: third level name 'foo' in 'net.inet.foo' is invalid\n"),
    (["nicinfo", "xyz0"], "nicinfo: interface xyz0 does not exist\n"),
    (["arp", "-d", "10.9.9.9"], "arp: cannot locate 10.9.9.9\n"),
])
def test_refusals_are_named(slirp, words, said):
    assert slirp.run(*words, prefix="a", status=1).startswith(said)
    assert set(slirp.interfaces("a")) == {"lo0", "en0"}


def test_a_snapshot_holds_what_the_commands_show(slirp):
    whole = json.loads(slirp.run("iopkt", "-i0", "snapshot"))
    assert {"instance", "pid", "interfaces", "routes", "neighbours", "variables", "protocols", "buffers", "sockets"} <= set(whole)
    assert [i["name"] for i in whole["interfaces"]] == ["lo0", "en0"]
    assert len(whole["variables"]) == len(slirp.run("sysctl", "-a", prefix="a").splitlines())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_others_may_look_but_not_change(slirp):
    for path in [slirp.folder, *slirp.folder.parents]:
        if path.stat().st_uid == 0 and path.stat().st_mode & 0o077 == 0:
            path.chmod(0o711)

    def as_nobody(*words):
        return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", UTILITIES / words[0], *words[1:]],
                              env=slirp.environment("a"), capture_output=True, text=True, timeout=LIMIT)
    assert as_nobody("ifconfig", "-l").stdout == "lo0 en0\n"
    for words in (["ifconfig", "en0", "up"], ["route", "add", "default", "10.0.2.2"], ["arp", "-da"],
                  ["sysctl", "-w", "net.inet.ip.ttl=1"], ["ifconfig", "en0", "destroy"]):
        done = as_nobody(*words)
        assert done.returncode == 1 and "only root" in done.stderr, (words, done.stderr)
    assert slirp.run("sysctl", "-n", "net.inet.ip.ttl", prefix="a") == "64\n"


def test_mount_of_the_host_is_reached_behind_ours(machine):
    env = machine.environment()
    env["PATH"] = f"{UTILITIES}:{env['PATH']}"
    done = subprocess.run(["mount", "--version"], env=env, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0 and "util-linux" in done.stdout


def test_programs_that_lose_the_library_are_refused(machine, tmp_path):
    static = tmp_path / "static"
    source = tmp_path / "static.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-static", "-o", static, source], check=True, timeout=LIMIT)
    done = subprocess.run([IOPKT, "run", static], env=machine.environment(), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 126 and "statically linked" in done.stderr
    done = subprocess.run([IOPKT, "run", "no-such-program"], env=machine.environment(), capture_output=True, text=True,
                          timeout=LIMIT)
    assert done.returncode == 127


def test_run_sets_the_stack_and_the_library(slirp):
    done = subprocess.run([IOPKT, "run", "-i", "0", "env"], env=dict(slirp.environment(), LD_PRELOAD=""), capture_output=True,
                          text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert pathlib.Path(seen["SOCK"]) == slirp.folder / "a"
    assert pathlib.Path(seen["LD_PRELOAD"]).samefile(SHIM)
