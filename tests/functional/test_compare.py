# SPDX-License-Identifier: MIT
"""The program that compares job servers, briefly, with fastgear alone. Its figures are not looked at, only that they are there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from benches import FOLDER, bench

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="it starts the servers itself")

BRIEFLY = ("--peers", "fastgear", "--rounds", "1", "--seconds", "0.2", "--quiet")


def rows(output: str) -> dict[str, str]:
    """Of all tables, the first cell and the second."""
    cells = [line.split("|") for line in output.splitlines() if line.startswith("| ")]
    return {found[1].strip(): found[2].strip() for found in cells}


def test_loads() -> None:
    found = rows(bench("compare.py", *BRIEFLY, "--only", "loads"))
    titles = [title for title, server in found.items() if server == "fastgear"]
    assert len(titles) == 4 and "4 connections, 100 echoes in flight" in titles


@pytest.mark.alone("a point that takes too long ends its curve")
def test_curves_are_saved_and_shown_again(tmp_path: Path) -> None:
    saved, page = tmp_path / "saved.json", tmp_path / "page.md"
    words = ("--only", "fill,payload", "--most", "1000")
    found = rows(bench("compare.py", *BRIEFLY, *words, "--save", str(saved)))
    assert found["bytes of the workload; server CPU, µs a job"] == "fastgear" and found["256 B"]
    assert {"1 k", "0 B", "16 B"} < found.keys()
    kept = json.loads(saved.read_text())
    assert kept["rounds"]["fill"]["1 k"]["fastgear"][0]["jobs"] == 1000 and kept["about"].startswith("20")
    page.write_text(
        "<!-- fill -->\n<!-- end -->\nbefore\n<!-- payload -->\nold\n<!-- end -->\nafter\n<!-- nothing -->\n<!-- end -->\n"
    )
    shown = rows(bench("compare.py", "--load", str(saved), "--page", str(page)))
    assert shown == found
    text = page.read_text()
    assert "|\n<!-- end -->\nbefore\n<!-- payload -->\n| bytes of" in text and text.endswith(
        "after\n<!-- nothing -->\n<!-- end -->\n"
    )
    assert "old" not in text


def test_a_server_that_takes_too_long_is_stopped() -> None:
    words = ("--only", "fill", "--most", "100000", "--point-limit", "0.01")
    found = bench("compare.py", *BRIEFLY, *words)
    assert rows(found)["1 k"] == "more than 0.01 s" and rows(found)["10 k"] == "", "it does not go on to larger values"


def test_points_in_the_order_given(tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    bench("compare.py", *BRIEFLY, "--only", "fill,memory", "--points", "100000,1000,1000", "--save", str(saved))
    kept = json.loads(saved.read_text())["rounds"]
    assert {label: len(by_peer["fastgear"]) for label, by_peer in kept["fill"].items()} == {"100 k": 1, "1 k": 2}
    (memory,) = kept["memory"]["100 k"]["fastgear"]
    assert memory["bytes_per_job"] > 0 and memory["given_back"] > 0
    shown = rows(bench("compare.py", "--load", str(saved)))
    assert shown["100 k"] == "fastgear" and shown["1 k"], "memory has a row for each server"


@pytest.mark.alone("a point that takes too long ends its curve")
def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    words = ("--only", "functions", "--most", "10", "--pictures", str(tmp_path))
    found = rows(bench("compare.py", *BRIEFLY, *words))
    assert found["last over 1"].endswith(" x")
    picture = tmp_path / "functions.svg"
    assert picture.stat().st_size < 60_000
    texts = "".join(ElementTree.fromstring(picture.read_text()).itertext())
    assert "functions of each worker" in texts and "fastgear" in texts


def test_no_pictures_without_matplotlib(tmp_path: Path) -> None:
    program = f"import sys; sys.modules['matplotlib'] = None; sys.path.insert(0, {str(FOLDER)!r})\n"
    program += "from pathlib import Path; from peers.pictures import draw; from peers.rounds import Results\n"
    program += f"assert draw([], Results(), Path({str(tmp_path)!r})) == []"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.startswith("no pictures: ") and not list(tmp_path.iterdir())


def test_names_that_there_are_not() -> None:
    command = [sys.executable, str(FOLDER / "compare.py"), "--peers", "rabbit"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stderr.startswith(
        "there is no server 'rabbit'; there are fastgear, roofline, "
    )


def test_python_clients_and_workers(tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    found = rows(bench("python_side.py", "--rounds", "1", "--jobs", "200", "--save", str(saved)))
    assert {"fastgear, prefetch", "fastgear", "gear", "pygearman"} < found.keys()
    assert all(int(found[kind].split()[0].replace(",", "")) > 0 for kind in ("fastgear", "gear", "pygearman"))
    kept = json.loads(saved.read_text())["results"]
    assert f"{kept['gear'][0]['jobs_per_s']:,.0f}" == found["gear"].split()[0] and kept["gear"][0]["pick_up_us"] > 0
