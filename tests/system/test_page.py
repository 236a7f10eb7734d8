"""Command lines of the page with a real driver whose packets the peer sees: names, addresses, mount, destroy."""
import pathlib

from lab import PEER
from namespaces import wait_until


def maps(lab):
    return pathlib.Path(f"/proc/{lab.stack.pid}/maps").read_text()


def mount_tap(lab, options, host_name):
    """`mount -T io-pktN -o OPTIONS devnp-tap.so`, its host end in the peer's namespace."""
    lab.stack.utility("mount", f"-Tio-pkt{lab.stack.instance}", "-o", f"netns={lab.peer.name},ifname={host_name},{options}",
                      "devnp-tap.so")


def test_mount_with_an_address_and_the_short_form(own_lab):
    lab = own_lab("tap", 1)
    mount_tap(lab, "mac=001122334455", "page1")
    lab.stack.utility("if_up", "-p", "en1")
    assert lab.stack.interface("en1")["mac"] == "00:11:22:33:44:55"
    # 10.184 is 10.0.0.184 with the mask of class A; its own wire reaches it.
    lab.stack.utility("ifconfig", "en0", "delete")
    lab.peer.run(["ip", "address", "flush", "dev", "peer0"])
    lab.stack.utility("ifconfig", "en1", "10.184")
    address = lab.stack.interface("en1")["addresses"][0]
    assert (address["address"], address["netmask"]) == ("10.0.0.184", "0xff000000")
    lab.peer.run(["ip", "address", "add", "10.0.0.1/8", "dev", "page1"])
    lab.peer.run(["ip", "link", "set", "page1", "up"])
    lab.run(False, "ping", "-n", "-c", 2, "-i", "0.01", "10.0.0.184")
    assert "00:11:22:33:44:55" in lab.peer.run(["ip", "neigh", "show", "10.0.0.184"])


def test_names(own_lab):
    lab = own_lab("tap", 1, options=["-d", "tap", "name=wan,unit=3"])
    assert lab.stack.interface("wan3") is not None
    mount_tap(lab, "name=wan", "page2")
    assert lab.stack.interface("wan0") is not None


def test_destroy_of_the_last_interface_unloads_the_driver(own_lab):
    lab = own_lab("tap", 2)
    assert "devnp-tap.so" in maps(lab)
    lab.run(False, "ping", "-n", "-c", 1, "10.9.0.2")
    lab.stack.utility("ifconfig", "en0", "destroy")
    assert lab.stack.interface("en0") is None
    wait_until(lambda: "devnp-tap.so" not in maps(lab), "the driver's object to be unloaded")
    assert "peer0" not in lab.peer.interfaces()
    # And again.
    lab.stack.utility("mount", f"-Tio-pkt{lab.stack.instance}", "-o",
                      f"netns={lab.peer.name},hostip={PEER}/24,ifname=peer0", "devnp-tap.so")
    name = next(i["name"] for i in lab.stack.json("ifconfig", "-a")["interfaces"] if i["name"] != "lo0")
    lab.stack.utility("ifconfig", name, "10.9.0.2/24")
    lab.run(False, "ping", "-n", "-c", 1, "10.9.0.2")


def test_two_stacks_on_one_wire_each(own_lab):
    """`-i1 -ptcpip prefix=/alt` beside another: SOCK says which one a program talks to."""
    first, second = own_lab("tap", 1), own_lab("tap", 1)
    assert first.stack.instance != second.stack.instance and first.stack.prefix != second.stack.prefix
    macs = {lab.stack.interface("en0")["mac"] for lab in (first, second)}
    assert len(macs) == 2
    second.stack.utility("ifconfig", "en0", "destroy")
    assert first.stack.interface("en0") is not None and second.stack.interface("en0") is None
    first.run(False, "ping", "-n", "-c", 1, "10.9.0.2")
