"""Fixtures of the system tests: a lab per link kind and number of shards, and its state printed when a test fails."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from lab import Lab  # noqa: E402

FAILED = pytest.StashKey[bool]()
# Each kind of link, each number of shards and each family once; all combinations with IOPKT_SYSTEM_FULL=1.
LABS = [("tap", 1, "inet"), ("veth", 2, "inet"), ("tap", 2, "inet6")]
if os.environ.get("IOPKT_SYSTEM_FULL") == "1":
    LABS += [("tap", 2, "inet"), ("veth", 1, "inet"), ("tap", 1, "inet6"), ("veth", 1, "inet6"), ("veth", 2, "inet6")]


@pytest.hookimpl(tryfirst=True)  # the plug-in reads the mark here too
def pytest_collection_modifyitems(items):
    """Several workers share the tests: those of one file on one lab stay together, so that each lab is made once for them."""
    for item in items:
        lab = item.callspec.params.get("lab_key", ()) if hasattr(item, "callspec") else ()
        item.add_marker(pytest.mark.xdist_group("-".join([item.path.stem, *map(str, lab)])))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when == "call":
        item.stash[FAILED] = True
        used = item.funcargs.get("lab") or item.funcargs.get("own_lab")
        if used is not None:
            report.sections.append(("lab", used.report()))


class _Labs:
    """One lab at a time: a broken one is replaced, so that a failure stays one failure."""

    def __init__(self):
        self.key, self.lab = None, None

    def get(self, key):
        if self.key != key or not self.healthy():
            self.close()
            self.lab = Lab(*key)
            self.lab.__enter__()
            self.key = key
        return self.lab

    def healthy(self):
        try:
            return self.lab.stack.running() and self.lab.stack.sockets() is not None
        except AssertionError:
            return False

    def close(self):
        lab, self.lab, self.key = self.lab, None, None
        if lab is not None:
            lab.close(check=lab.stack.running())


@pytest.fixture(scope="session")
def labs():
    kept = _Labs()
    yield kept
    kept.close()


@pytest.fixture(params=LABS, ids=[f"{kind}-{shards}-{family}" for kind, shards, family in LABS], scope="session")
def lab_key(request):
    return request.param


@pytest.fixture
def lab(labs, lab_key):
    """A lab shared by the tests of one kind. After each test the stack must still run, and nothing may be left over."""
    lab = labs.get(lab_key)
    sockets, descriptors = len(lab.stack.sockets()), lab.stack.descriptors()
    yield lab
    lab.end_programs()
    assert lab.stack.running(), "the stack has ended:\n" + lab.stack.log()
    lab.settled(sockets, descriptors)


class _OwnLabs:
    """Calling it makes a lab that belongs to one test."""

    def __init__(self):
        self.made = []

    def __call__(self, *words, **more):
        self.made.append(Lab(*words, **more))
        return self.made[-1].__enter__()

    def report(self):
        return "\n".join(lab.report() for lab in self.made if lab.stack is not None)


@pytest.fixture
def own_lab(request):
    labs = _OwnLabs()
    yield labs
    for lab in labs.made:
        lab.close(check=not request.node.stash.get(FAILED, False))
