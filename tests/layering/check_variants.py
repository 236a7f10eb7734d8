#!/usr/bin/env python3
"""io-pkt-v4-hc links nothing of src/ipv6; io-pkt-v6-hc links it.

    check_variants.py NM LIBRARY V4 V6      LIBRARY: what src/ipv6 is built into
"""
import subprocess
import sys


def symbols(nm, file, *kinds):
    """Names of the symbols of these kinds (letters of nm(1)); local ones are other files' as well as ours."""
    lines = subprocess.run([nm, file], capture_output=True, text=True, check=True).stdout.splitlines()
    return {fields[2] for fields in map(str.split, lines) if len(fields) == 3 and fields[1] in kinds}


def main(nm, library, v4, v6):
    own = symbols(nm, library, "T", "D", "B", "R")
    assert own, f"{library} defines nothing"
    in_v4, in_v6 = (own & symbols(nm, program, "T", "D", "B", "R", "t", "d", "b", "r") for program in (v4, v6))
    for name in sorted(in_v4):
        print(f"{v4} links {name} of src/ipv6")
    if not in_v6:
        print(f"{v6} links nothing of src/ipv6")
    return 1 if in_v4 or not in_v6 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
