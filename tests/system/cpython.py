#!/usr/bin/python3
"""Debian's test suite of CPython, on the kernel's sockets and on the stack's, side by side.

Both sides run as root in a network namespace of their own: the kernel's with its lo up and nothing else, the stack's with the
kernel's lo down, so that whatever passes there has gone through the stack's lo0; the stack is io-pkt-v6-hc. A test that prints nothing for --silence
seconds is killed, counted as hung, and the rest of its module goes on in a new process.

    tests/system/cpython.py                         all modules, the table and the tests that differ
    tests/system/cpython.py test_select test_ssl    these
    tests/system/cpython.py -m '*testSendmsg*' test_socket --side stack -v
    tests/system/cpython.py --save kernel.json --side kernel; tests/system/cpython.py --kernel kernel.json

Exit status: 0 when nothing differs but what cpython_expected.txt names, 1 otherwise, 2 when it cannot run.
"""
import argparse
import dataclasses
import fnmatch
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

from shim_support import PROGRAM6, Stack

PYTHON = "/usr/bin/python3.11"
MODULES = ["test_select", "test_selectors", "test_httplib", "test_urllib2_localnet", "test_socket", "test_asyncio", "test_ssl",
           "test_smtpd", "test_ftplib", "test_poplib"]
EXPECTED = pathlib.Path(__file__).with_name("cpython_expected.txt")
HANGS_MAX = 12  # of one module; then it is given up
LEFT_OUT = ["*ThreadedVSOCK*"]  # hangs on the kernel, too, where no hypervisor is

# "test_x (test.test_socket.Class.test_x)", its first doc line perhaps, " ... ok". What the test prints may come in between.
STARTED = re.compile(rb"^(\w+) \((test\.[\w.]+)\)", re.M)
FAILED = re.compile(rb"^(FAIL|ERROR|UNEXPECTED SUCCESS): (\w+) \((test\.[\w.]+)\)", re.M)
SKIPPED = re.compile(rb"skipped ['\"]")
PASSED = re.compile(rb"(ok|expected failure)$", re.M)
WRONG = re.compile(rb"(FAIL|ERROR|unexpected success)$", re.M)
FINISHED = re.compile(rb"^Ran \d+ tests? in ", re.M)


@dataclasses.dataclass
class Outcome:
    results: dict  # test id -> "pass", "fail", "skip", "hang"
    details: dict  # test id -> what was printed about it
    seconds: float
    whole: bool  # the module came to its end

    def count(self, what):
        return sum(result == what for result in self.results.values())


def can_run():
    """Why it cannot be run here; None: it can."""
    if not pathlib.Path("/usr/lib/python3.11/test/test_socket.py").exists():
        return "libpython3.11-testsuite is not installed"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True)
    return "no right to make a network namespace" if tried.returncode != 0 else None


def parse(output):
    """What the verbose output says: (results, details, ended)."""
    ended = FINISHED.search(output) is not None
    summary = output.find(b"\n" + b"=" * 70)
    body = output if summary < 0 else output[:summary]
    starts = list(STARTED.finditer(body))
    results, details = {}, {}
    for i, start in enumerate(starts):
        name = start[2].decode()
        own = body[start.end():starts[i + 1].start() if i + 1 < len(starts) else len(body)]
        # A test's word stands at the end of a line, behind whatever its threads have printed.
        if SKIPPED.search(own):
            results[name] = "skip"
        elif PASSED.search(own):
            results[name] = "pass"
        elif WRONG.search(own):
            results[name] = "fail"
        else:
            results[name] = "hang" if i + 1 == len(starts) and not ended else "pass"
        if results[name] != "pass":
            details[name] = own.decode(errors="replace").strip()
    if summary >= 0:
        for heading in FAILED.finditer(output, summary):
            name = heading[3].decode()
            end = output.find(b"\n" + b"=" * 70, heading.end())
            results[name] = "fail"
            details[name] = output[heading.end():end if end >= 0 else heading.end() + 4000].decode(errors="replace").strip()
    return results, details, ended


