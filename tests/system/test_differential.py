"""The same packets and calls to the kernel's stack and to ours: what each says has to be equal, or a row of docs/compliance.md explains it.

A row has patterns of the cases that it explains, what the host says and what io-pkt says there (`*`: whatever), and why. A difference without
a row fails, and so does a row whose difference is not seen any more.
"""
import fnmatch
import pathlib

import pytest

import cases6
import cases_differential
from differential import Play, Side, answers
from scenarios_differential import SCENARIOS
from stack import SOURCE

FOUR = list(cases_differential.four_cases()) + list(cases_differential.tcp_cases())
SIX = list(cases_differential.six_cases())
NAMES = [case[0] for case in FOUR] + [case[0] for case in SIX] + list(SCENARIOS)


def rows():
    """(key, patterns, what the host says, what io-pkt says) of the table."""
    found = []
    for line in (pathlib.Path(SOURCE) / "docs/compliance.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 5 and cells[0] not in ("key", "---"):
            found.append((cells[0], [p.strip(" `") for p in cells[1].split(";")], cells[2].strip("`"), cells[3].strip("`")))
    return found


ROWS = rows()


def matches(pattern, said):
    """`*` and `?` alone are not literal: words have brackets."""
    return fnmatch.fnmatchcase(said, pattern.replace("[", "[[]"))


def explains(row, difference):
    name, host, ours = difference
    return any(matches(pattern, name) for pattern in row[1]) and matches(row[2], host) and matches(row[3], ours)


@pytest.fixture(scope="module")
def sides():
    made = []
    try:
        for name in ("host", "io-pkt"):
            made.append(Side(name))
            listen(made[-1])
        yield made
    finally:
        for side in made:
            side.close()


def listen(side):
    """A listener of each family that takes nothing."""
    for name, family, address in (("four", "AF_INET", "0.0.0.0"), ("six", "AF_INET6", "::")):
        assert side.call(f"new('{name}', SOCK_STREAM, {family})") == "None"
        if name == "six":
            assert side.call("s['six'].setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)") == "None"
        assert side.call(f"s['{name}'].bind(('{address}', 7000))") == "None"
        assert side.call(f"s['{name}'].listen(100)") == "None"


@pytest.fixture(scope="module")
def differences(sides):
    """By case: (name, what the host says, what io-pkt says) of each step that differs. All are played, once."""
    found = {}
    for cases, four in ((FOUR, True), (SIX, False)):
        for name, packets, *how in cases:
            said = [answers(side, packets, four, cases_differential.SEQ, **(how[0] if how else {})) for side in sides]
            found[name] = [(name, *said)] if said[0] != said[1] else []
    for side in sides:
        side.call("[one.close() for one in s.values()] and s.clear()")
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        plays = []
        for side in sides:
            plays.append(Play(side, number))
            scenario(plays[-1])
            side.call("[one.close() for one in s.values()] and s.clear()")
        steps = zip(plays[0].steps, plays[1].steps, strict=True)
        found[name] = [(f"{name}: {label}", host, ours) for (label, host), (_, ours) in steps if host != ours]
    return found


def test_each_case_has_a_name_of_its_own():
    assert len(NAMES) == len(set(NAMES)) and len(ROWS) == len({row[0] for row in ROWS}) > 0


@pytest.mark.parametrize("name", NAMES)
def test_equal_or_explained(differences, name):
    unexplained = [one for one in differences[name] if not any(explains(row, one) for row in ROWS)]
    assert not unexplained, "\n".join(f"{what}\n  host:   {host}\n  io-pkt: {ours}" for what, host, ours in unexplained)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_is_still_seen(differences, row):
    seen = [one for steps in differences.values() for one in steps]
    for pattern in row[1]:
        assert any(explains((row[0], [pattern], *row[2:]), one) for one in seen), f"{pattern}: the two do not differ so any more"
