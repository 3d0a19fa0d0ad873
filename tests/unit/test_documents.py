# SPDX-License-Identifier: MIT
"""What the documents say of tests is true: each one that they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hostile.table import REQUESTS

TESTS = Path(__file__).parent.parent
DOCS = TESTS.parent / "docs"
NAMED = re.compile(r"`((?:core|unit|wire|functional|adversity|typing|pool|storage)/[\w/]+\.(?:py|txt))(?:::(\w+))?`")


def rows(name: str) -> list[list[str]]:
    """The cells of the lines of all tables, without heads."""
    lines = (DOCS / name).read_text().splitlines()
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
    heads = {at for at, line in enumerate(found) if set("".join(line)) <= set("-|")}
    return [row for at, row in enumerate(found) if at not in heads and at + 1 not in heads]


def names_of_tests(*folders: str) -> set[str]:
    files = [file for folder in folders for file in (TESTS / folder).glob("test_*.py")]
    return {
        name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize(
    ("name", "least"), [("pains.md", 41), ("semantics.md", 41), ("conformance.md", 4), ("reliability.md", 20)]
)
def test_every_test_that_is_named_is_there(name: str, least: int) -> None:
    named = NAMED.findall((DOCS / name).read_text())
    assert len(named) >= least
    for file, function in named:
        text = (TESTS / file).read_text()
        assert not function or re.search(rf"^(async )?def {function}\(", text, re.MULTILINE), f"{file}::{function}"


PAINS = [*range(1, 15), 17, 20, 21, 23, 25, *range(29, 41), *range(45, 53), *range(55, 58)]


def test_the_table_of_pains_and_the_tests_agree() -> None:
    table = {number: shown for number, _, shown in rows("pains.md")}
    assert list(table) == [f"P{number}" for number in PAINS]
    for number, shown in table.items():
        assert NAMED.search(shown) or shown.startswith("not yet: "), number
    for test in names_of_tests("core", "unit", "functional", "adversity"):
        for number in re.findall(r"(?<=_)p\d+(?=_)", test.split("_a_")[0]):
            assert test in table[number.upper()], f"{test} is not in the row of {number.upper()}"


def test_every_trap_has_a_line_and_every_test_of_a_trap_is_named() -> None:
    text = (DOCS / "semantics.md").read_text()
    assert {number for number in range(1, 16) if f"T{number} " in text or f"T{number}," in text} == set(range(1, 16))
    missing = [test for test in names_of_tests("core") if re.match(r"test_t\d+_", test) and test not in text]
    assert not missing


def test_every_hostile_request_is_in_the_table() -> None:
    """Whose column of fastgear's is what the tests expect."""
    table = [row for row in rows("hostile-input.md") if len(row) == 4]
    listed = {(family, name): said for family, names, _, said in table for name in names.split("; ")}
    assert listed == {(one.family, one.name): one.gets for one in REQUESTS}
    assert f"{len(REQUESTS)} requests; gearmand is" in (DOCS / "hostile-input.md").read_text()
    assert all("no answer" not in said for said in listed.values())
