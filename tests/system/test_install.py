"""What `cmake --install` and the Debian package put where, and that it runs from there."""
import os
import shutil
import subprocess

import pytest

from namespaces import LIMIT
from stack import BUILD

PLACES = ["sbin/io-pkt-v4-hc", "sbin/io-pkt-v6-hc", "bin/iopkt", "lib/io-pkt/devnp-tap.so", "lib/io-pkt/devnp-packet.so",
          "lib/io-pkt/libiopkt-socket.so", "lib/io-pkt/bin/ifconfig", "lib/io-pkt/bin/mount", "lib/io-pkt/bin/sysctl",
          "lib/io-pkt/bin/route", "include/iopkt/driver.h", "lib/systemd/system/io-pkt@.service", "share/doc/io-pkt/copyright"]
PAGES = ["man8/io-pkt-v4-hc.8", "man8/io-pkt-v6-hc.8", "man1/iopkt.1", "man7/libiopkt-socket.7", "man8/devnp-tap.8", "man8/iopkt-ifconfig.8"]


def run(*words, **more):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=LIMIT, **more)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def packed(folder):
    run("cpack", "--config", BUILD / "CPackConfig.cmake", "-B", folder / "pack", cwd=folder)
    package = next((folder / "pack").glob("io-pkt_*.deb"))
    run("dpkg-deb", "-x", package, folder / "root")
    said = run("dpkg-deb", "-I", package)
    assert [words for words in ("Package: io-pkt", "postinst", "prerm", "postrm") if words not in said] == []
    return folder / "root/usr"


def installed(folder):
    run("cmake", "--install", BUILD, env=dict(os.environ, DESTDIR=str(folder / "root")))
    return folder / "root/usr/local"


@pytest.mark.parametrize("how, variant", [(installed, "io-pkt-v4-hc"), (packed, "io-pkt-v6-hc")])
def test_what_is_installed_runs(tmp_path_factory, how, variant):
    folder = tmp_path_factory.mktemp("in")  # short: socket addresses hold 107 bytes
    there = how(folder)
    assert [p for p in PLACES if not (there / p).is_file()] == []
    ending = ".gz" if how is packed else ""
    assert [p for p in PAGES if not (there / "share/man" / (p + ending)).is_file()] == []
    for command in (there / "lib/io-pkt/bin").iterdir():
        assert shutil.which(command.name, path=str(there / "bin")) is None, "it would hide the host's"

    for name, program in (("io-pkt", "io-pkt-v4-hc"), ("io-pkt-v6", "io-pkt-v6-hc")):
        unit = (there / f"lib/systemd/system/{name}@.service").read_text()
        assert f"ExecStart={'/usr' if how is packed else '/usr/local'}/sbin/{program} " in unit
        documented = [w.split(":")[1].split("(") for w in unit.split() if "man:" in w]
        assert documented[0][0] == program
        assert [name for name, section in documented
                if not (there / f"share/man/man{section[0]}/{name}.{section[0]}{ending}").is_file()] == []

    # From its own place: drivers, library and commands are found beside the programs.
    env = {k: v for k, v in os.environ.items() if k not in ("SOCK", "LD_PRELOAD")}
    env.update(IOPKT_RUN_DIR=str(folder / "run"), SOCK=str(folder))
    run(there / "sbin" / variant, "-i", "77", "-d", "pcap", f"write={folder}/x.pcap", "-p", "tcpip", f"prefix={folder}", env=env)
    try:
        assert run(there / "bin/iopkt", "ifconfig", "-l", env=env).split() == ["lo0", "en0"]
        code = "import socket; l = socket.create_server(('127.0.0.1', 0)); socket.create_connection(l.getsockname()); print('ok')"
        assert run(there / "bin/iopkt", "run", "python3", "-c", code, env=env) == "ok\n"
    finally:
        run(there / "bin/iopkt", "stop", "-i", "77", env=env)
