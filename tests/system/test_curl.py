"""curl and nginx, each on our stack and as its peer; every byte is checked by hash."""
import os
import pathlib

import pytest

from lab import FULL, sha256
from nginx import PORT, start_nginx

MEGABYTE = 1 << 20
LARGE = (1024 if FULL else 64) * MEGABYTE
SMALL_FILES = 1000

@pytest.fixture(params=[True, False], ids=["server-on-stack", "client-on-stack"])
def on_stack(request):
    """Where the server runs; its client is on the other side."""
    return request.param


def test_one_large_file(lab, on_stack):
    root = lab.directory("www")
    path, wanted = lab.file("www/large", LARGE)
    try:
        nginx = start_nginx(lab, on_stack, root)
        got = lab.folder / "got"
        lab.run(not on_stack, "curl", "-sS", "--fail", "-o", got, f"http://{lab.host(on_stack)}:{PORT}/large", limit=600)
        assert sha256(got) == wanted
        nginx.stop()
    finally:
        path.unlink()
        (lab.folder / "got").unlink(missing_ok=True)


def test_small_files_over_kept_connections(lab, on_stack):
    root = lab.directory("small")
    wanted = {}
    for i in range(SMALL_FILES):
        data = os.urandom(i * 7 % 5000)
        (root / f"f{i}").write_bytes(data)
        wanted[f"f{i}"] = data
    nginx = start_nginx(lab, on_stack, root)
    got = lab.directory("small-got")
    before = lab.stack.counters("tcp")
    lab.run(not on_stack, "curl", "-sS", "--fail", "-o", f"{got}/f#1", f"http://{lab.host(on_stack)}:{PORT}/f[0-{SMALL_FILES - 1}]",
            limit=300)
    assert {p.name: p.read_bytes() for p in got.iterdir()} == wanted
    after = lab.stack.counters("tcp")
    opened = "tcp.conn.passive" if on_stack else "tcp.conn.active"
    assert after[opened] - before[opened] == 1, "the connection was not kept"
    nginx.stop()


def test_upload(lab, on_stack):
    """curl sends, so that data flows from client to server as well."""
    root = lab.directory("up")
    path, wanted = lab.file("sent", 16 * MEGABYTE)
    server = pathlib.Path(__file__).parent / "programs" / "upload_server.py"
    program = lab.start(on_stack, "/usr/bin/python3", server, lab.address(on_stack), PORT)
    lab.wait_listening(on_stack, PORT, program)
    answer = lab.run(not on_stack, "curl", "-sS", "--fail", "-T", path, f"http://{lab.host(on_stack)}:{PORT}/x", limit=300)
    assert answer.strip() == wanted
    program.wait()
