#!/usr/bin/python3
"""Adds up what `llvm-cov export -summary-only` says of each file, folder by folder.

    llvm-cov export ... | coverage.py SOURCES

SOURCES is the checkout. Tests and what only they use are left out. A branch is one way out of a condition.
"""

import collections
import json
import pathlib
import sys

FOLDERS = ("src", "ipc", "client", "shim", "daemon", "drivers", "utils")
KINDS = ("lines", "branches")


def folder_of(path):
    """`src/tcp` for src/tcp/input.cpp, `daemon` for daemon/main.cpp; None for what is not ours to count."""
    parts = path.parts
    if parts[0] not in FOLDERS or path.stem.endswith("_test"):
        return None
    return "/".join(parts[:2]) if parts[0] in ("src", "drivers", "utils") else parts[0]


def share(covered, count):
    return f"{100 * covered / count:6.1f} %" if count else "      - "


def main(sources):
    total = collections.defaultdict(collections.Counter)
    for entry in json.load(sys.stdin)["data"][0]["files"]:
        path = pathlib.Path(entry["filename"])
        if not path.is_relative_to(sources):
            continue
        folder = folder_of(path.relative_to(sources))
        if folder is None:
            continue
        for name in (folder, "all"):
            for kind in KINDS:
                total[name][kind] += entry["summary"][kind]["count"]
                total[name][f"{kind} run"] += entry["summary"][kind]["covered"]
    if not total:
        sys.exit("coverage.py: no file of ours was counted")
    print(f"{'folder':20} {'lines':>7} {'run':>8} {'branches':>9} {'run':>8}")
    for name in sorted(total, key=lambda name: (name == "all", name)):
        c = total[name]
        print(f"{name:20} {c['lines']:7} {share(c['lines run'], c['lines'])} {c['branches']:9} {share(c['branches run'], c['branches'])}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve())
