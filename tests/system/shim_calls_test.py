"""Every case of tests/programs/shim_*.c, run on the kernel's stack and on ours: what is printed must be equal."""
import os
import pathlib
import subprocess

import pytest

from shim_support import BUILD, PROGRAM6, Stack

PROGRAMS = ["shim_stream", "shim_datagram", "shim_descriptors", "shim_blocking", "shim_confined",
            "shim_urgent"]
# The same with sockets of AF_INET6, and what those alone have; on the other variant.
PROGRAMS6 = [program + "6" for program in PROGRAMS] + ["shim_inet6"]


def all_cases(programs):
    for program in programs:
        path = BUILD / "tests" / "programs" / program
        if not path.exists():
            yield pytest.param(program, None, id=f"{program}-not-built")
            continue
        listed = subprocess.run([path, "--list"], capture_output=True, text=True, check=True)
        for case in listed.stdout.split():
            yield pytest.param(program, case, id=f"{program}-{case}")


@pytest.fixture(scope="module", params=[1, 2], ids=["one-shard", "two-shards"])
def stack(request):
    with Stack(shards=request.param) as running:
        yield running


@pytest.fixture(scope="module", params=[1, 2], ids=["one-shard", "two-shards"])
def stack6(request):
    with Stack(shards=request.param, program=PROGRAM6) as running:
        yield running


# The kernel's stack has what ours has: a loopback interface, and no other.
ON_THE_KERNEL = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def run(words, env):
    # The limit only ends a case that hangs.
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr + f"exit {done.returncode}\n"


def compare(stack, program, case):
    assert case is not None, f"{program} was not built"
    path = BUILD / "tests" / "programs" / program
    wanted = run([*ON_THE_KERNEL, path, case], dict(os.environ))
    assert wanted.endswith("end\nexit 0\n"), "the case fails on the kernel"
    assert run([path, case], stack.environment()) == wanted
    assert stack.running(), stack.log()


@pytest.mark.parametrize("program,case", all_cases(PROGRAMS))
def test_equal_to_the_kernel(stack, program, case):
    compare(stack, program, case)


@pytest.mark.parametrize("program,case", all_cases(PROGRAMS6))
def test_inet6_equal_to_the_kernel(stack6, program, case):
    compare(stack6, program, case)
