#!/usr/bin/env python3
"""Shows that check_layers.py finds what it must find, and nothing else. Each row is one little source tree."""

import pathlib
import tempfile
import unittest

from check_layers import Checker, read_layers

LAYERS = read_layers(pathlib.Path(__file__).with_name("layers.txt"))

CLEAN = [
    ("src/wire/udp.hpp", '#include "base/bytes.hpp"\n#include "wire/port.hpp"\n#include <span>\n'),
    ("src/control/a.cpp", '#include "base/a.hpp"\n#include "stack/b.hpp"\n#include <iopkt/driver.h>\n'),
    ("src/tcp/a.cpp", "// std::getenv(\"X\") and steady_clock::now() are not for us\nint now(int x);\n"),
    ("src/tcp/b.cpp", 'const char* text = "getenv(now)";\nInstant t = wheel.time(now);\n'),
    ("src/packet/ring_test.cpp", '#include <thread>\n#include "tests/support/x.hpp"\n'),
    ("src/base/a.cpp", "constexpr auto n = 1'000'000; auto s = \"x\";\n"),
    ("ipc/ring.cpp", '#include "ipc/ring.hpp"\n#include "wire/udp.hpp"\n#include <sys/mman.h>\n'),
    ("shim/socket.cpp", '#include "client/session.hpp"\n#include "ipc/ring.hpp"\n#include <net/if.h>\n'),
    ("daemon/main_v4.cpp", '#include "stack/shard.hpp"\n#include "ipc/codec.hpp"\n#include <unistd.h>\n'),
    ("drivers/tap/tap.cpp", '#include <iopkt/driver.h>\n#include <linux/if_tun.h>\n#include <net/if.h>\n'),
    ("drivers/tap/tap.cpp", '#include "../support/log.hpp"\n#include "support/mac.hpp"\n'),
]

BROKEN = [
    ("src/wire/udp.hpp", '#include "tcp/state.hpp"\n'),
    ("src/icmp/input.cpp", '#include "ipv4/output.hpp"\n'),
    ("src/wire/udp.hpp", '#include "ipc/ring.hpp"\n'),
    ("src/wire/udp.hpp", '#include "../tcp/state.hpp"\n'),
    ("src/stack/rx.cpp", '#include "daemon/threads.hpp"\n'),
    ("src/stack/rx.cpp", "#include <unistd.h>\n"),
    ("src/stack/rx.cpp", "#include <sys/socket.h>\n"),
    ("src/stack/rx.cpp", "#include <mutex>\n"),
    ("src/stack/rx.cpp", "auto t = std::chrono::steady_clock::now();\n"),
    ("src/stack/rx.cpp", 'auto p = std::getenv("P");\n'),
    ("src/stack/rx.cpp", "auto t = std::time(nullptr);\n"),
    ("src/stack/rx.cpp", "std::random_device d;\n"),
    ("src/unknown/a.cpp", "\n"),
    ("src/loose.cpp", "\n"),
    ("ipc/ring.cpp", '#include "tcp/state.hpp"\n'),
    ("shim/socket.cpp", '#include "socket/buffers.hpp"\n'),
    ("client/session.cpp", '#include "daemon/clients.hpp"\n'),
    ("drivers/tap/tap.cpp", '#include "wire/ethernet.hpp"\n'),
    ("drivers/tap/tap.cpp", '#include "../pcap/file.hpp"\n'),
    ("drivers/tap/tap.cpp", "#include <wire/ethernet.hpp>\n"),
    ("modules/pf-v4/pf.cpp", '#include "src/filter/hooks.hpp"\n'),
    ("utils/route/main.cpp", '#include "route/fib.hpp"\n'),
    ("daemon/main_v4.cpp", '#include "shim/socket.hpp"\n'),
]


def findings(name, text):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        path = root / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        return Checker(root, LAYERS).run()


class CheckLayers(unittest.TestCase):
    def test_clean(self):
        for name, text in CLEAN:
            with self.subTest(name=name, text=text):
                self.assertEqual(findings(name, text), [])

    def test_broken(self):
        for name, text in BROKEN:
            with self.subTest(name=name, text=text):
                self.assertEqual(len(findings(name, text)), 1)


if __name__ == "__main__":
    unittest.main()
