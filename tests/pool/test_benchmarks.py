# SPDX-License-Identifier: MIT
"""The benchmarks about the pool, briefly, so that they do not rot. What they measure is not looked at, only that it is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benches import bench

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")


def saved(folder: Path, *words: str) -> dict[str, Any]:
    file = folder / "saved.json"
    bench("pool.py", "--rounds", "1", "--save", str(file), *words)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("only", ["start", "one task at a time", "random order"])
def test_workloads(tmp_path: Path, only: str) -> None:
    found = saved(tmp_path, "--peers", "fastgear,Pool", "--only", only)
    assert len(found["results"]) == (2 if only == "one task at a time" else 1)
    for title, rounds in found["results"].items():
        assert len(rounds["fastgear"]) == len(rounds["Pool"]) == 1
        assert found["summary"][title]["fastgear"]["median"] == rounds["fastgear"][0] > 0
        assert found["summary"][title]["Pool"]["fastgear is x"] == rounds["fastgear"][0] / rounds["Pool"][0]


@pytest.mark.parametrize("peer", ["loky", "joblib", "mpire"])
def test_a_peer_that_may_be_missing(tmp_path: Path, peer: str) -> None:
    pytest.importorskip(peer)
    found = saved(tmp_path, "--peers", peer, "--only", "random order")
    assert len(found["results"]["heavy-tailed tasks, random order"][peer]) == 1


@pytest.mark.parametrize(
    ("only", "outcome"),
    [
        ("generator", "works"),
        ("killed", "costs one task, WorkerDied"),
        ("lambda", "works"),
        ("closure", "works"),
        ("__main__", "works"),
        ("method", "works"),
        ("cannot be pickled", "clear error: TransferError"),
        ("made again", "clear error: RemoteError"),
        ("sys.exit", "clear error: SystemExit"),
    ],
)
def test_how_our_pool_behaves(tmp_path: Path, only: str, outcome: str) -> None:
    found = saved(tmp_path, "--peers", "fastgear", "--only", only)
    ((_, peers),) = found["cases"].items()
    assert peers["fastgear"]["outcome"].startswith(outcome)
    assert "leaves" not in peers["fastgear"]["outcome"]


def test_what_hangs_is_seen_and_ended(tmp_path: Path) -> None:
    found = saved(tmp_path, "--peers", "Pool", "--only", "__main__", "--patience", "3")
    assert found["cases"]["function defined in __main__ later"]["Pool"]["outcome"] == "hangs"


def test_soak() -> None:
    lines = bench("pool_soak.py", "--minutes", "0.03").splitlines()
    counts = {line[:45].strip(): line[45:].split()[0] for line in lines[1:-1]}
    assert int(counts["submitted"].replace(",", "")) >= 500
    left = [name for name in counts if name.endswith(" left")]
    assert left == ["processes left", "descriptors left", "shared memory left", "files left"]
    assert {counts[name] for name in ["lost", "wrong", "run twice", *left]} == {"0"}


def test_switches() -> None:
    table = bench("pool_switches.py", "--tasks", "100", "--rounds", "1").splitlines()
    ways = {row.split(" | ")[0].strip("| "): row.split(" | ")[4] for row in table if row.startswith("| ")}
    assert float(ways["pipe"].split()[0]) >= 1.9  # each side waits once
    assert {"fastgear", "Pool"} < ways.keys()
