# SPDX-License-Identifier: MIT
"""The program that says which numbers are reached, briefly. Its figures are not looked at, only that they are there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from benches import FOLDER

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="it starts the servers itself")

ECHO = "echo requests/s, 4 connections with 100 in flight"
IDLE = "one job with 500 idle workers, p50"
QUICK = (sys.executable, str(FOLDER / "targets.py"), "--quick")
LOAD = (sys.executable, str(FOLDER / "targets.py"), "--load")


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def table(output: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split(" | ")] for line in output.splitlines() if line.startswith("| ")]
    return {row[0].removeprefix("| "): row[1:] for row in rows[2:]}


def test_some_rows_saved_and_put_together_on_a_page(tmp_path: Path) -> None:
    first, second, page = tmp_path / "first.json", tmp_path / "second.json", tmp_path / "page.md"
    shown = table(run(*QUICK, "--only", "echo,idle workers", "--save", str(first)))
    assert list(shown) == [ECHO, IDLE, "one job with 500 idle workers, server CPU"]
    assert all(row[4] == "1" and row[5] in ("met", "not met") for row in shown.values())
    run(*QUICK, "--only", "echo", "--rounds", "2", "--save", str(second))
    page.write_text("before\n<!-- targets -->\nold\n<!-- end -->\nafter\n")
    both = table(run(*LOAD, str(first), str(second), "--page", str(page)))
    assert len(both) == 28 and both[ECHO][4] == "2" and both[IDLE][:6] == shown[IDLE][:6]
    assert both["pool: start, one task, stop"][4:6] == ["0", "no figure: not measured"]
    assert table(page.read_text()) == both and "old" not in page.read_text()
    assert page.read_text().endswith("|\n<!-- end -->\nafter\n")


def test_an_interruption_leaves_what_there_is(tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    command = [*QUICK, "--only", "echo,random order", "--rounds", "9", "--save", str(saved)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(f"[1/18] {ECHO}: ")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.startswith("interrupted: "), errors
    assert table(output)[ECHO][4] == "1"
    assert table(output)["pool: heavy-tailed tasks, random order"][5] == "no figure: not measured"
    assert len(json.loads(saved.read_text())["rows"][ECHO]["pairs"]) == 1


def test_a_page_takes_all_rows() -> None:
    done = subprocess.run([*QUICK, "--page", "page.md"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "a page takes all rows, in full" in done.stderr
