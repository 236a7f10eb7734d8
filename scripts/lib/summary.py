#!/usr/bin/python3
"""Adds up the results in a folder and prints `N passed, N failed[, N skipped]` as the last line.

    summary.py RESULTS     exit 0: something ran and nothing failed

RESULTS/ctest.xml       one case per test program, from ctest
RESULTS/gtest/*.xml     the cases inside of it, from GoogleTest; they stand for the program when they account for its
                        result (a program that died half-way counts as one more failure)
RESULTS/system.xml      from pytest
RESULTS/system.died     pytest ended without a report: one failure
RESULTS/system.left_out the system tests could not run here: one skipped
"""

import collections
import pathlib
import sys
import xml.etree.ElementTree as ElementTree

Count = collections.Counter


def cases(path):
    """Passed, failed and skipped cases of a JUnit file; None when it is missing or broken off."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    count = Count()
    for case in root.iter("testcase"):
        if case.get("status") in ("notrun", "disabled") and case.find("skipped") is None:
            continue
        if case.find("failure") is not None or case.find("error") is not None:
            count["failed"] += 1
            count.names = getattr(count, "names", []) + [f"{case.get('classname')}.{case.get('name')}"]
        elif case.find("skipped") is not None or case.get("result") == "skipped":
            count["skipped"] += 1
        else:
            count["passed"] += 1
    return count


def ctest(results):
    total, names = Count(), []
    try:
        root = ElementTree.parse(results / "ctest.xml").getroot()
    except (OSError, ElementTree.ParseError):
        return total, names
    for case in root.iter("testcase"):
        name, status = case.get("name"), case.get("status")
        inside = cases(results / "gtest" / f"{name}.xml")
        if status == "run" and inside:
            total += inside
            if inside["failed"]:  # passed for ctest and not inside: a program with a main() that lies
                names += inside.names
        elif status == "run":
            total["passed"] += 1
        elif status in ("disabled", "notrun"):
            # A program that could not be started is a failure; one that asked to be left out is not.
            missing = case.find("failure") is not None or status == "notrun" and case.find("skipped") is None
            total["failed" if missing else "skipped"] += 1
            names += [name] if missing else []
        elif inside and inside["failed"]:
            total += inside
            names += inside.names
        else:
            total["failed"] += 1
            names.append(f"{name} (died or timed out)" if inside is not None else name)
    return total, names


def main(argv):
    if len(argv) != 2:
        sys.exit(__doc__)
    results = pathlib.Path(argv[1])
    total, names = ctest(results)
    system = cases(results / "system.xml")
    if system is not None:
        total += system
        names += getattr(system, "names", [])
    if (results / "system.died").exists():
        total["failed"] += 1
        names.append("system tests ended without a report")
    if (results / "system.left_out").exists():
        total["skipped"] += 1
    for name in names:
        print(f"failed: {name}")
    text = f"{total['passed']} passed, {total['failed']} failed"
    if total["skipped"]:
        text += f", {total['skipped']} skipped"
    print(text)
    return 0 if total["failed"] == 0 and total["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
