# SPDX-License-Identifier: MIT
"""When benchmarks/guard.py reports a slowdown, and when it does not. Nothing is measured here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import guard
import pytest
from guards.baseline import Baseline, Known, Verdict, judge, judge_instructions, known_from, table
from guards.instructions import own_code
from guards.pairs import ratio_of

KNOWN = {"parser": Known(0.5, 0.01), "server_echo": Known(2.0, 0.05)}
LEAST = {"parser": 0.08, "server_echo": 0.1, "hash": 0.08}
HERE = "this machine"

Passes = list[dict[str, float]]


def verdict(name: str, *ratios: float) -> Verdict:
    (found,) = judge(KNOWN, {name: ratios}, LEAST)
    return found


def test_slower_faster_and_as_before() -> None:
    assert verdict("parser", 0.5).word == "as before"
    assert verdict("parser", 0.539).word == "as before"
    assert verdict("parser", 0.541).is_slower
    assert verdict("parser", 0.6).word == "SLOWER"
    assert verdict("parser", 0.4).is_faster and not verdict("parser", 0.4).is_slower


def test_what_is_noisy_may_differ_by_four_times_its_noise() -> None:
    assert verdict("server_echo", 2.38).word == "as before"
    assert verdict("server_echo", 2.42).is_slower


def test_the_median_of_passes_counts() -> None:
    assert verdict("parser", 0.5, 0.9, 0.51).word == "as before"
    assert verdict("parser", 0.6, 0.5, 0.61).is_slower


def test_a_guard_that_the_baseline_does_not_know_is_new() -> None:
    assert verdict("hash", 7.0) == Verdict("hash", None, 7.0, 0.0, 0.08)
    assert verdict("hash", 7.0).word == "new"


def test_instructions_are_exact_to_a_hundredth() -> None:
    found = judge_instructions({"parser": 100.0, "hash": 100.0}, {"parser": 100.9, "hash": 101.1, "encoder": 3.0})
    assert [one.word for one in found] == ["as before", "SLOWER", "new"]
    found = judge_instructions(
        {"parser, memory": 0.0, "hash, memory": 0.0}, {"parser, memory": 0.5, "hash, memory": 0.0}
    )
    assert [one.word for one in found] == ["SLOWER", "as before"]


def test_noise_is_that_of_passes_and_no_single_one_makes_it() -> None:
    assert known_from([1.0, 1.01, 0.99, 1.0, 3.0]) == Known(1.0, 0.0148)


def test_a_machine_that_changes_its_speed_changes_no_ratio() -> None:
    speeds = [1, 1, 1, 2, 2, 2, 1.5, 1.5, 1.5, 1, 1]
    references = [10.0 * speed for speed in speeds[::2]]
    assert ratio_of([5.0 * speed for speed in speeds[1::2]], references).value == pytest.approx(0.5)


def test_a_table_has_a_line_for_each_guard() -> None:
    lines = table([verdict("parser", 0.6), verdict("hash", 7.0)], "").splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["parser", "0.5000", "0.6000", "+20.0%", "+8.0%", "SLOWER"],
        ["hash", "7.0000", "+8.0%", "new"],
    ]


def test_a_baseline_is_of_a_machine_and_is_kept_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    Baseline(path).store_ratios("another", {"parser": Known(3.0, 0.0)})
    Baseline(path).store_ratios(HERE, KNOWN)
    Baseline(path).store_ratios(HERE, {"hash": Known(7.0, 0.02)})
    Baseline(path).store_instructions("gcc", {"parser": 154.1234567})
    again = Baseline(path)
    assert again.machines() == ["another", HERE]
    assert again.ratios(HERE) == KNOWN | {"hash": Known(7.0, 0.02)}
    assert again.ratios("another") == {"parser": Known(3.0, 0.0)}
    assert again.ratios("a third") == {}
    assert again.instructions("gcc") == {"parser": 154.123457}
    assert again.instructions("clang") == {}


CALLGRIND = """\
events: Ir
ob=(2) /somewhere/fastgear/core/input.so
fl=(1) input.c
fn=(1) __pyx_f_input
10 100
+3 20
cob=(3) /lib/libc.so.6
cfn=(2) memcpy
calls=5 0
+1 5000
* 7
cob=(4) /somewhere/fastgear/base/alloc.so
cfn=(3) __pyx_f_8fastgear_4base_5alloc_fg_malloc
calls=4 0
13 9000
ob=(3)
fn=(2)
0 5000
ob=(4)
fn=(3)
1 40
cob=(3)
cfn=(4) malloc
calls=4 0
1 8960
totals: 14127
""".splitlines()


def test_instructions_are_those_of_own_code_and_asking_for_memory_is_counted() -> None:
    assert own_code(CALLGRIND, ["/somewhere/fastgear/"]) == (100 + 20 + 7 + 40, 4)
    assert own_code(CALLGRIND, ["/elsewhere/"]) == (0, 4)


# -- the command, with passes that are made up


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """run(passes, *words): each pass says the ratios of all guards; they are used up in the end."""
    monkeypatch.setattr(guard, "machine", lambda: HERE)
    monkeypatch.setattr(guard, "toolchain", lambda: "gcc")

    def run(passes: Passes, *words: str) -> int:
        left = list(passes)

        def one_pass(names: Sequence[str], *, shown: bool) -> dict[str, float]:
            found = left.pop(0)
            return {name: found[name] for name in names}

        monkeypatch.setattr(guard, "one_pass", one_pass)
        path = str(tmp_path / "baseline.json")
        command = ["guard.py", "--baseline", path, "--only", "parser,hash", "--without-instructions", *words]
        monkeypatch.setattr(sys, "argv", command)
        code = guard.main()
        assert not left
        return code

    return run


CLEAN = {"parser": 0.5, "hash": 7.0}
SLOW = {"parser": 0.6, "hash": 7.0}


def test_without_a_baseline_it_says_so_and_stores_one(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([CLEAN] * 5) == 0
    said = capsys.readouterr().out
    assert f"There is no baseline for {HERE}" in said and "stored in" in said and "commit it" in said
    assert run([CLEAN]) == 0
    assert "nothing has become slower" in capsys.readouterr().out


def test_a_slowdown_is_measured_again_and_then_fails(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    run([CLEAN] * 5)
    assert run([SLOW, SLOW, SLOW, SLOW]) == 1
    said = capsys.readouterr().out
    assert "SLOWER than the baseline: parser" in said and "--store --only parser" in said


def test_a_slowdown_that_does_not_come_again_is_none(run: Callable[..., int]) -> None:
    run([CLEAN] * 5)
    assert run([SLOW, CLEAN, SLOW, CLEAN]) == 0


def test_what_is_meant_to_be_slower_is_stored(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    run([CLEAN] * 5)
    assert run([SLOW] * 5, "--store") == 0
    assert run([SLOW]) == 0
    capsys.readouterr()
    assert run([CLEAN] * 4) == 0
    assert "better than the baseline, or not in it: parser" in capsys.readouterr().out


def test_without_valgrind_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert guard.count_instructions(["parser"], True) == {}
    assert "valgrind is not installed" in capsys.readouterr().out


def test_an_unknown_guard_is_refused(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run([], "--only", "parsers")
    assert "there is no guard parsers" in capsys.readouterr().err