class Side:
    """One of the two ways to run a module."""

    def __init__(self, name, environment, preload, loopback_up, log):
        self.name, self.environment, self.preload, self.loopback_up, self.log = name, environment, preload, loopback_up, log

    def note(self, text):
        if self.log:
            self.log.write(text)
            self.log.flush()

    def command(self, arguments):
        up = "ip link set lo up" if self.loopback_up else "ip link set lo down"
        preload = f"LD_PRELOAD={self.preload} " if self.preload else ""
        return ["unshare", "--net", "sh", "-c", f'{up} && {preload}exec {PYTHON} -X faulthandler -m test -v "$@"', "sh", *arguments]

    def _once(self, arguments, silence, end):
        """Runs until its end, until it is silent for too long, or until `end`. (output, why it was killed)"""
        process = subprocess.Popen(self.command(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env=self.environment, start_new_session=True)
        output, killed = bytearray(), None
        try:
            while True:
                wait = min(silence, end - time.monotonic())
                if wait <= 0 or not select.select([process.stdout], [], [], wait)[0]:
                    killed = "time" if time.monotonic() >= end else "silence"
                    # faulthandler shows where each thread stands.
                    os.killpg(process.pid, signal.SIGABRT)
                    time.sleep(0.5)
                    break
                piece = os.read(process.stdout.fileno(), 1 << 16)
                if not piece:
                    break
                output += piece
                self.note(piece)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            while killed and select.select([process.stdout], [], [], 0.2)[0]:
                piece = os.read(process.stdout.fileno(), 1 << 16)
                if not piece:
                    break
                output += piece
                self.note(piece)
            process.stdout.close()
            process.wait()
        return bytes(output), killed

    def run(self, module, patterns=(), limit=600, silence=60):
        start = time.monotonic()
        results, details, whole, hangs = {}, {}, False, 0
        chosen = [word for pattern in patterns for word in ("-m", pattern)]
        chosen += [word for pattern in LEFT_OUT for word in ("-i", pattern)]
        while hangs < HANGS_MAX and time.monotonic() < start + limit:
            with tempfile.NamedTemporaryFile("w", suffix=".ignore") as ignore:
                ignore.write("".join(name + "\n" for name in results))
                ignore.flush()
                arguments = [*chosen, *(["--ignorefile", ignore.name] if results else []), module]
                self.note(f"\n#### {self.name} {module}\n".encode())
                output, killed = self._once(arguments, silence, start + limit)
            found, more, ended = parse(output)
            new = {name: result for name, result in found.items() if results.get(name) in (None, "pass")}
            results.update(new)
            details.update({name: more[name] for name in new if name in more})
            whole = ended and not killed
            if whole or not new or killed == "time":
                break
            hangs += 1
        if killed == "time":  # the test that was running has not hung
            results = {name: result for name, result in results.items() if result != "hang"}
        return Outcome(results, details, time.monotonic() - start, whole)


def kernel_side(log=None):
    environment = {name: value for name, value in os.environ.items() if name not in ("SOCK", "LD_PRELOAD")}
    return Side("kernel", environment, None, True, log)


def stack_side(stack, log=None):
    environment = stack.environment()
    return Side("stack", {k: v for k, v in environment.items() if k != "LD_PRELOAD"}, environment["LD_PRELOAD"], False, log)


def read_expected():
    """[(result, pattern, reason)] of the committed list of known differences."""
    expected, reason = [], None
    for line in EXPECTED.read_text().splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            reason = line[1:-1]
        elif line and not line.startswith("#"):
            if reason is None:
                raise ValueError(f"{EXPECTED.name}: {line}: under no reason")
            result, pattern = line.split()
            if result not in ("skip", "fail"):
                raise ValueError(f"{EXPECTED.name}: {line}: neither skip nor fail")
            expected.append((result, pattern, reason))
    return expected


def reason_for(name, result, expected):
    """Why this result is known; None: it is not. A hang is always a fault."""
    return next((reason for known, pattern, reason in expected if known == result and fnmatch.fnmatchcase(name, pattern)), None)


def differences(kernel, stack, expected):
    """[(test id, kernel's result, stack's result, reason or None)] of what is worse on the stack. A test that only one side's
    class set-up lists, or that the stack's side had no time for, is none."""
    found = []
    for name, result in sorted(kernel.results.items()):
        here = stack.results.get(name, "missing")
        if result != "pass" or here == "pass" or (here == "missing" and not stack.whole):
            continue
        found.append((name, result, here, reason_for(name, here, expected)))
    for name, here in sorted(stack.results.items()):  # setUpClass, setUpModule
        if name not in kernel.results and here in ("fail", "hang"):
            found.append((name, "missing", here, reason_for(name, here, expected)))
    return found


def table(rows):
    lines = [f"{'module':24} {'kernel':>24}   {'stack':>30}", f"{'':24} {'pass fail skip':>24}   {'pass fail hang skip  known new':>30}"]
    for module, kernel, stack, found in rows:
        k = f"{kernel.count('pass'):4} {kernel.count('fail'):4} {kernel.count('skip'):4} {kernel.seconds:5.0f} s"
        known = sum(reason is not None for *_, reason in found)
        s = f"{stack.count('pass'):4} {stack.count('fail'):4} {stack.count('hang'):4} {stack.count('skip'):4} {known:6} {len(found) - known:3}"
        lines.append(f"{module:24} {k:>24}   {s:>30} {stack.seconds:5.0f} s{'' if stack.whole else ', not to its end'}")
    return "\n".join(lines)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("modules", nargs="*", default=MODULES)
    options.add_argument("-m", "--match", action="append", default=[], help="only these tests (as regrtest's -m)")
    options.add_argument("--side", choices=["both", "kernel", "stack"], default="both")
    options.add_argument("--limit", type=float, default=600, help="seconds for one module on one side")
    options.add_argument("--silence", type=float, default=60, help="seconds without output that are a hang")
    options.add_argument("--shards", type=int, default=1)
    options.add_argument("--log", help="everything that was printed")
    options.add_argument("--save", help="write the results to this file")
    options.add_argument("--kernel", help="take the kernel's results from this file")
    options.add_argument("-v", "--verbose", action="store_true", help="show what the failed tests printed")
    given = options.parse_args()
    if (why := can_run()) is not None:
        print(why, file=sys.stderr)
        return 2
    log = open(given.log, "wb") if given.log else None
    saved = json.loads(pathlib.Path(given.kernel).read_text()) if given.kernel else {}
    empty = Outcome({}, {}, 0, True)
    rows, kept = [], {"kernel": {}, "stack": {}}
    with tempfile.TemporaryDirectory(prefix="iopkt-cpython-") as folder, Stack(folder, shards=given.shards, program=PROGRAM6) as stack:
        for module in given.modules:
            kernel = ours = empty
            if module in saved.get("kernel", {}):
                kernel = Outcome(**saved["kernel"][module])
                if given.match:
                    kernel.results = {n: r for n, r in kernel.results.items() if any(
                        fnmatch.fnmatchcase(n, p) or any(fnmatch.fnmatchcase(part, p) for part in n.split(".")) for p in given.match)}
            elif given.side != "stack":
                kernel = kernel_side(log).run(module, given.match, given.limit, given.silence)
            if given.side != "kernel":
                ours = stack_side(stack, log).run(module, given.match, given.limit, given.silence)
            kept["kernel"][module], kept["stack"][module] = dataclasses.asdict(kernel), dataclasses.asdict(ours)
            found = differences(kernel, ours, read_expected()) if given.side != "kernel" else []
            rows.append((module, kernel, ours, found))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
            if not stack.running():
                print("the stack died:\n" + stack.log(), file=sys.stderr)
                break
    if given.save:
        pathlib.Path(given.save).write_text(json.dumps(kept))
    print("\n" + table(rows) + "\n")
    new, known = 0, {}
    for _, kernel, ours, found in rows:
        if given.side == "stack" and not kernel.results:
            found = [(name, "?", result, None) for name, result in ours.results.items() if result in ("fail", "hang")]
        for name, there, here, reason in found:
            if reason is not None:
                known[reason] = known.get(reason, 0) + 1
                continue
            new += 1
            print(f"{here:8} {name}")
            if given.verbose:
                print("    " + ours.details.get(name, "").replace("\n", "\n    "))
    for reason, count in sorted(known.items()):
        print(f"known    {count} tests: {reason}")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
