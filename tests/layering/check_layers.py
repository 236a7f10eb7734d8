#!/usr/bin/env python3
"""Checks who includes whom, and that the stack library calls nothing outside of itself.

    check_layers.py ROOT      exit 0: nothing found; 1: one line per finding

The order of the folders of src/ is layers.txt beside this file. The rest of the rules are the tables below.
"""

import pathlib
import re
import sys

# Folders beside src/, and what of ours their files may include: "src/NAME" is one layer, "src" is all of them.
ALLOWED = {
    "include": {"include"},
    "ipc": {"include", "src/base", "src/wire", "ipc"},
    "client": {"include", "src/base", "src/wire", "ipc", "client"},
    "shim": {"include", "src/base", "src/wire", "ipc", "client", "shim"},
    "launcher": {"include", "src/base", "src/wire", "ipc", "client", "launcher"},
    "daemon": {"include", "src", "ipc", "daemon"},
    "drivers": {"include"},
    "modules": {"include"},
    "utils": {"include", "src/base", "src/wire", "ipc", "client", "utils"},
}

# What the stack library must not touch: the system, threads, clocks, the environment, entropy. Tests beside the code
# may (a ring is tested with two threads). Times, random numbers and packets come in through calls.
FORBIDDEN_HEADERS = re.compile(
    r"^(unistd\.h|fcntl\.h|poll\.h|pthread\.h|sched\.h|signal\.h|dlfcn\.h|dirent\.h|time\.h|netdb\.h|ifaddrs\.h"
    r"|sys/.*|linux/.*|net/.*|netinet/.*|arpa/.*|asm/.*"
    r"|thread|mutex|shared_mutex|condition_variable|future|semaphore|barrier|latch|stop_token"
    r"|csignal|ctime|fstream|iostream|filesystem)$"
)
FORBIDDEN_CODE = [
    (re.compile(r"::now\s*\("), "a clock"),
    (re.compile(r"\b(clock_gettime|gettimeofday|nanosleep|usleep|sleep_for|sleep_until)\s*\("), "a clock"),
    (re.compile(r"(?<![\w.>])(?:std::|::)time\s*\("), "a clock"),
    (re.compile(r"\b(getenv|secure_getenv|setenv|putenv)\s*\("), "the environment"),
    (re.compile(r"\brandom_device\b"), "entropy"),
    (re.compile(r"(?<![\w.>])(?:std::|::)?s?rand\s*\("), "entropy"),
    (re.compile(r"\bthread_local\b"), "thread-local state"),
    (re.compile(r"(?<![\w.>:])(?:std::)?(printf|fprintf|puts|fputs|perror)\s*\("), "output"),
    (re.compile(r"\bsyscall\s*\("), "a system call"),
]

# The last words of a program that found its own state broken.
MAY_PRINT = {"src/base/assert.cpp"}

SOURCES = {".c", ".h", ".cpp", ".hpp", ".def", ".inc"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def read_layers(path):
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def without_comments(text):
    """The same lines; comments and the contents of string literals are blanked."""

    def blank(match):
        found = match.group(0)
        if found.startswith("/"):
            return re.sub(r"[^\n]", " ", found)
        return found[0] + " " * (len(found) - 2) + found[-1] if len(found) > 1 else found

    token = r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'"
    return re.sub(token, blank, text, flags=re.S)


def is_test(path):
    return re.search(r"_test\.(c|cpp|hpp)$", path.name) is not None


class Checker:
    def __init__(self, root, layers):
        self.root = root
        self.layers = layers
        self.findings = []

    def report(self, path, number, text):
        self.findings.append(f"{path.relative_to(self.root)}:{number}: {text}")

    def owner(self, name, path):
        """The folder of ours that an include means: "include", "src/wire", "ipc" ...; None: not ours."""
        first, _, rest = name.partition("/")
        if not rest:
            return None
        if first == "iopkt":
            return "include"
        if first == "src":
            second = rest.partition("/")[0]
            return f"src/{second}"
        if first in self.layers or (self.root / "src" / first).is_dir():
            return f"src/{first}" if first not in ALLOWED else first
        if first in ALLOWED or first in ("tests", "fuzz", "bench"):
            return first
        return None

    def includes(self, path):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1), match.group(2)

    def check_src(self, path):
        parts = path.relative_to(self.root / "src").parts
        if len(parts) < 2:
            self.report(path, 1, "lies in no layer")
            return
        layer = parts[0]
        if layer not in self.layers:
            self.report(path, 1, f"folder {layer} is not in layers.txt")
            return
        height = self.layers.index(layer)
        test = is_test(path)
        for number, quote, name in self.includes(path):
            if name.startswith("../") or "/../" in name:
                self.report(path, number, f'"{name}": name the folder instead of climbing')
                continue
            if quote == "<" and not test and FORBIDDEN_HEADERS.match(name):
                self.report(path, number, f"<{name}>: the stack library makes no system call and has no thread")
                continue
            owner = self.owner(name, path)
            if owner is None or owner == "include":
                continue
            if owner.startswith("src/") and owner[4:] in self.layers:
                if self.layers.index(owner[4:]) > height:
                    self.report(path, number, f'"{name}": {layer} stands below {owner[4:]}')
            elif not (test and owner == "tests"):
                self.report(path, number, f'"{name}": src/ knows nothing of {owner}')
        if test:
            return
        for number, line in enumerate(without_comments(path.read_text(errors="replace")).splitlines(), 1):
            for pattern, what in FORBIDDEN_CODE:
                if what == "output" and str(path.relative_to(self.root)) in MAY_PRINT:
                    continue
                if pattern.search(line):
                    self.report(path, number, f"{what}: it must come in through a call ({line.strip()[:60]})")

    def check_beside(self, path, folder):
        allowed = ALLOWED[folder]
        test = is_test(path)
        for number, quote, name in self.includes(path):
            if folder in ("drivers", "modules") and re.match(r"(\.\./)?support/[^/]+$", name):
                continue  # what drivers share among themselves
            if name.startswith("../") or "/../" in name:
                self.report(path, number, f'"{name}": name the folder instead of climbing')
                continue
            if quote == '"' and (path.parent / name).is_file():
                continue  # its own folder
            owner = self.owner(name, path)
            if owner is None or owner in allowed or (owner.startswith("src/") and "src" in allowed):
                continue
            if test and owner == "tests":
                continue
            self.report(path, number, f'"{name}": {folder} may include {", ".join(sorted(allowed))} only')

    def run(self):
        for folder in ("src", *ALLOWED):
            for path in sorted((self.root / folder).rglob("*")):
                if path.suffix in SOURCES and path.is_file():
                    if folder == "src":
                        self.check_src(path)
                    else:
                        self.check_beside(path, folder)
        return self.findings


def main(argv):
    if len(argv) != 2:
        sys.exit(__doc__)
    layers = read_layers(pathlib.Path(__file__).with_name("layers.txt"))
    findings = Checker(pathlib.Path(argv[1]).resolve(), layers).run()
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
