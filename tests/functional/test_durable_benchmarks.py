# SPDX-License-Identifier: MIT
"""The programs that prove and measure durable jobs, briefly. Of what they measure only what must be is looked at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from benches import bench, run_bench
from servers import GEARMAND, need

pytestmark = pytest.mark.skipif(
    "config.getoption('--server') != 'fastgear'", reason="they start the servers themselves"
)

MUST_BE_NONE = ("lost", "run twice in one life", "run again though its end was recorded", "another job's handle")


def need_gearmand() -> None:
    if GEARMAND is None:
        need("gearmand", "gearman-job-server")


def balance(folder: Path, *words: str, may_lose: bool = False) -> dict[str, int]:
    code, output = run_bench("durable_kills.py", "--seed", "7", "--save", f"{folder}/saved.json", *words)
    saved: dict[str, Any] = json.loads((folder / "saved.json").read_text())
    found: dict[str, int] = saved["balance"]
    assert saved["times"]["odd"] == [], output
    assert found["acknowledged"] > 0, output
    if not may_lose:
        assert (code, [found[name] for name in MUST_BE_NONE]) == (0, [0] * len(MUST_BE_NONE)), output
    return found


@pytest.mark.parametrize("words", [[], ["--durability", "normal", "--dead-after", "5"]], ids=["full", "normal"])
def test_kills(tmp_path: Path, words: list[str]) -> None:
    balance(tmp_path, "--cycles", "5", *words)


def test_the_ledger_knows_what_is_lost(tmp_path: Path) -> None:
    """Or else the test above would show nothing: what is stored at the end only is lost by a kill."""
    found = balance(tmp_path, "--cycles", "3", "--durability", "on-shutdown", may_lose=True)
    assert found["lost"] > 0


def test_kills_of_gearmand(tmp_path: Path) -> None:
    need_gearmand()
    balance(tmp_path, "--peer", "gearmand", "--cycles", "3", may_lose=True)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_losses_of_power(tmp_path: Path) -> None:
    balance(tmp_path, "--power", "--cycles", "5")


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_losses_of_power_do_lose_what_is_not_synced(tmp_path: Path) -> None:
    """Or else the test above would show nothing."""
    found = balance(tmp_path, "--power", "--cycles", "3", "--durability", "normal", may_lose=True)
    assert found["lost"] > 0


def measured(folder: Path, only: str) -> dict[str, list[dict[str, float]]]:
    words = ("--rounds", "1", "--seconds", "0.2", "--jobs", "300000", "--patience", "0.5")
    bench("durable.py", *words, "--only", only, "--save", f"{folder}/saved.json")
    found: dict[str, list[dict[str, float]]] = json.loads((folder / "saved.json").read_text())["results"]
    return found


def test_submissions_and_latencies(tmp_path: Path) -> None:
    found = measured(tmp_path, "normal")
    assert list(found) == ["fastgear, full", "fastgear, normal"]
    assert all(value > 0 for rounds in found.values() for one in rounds for value in one.values())


def test_submissions_and_latencies_beside_gearmand(tmp_path: Path) -> None:
    need_gearmand()
    found = measured(tmp_path, "gearmand")
    assert found["gearmand"][0]["submits_per_s"] > 0


@pytest.mark.parametrize("only", ["fastgear", "gearmand"])
def test_restart(tmp_path: Path, only: str) -> None:
    if only == "gearmand":
        need_gearmand()
    words = ("--jobs", "3000", "--sample", "100", "--only", only)
    bench("durable_restart.py", *words, "--save", f"{tmp_path}/saved.json")
    first, second = json.loads((tmp_path / "saved.json").read_text())
    assert first["in_order"] == second["in_order"] == 100
