"""dhcp.client against dnsmasq in the peer's namespace."""
import re
import signal

import pytest

from lab import OURS, PEER, PEER_INTERFACE
from namespaces import wait_until
from stack import utility


@pytest.fixture(params=["tap", "veth"])
def lab(request, own_lab):
    return serve(own_lab(kind=request.param))


def serve(lab):
    lab.stack.utility("ifconfig", "en0", "delete")
    lab.server = lab.start_in_peer(
        "dnsmasq", "--no-daemon", "--no-ping",  # of an address before it is offered: 3 s
        "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--log-dhcp", "--port=0",
        f"--interface={PEER_INTERFACE}", "--bind-dynamic", f"--dhcp-range=10.9.0.100,10.9.0.120,255.255.255.0,2m",
        f"--dhcp-option=option:dns-server,{PEER}", "--domain=lab.test", f"--dhcp-leasefile={lab.folder}/leases", "--user=root")
    wait_until(lambda: "DHCP, IP range" in lab.server.text(), lambda: lab.server.text())
    return lab


def start(lab, *words):
    return lab._start([str(utility("dhcp.client")), *words], ["dhcp.client", *words], {"env": lab.stack.environment(preload=False)})


def test_an_address_a_route_and_name_servers(lab):
    resolver = lab.folder / "resolv.conf"
    start(lab, "-u", "-d", "-A", "0", "-t", "3", "-h", "boxes", "-f", str(resolver), "-i", "en0").wait()
    address = re.search(r"inet (10\.9\.0\.1[0-2][0-9]) netmask 0xffffff00 broadcast 10\.9\.0\.255", lab.stack.utility("ifconfig", "en0"))
    assert address, lab.stack.utility("ifconfig", "en0")
    assert re.search(rf"default +{re.escape(PEER)}", lab.stack.utility("netstat", "-rn"))
    assert resolver.read_text() == f"domain lab.test\nnameserver {PEER}\n"
    assert f"{address[1]} boxes" in (lab.folder / "leases").read_text()
    assert "1 received" in lab.run(True, "ping", "-c1", "-W5", PEER)


def test_gives_back_what_it_has_at_its_end(lab):
    client = start(lab, "-n", "-d", "-A", "0", "-i", "en0")
    wait_until(lambda: "inet 10.9.0.1" in lab.stack.utility("ifconfig", "en0"), lambda: client.text() + lab.server.text())
    client.process.send_signal(signal.SIGTERM)
    client.wait()
    wait_until(lambda: "DHCPRELEASE" in lab.server.text(), lambda: lab.server.text())
    assert "inet 10.9" not in lab.stack.utility("ifconfig", "en0")
    assert "default" not in lab.stack.utility("netstat", "-rn")


def test_nobody_there(lab):
    assert "nosuch0: no such interface" in start(lab, "-i", "nosuch0", "-I", "0").wait(2)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_ends_with_its_stack(lab, end):
    client = start(lab, "-n", "-d", "-A", "0", "-i", "en0")
    wait_until(lambda: "inet 10.9.0.1" in lab.stack.utility("ifconfig", "en0"), lambda: client.text() + lab.server.text())
    getattr(lab.stack, end)()
    assert "the stack has ended" in client.wait(1)


def test_an_address_is_probed_and_answers_may_be_unicast(own_lab):
    """RFC 2131 section 4.4.1."""
    lab = serve(own_lab())
    start(lab, "-u", "-n", "-b", "-t", "3", "-i", "en0").wait()
    assert "inet 10.9.0.1" in lab.stack.utility("ifconfig", "en0") and "tentative" not in lab.stack.utility("ifconfig", "en0")
    assert "\t3 packets: probes for addresses that may become ours" in lab.stack.utility("netstat", "-s")
    assert "broadcast response" not in lab.server.text()


def test_addresses_of_others_are_declined(own_lab):
    lab = serve(own_lab())
    for last in range(100, 121):
        lab.peer.run(["ip", "address", "add", f"10.9.0.{last}/32", "dev", PEER_INTERFACE])
    client = start(lab, "-n", "-d", "-A", "2", "-i", "en0")
    assert "other stations have what the server offers" in client.wait(1)
    assert client.text().count("another station has 10.9.0.1") == 2
    wait_until(lambda: lab.server.text().count("DHCPDECLINE") >= 2, lambda: lab.server.text())
    assert "inet 10.9" not in lab.stack.utility("ifconfig", "en0")
