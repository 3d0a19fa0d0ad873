# SPDX-License-Identifier: MIT
"""What benchmarks/targets.py makes of figures: ratios, verdicts, files and the table. Nothing is measured here."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import targets
from aims.figures import Found, from_saved, merged, ratios, summary, targets_table, to_save, verdict
from aims.rows import Figure, Program, Row, read, rows, why_not

PROGRAM = Program(
    "compare.py", ("--only", "fill"), (("--points", ("1000", "10000")), ("--peers", ("fastgear", "roofline")))
)
OURS, THEIRS = (Figure(("rounds", "fill", "1 k", name), "cpu_us") for name in ("fastgear", "roofline"))
COST = Row("cost", "µs", PROGRAM, OURS, "roofline", THEIRS, "<=", 1.2)
RATE = replace(COST, title="rate", how=">=", limit=0.8)
BYTES = replace(COST, title="bytes", unit="B", limit=200, is_ratio=False)
SAVED = {
    "rounds": {"fill": {"1 k": {"fastgear": [{"cpu_us": 3.0}, {"cpu_us": 1.0}, {"cpu_us": 2.0}], "roofline": []}}},
    "stopped": {"fill": {"1 k": {"roofline": "more than 20 s"}}},
}


def test_a_ratio_is_that_of_one_round() -> None:
    """The medians' own ratio would be 1."""
    found = Found([(1.0, 2.0), (2.0, 1.0), (3.0, 3.0), (4.0, None)])
    assert ratios(COST, found) == [0.5, 2.0, 1.0]
    assert ratios(BYTES, found) == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("row", "ratio", "word"),
    [(COST, 1.2, "met"), (COST, 1.21, "not met"), (RATE, 0.8, "met"), (RATE, 0.79, "not met"), (RATE, 3.0, "met")],
)
def test_at_most_and_at_least(row: Row, ratio: float, word: str) -> None:
    assert verdict(row, Found([(ratio, 1.0)])) == word


def test_the_median_of_rounds_counts() -> None:
    assert verdict(COST, Found([(9.0, 1.0), (1.1, 1.0), (1.0, 1.0)])) == "met"
    assert verdict(BYTES, Found([(199.0, None), (200.0, None), (900.0, None)])) == "met"


def test_what_could_not_be_measured_says_so() -> None:
    assert verdict(COST, Found()) == "no figure: not measured"
    assert verdict(COST, Found([(1.0, None)], "roofline is not here")) == "no figure: roofline is not here"
    assert verdict(BYTES, Found([(1.0, None)], "roofline is not here")) == "met"


def test_files_are_put_together_by_row() -> None:
    first = {"cost": Found([(1.0, 1.0)], about="first"), "rate": Found([(1.0, 2.0)], about="first")}
    second = {
        "rate": Found([(3.0, 4.0)], about="second"),
        "cost": Found(missing="none"),
        "bytes": Found(missing="none"),
    }
    found = merged([from_saved(json.loads(json.dumps(to_save(run)))) for run in (first, second)])
    assert found == {"cost": first["cost"], "rate": second["rate"], "bytes": second["bytes"]}


def test_a_table_has_a_line_for_each_row() -> None:
    kept = {
        "cost": Found([(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)]),
        "rate": Found(missing="no roofline here"),
        "bytes": Found([(5.0, None)], "late"),
    }
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in targets_table([COST, RATE, BYTES], kept).splitlines()
    ]
    command = "`python benchmarks/compare.py --only fill --points 1000,10000 --peers fastgear,roofline`"
    assert lines[2:] == [
        ["cost", "2.00 µs", "roofline: 1.00 µs", "at most 1.2 x roofline", "2.00 x (1.00 to 3.00)", "3", "not met", command],
        ["rate", "", "no roofline here", "at least 0.8 x roofline", "", "0", "no figure: no roofline here", command],
        ["bytes", "5.00 B", "roofline: late", "at most 200 B", "5.00", "1", "met", command],
    ]  # fmt: skip
    assert summary([COST, RATE, BYTES], kept) == "Of 3 numbers 1 are met, 1 are not, and 1 have no figure."


def test_figures_in_a_file_and_why_they_are_not_there() -> None:
    assert read(OURS, SAVED) == 2.0 and read(replace(OURS, less=0.5), SAVED) == 1.5
    assert read(THEIRS, SAVED) is None and read(OURS, {}) is None
    assert read(Figure(("numbers",)), {"numbers": [1.0, 3.0]}) == 2.0
    assert why_not(THEIRS, SAVED, "something") == "more than 20 s"
    assert why_not(THEIRS, {}, "before\nroofline is not here\nafter") == "roofline is not here"
    assert why_not(THEIRS, {}, "before\nafter\n") == "after"
    assert why_not(THEIRS, {}, "") == "it is not among what was saved"


def test_who_is_first_changes_from_round_to_round() -> None:
    assert PROGRAM.command(0)[3:] == ["--points", "1000,10000", "--peers", "fastgear,roofline"]
    assert PROGRAM.command(1)[3:] == ["--points", "10000,1000", "--peers", "roofline,fastgear"]
    assert PROGRAM.command(2) == PROGRAM.command(0)


def test_rounds_go_over_all_programs_and_some_have_fewer() -> None:
    other = replace(PROGRAM, file="durable.py", most_rounds=1)
    chosen = [COST, RATE, replace(BYTES, program=other)]
    assert targets.steps_of(chosen, 2) == [(0, PROGRAM), (0, other), (1, PROGRAM)]


def test_rows_are_the_same_when_quick() -> None:
    titles = [row.title for row in rows()]
    assert titles == [row.title for row in rows(quick=True)] and len(set(titles)) == len(titles) == 28
    assert [row.title for row in targets.choose(rows(), "echo, PICK-UP")] == [
        "echo requests/s, 4 connections with 100 in flight",
        "pick-up of one background job by an idle Python worker, p50",
    ]
    with pytest.raises(SystemExit, match="no row has 'rabbit' in its title; there are\n  server CPU"):
        targets.choose(rows(), "rabbit")
