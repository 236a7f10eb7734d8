"""CPython's own tests of sockets must not do worse on the stack than on the kernel, but for what cpython_expected.txt names.

The default is a minute's worth; IOPKT_SYSTEM_FULL=1 runs every module to its end, with one shard and with two.
"""
import concurrent.futures
import os

import pytest

import cpython
from shim_support import PROGRAM6, Stack

FULL = os.environ.get("IOPKT_SYSTEM_FULL") == "1"
# Seconds for one side of a module; the kernel's side and the stack's run at the same time.
MODULES = dict.fromkeys(cpython.MODULES, 900) if FULL else {
    "test_select": 60, "test_selectors": 60, "test_httplib": 60, "test_urllib2_localnet": 60, "test_socket": 40}
SHARDS = [1, 2] if FULL else [1]

pytestmark = pytest.mark.skipif(cpython.can_run() is not None, reason=str(cpython.can_run()))


@pytest.fixture(scope="module", params=SHARDS, ids=[f"{n}-shard" for n in SHARDS])
def stack(request, tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("stack"), shards=request.param, program=PROGRAM6) as running:
        yield running


@pytest.mark.parametrize("module", MODULES)
def test_not_worse_than_on_the_kernel(stack, module, capsys):
    limit = MODULES[module]
    with concurrent.futures.ThreadPoolExecutor() as both:
        kernel = both.submit(cpython.kernel_side().run, module, limit=limit)
        ours = both.submit(cpython.stack_side(stack).run, module, limit=limit)
        kernel, ours = kernel.result(), ours.result()
    found = cpython.differences(kernel, ours, cpython.read_expected())
    with capsys.disabled():
        print("\n" + cpython.table([(module, kernel, ours, found)]).splitlines()[-1], end=" ")
    assert stack.running(), stack.log()
    # A run that came to nothing proves nothing.
    assert kernel.count("pass") > 5 and ours.count("pass") > 5, "the suite did not run"
    new = [f"{name}: {there} on the kernel, {here} on the stack\n{ours.details.get(name, '')}"
           for name, there, here, reason in found if reason is None]
    assert not new, "\n\n".join(new)
