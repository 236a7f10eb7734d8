#!/usr/bin/env python3
"""Every reason for a drop (src/packet/drops.def) is given somewhere in the product and brought about by some test.

    check_drops.py ROOT      exit 0: all are; 1: one line per reason that is dead or untested
"""
import pathlib
import re
import sys

FOLDERS = ("src", "ipc", "daemon", "tests")
# What filters at the hooks answer; the stack has the hooks, but no filter of its own yet.
GIVEN_BY_OTHERS = {"filter_blocked"}


def main(root):
    rows = (root / "src/packet/drops.def").read_text()
    names = re.findall(r"^X\((\w+),", rows, re.MULTILINE)
    given, tested = set(GIVEN_BY_OTHERS), set()
    for folder in FOLDERS:
        for file in (root / folder).rglob("*.[ch]pp"):
            is_test = folder == "tests" or file.name.endswith("_test.cpp")
            # By the enumerator, or as a counter that operators read.
            pattern = r'Drop::(\w+)|"(\w+)"' if is_test else r"Drop::(\w+)"
            found = re.findall(pattern, re.sub(r"//.*", "", file.read_text()))
            words = (word for one in found for word in (one if is_test else (one,)))
            (tested if is_test else given).update(words)
    faults = [f"{name}: nothing in the product gives this reason" for name in names if name not in given]
    faults += [f"{name}: no test brings it about" for name in names if name not in tested]
    print("\n".join(faults) or f"{len(names)} reasons, all given and tested")
    return 1 if faults or not names else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
