# SPDX-License-Identifier: MIT
"""Every foreign client with every foreign worker, and with fastgear's own, through a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from foreign.matrix import expected, on_stage, try_pair, write
from foreign.peers import PEERS
from foreign.stage import Stage
from servers import need

DOCUMENT = Path(__file__).parents[2] / "docs" / "foreign-peers.md"


@pytest.fixture(scope="module")
def stage(pytestconfig: pytest.Config) -> Iterator[Stage]:
    if pytestconfig.getoption("--server") != "fastgear":
        pytest.skip("what gearmand does otherwise here is in tests/wire; `python -m tests.foreign gearmand` shows it")
    with on_stage() as stage:
        yield stage


@pytest.mark.parametrize("worker", PEERS)
@pytest.mark.parametrize("client", PEERS)
def test_a_client_and_a_worker_meet(stage: Stage, client: str, worker: str) -> None:
    for name in stage.missing & {client, worker}:
        need(PEERS[name].title, PEERS[name].package, PEERS[name].install)
    cells = try_pair(stage, client, worker)
    assert cells == expected()[client, worker], "\n".join(f"{name}: {text}" for name, text in cells.items() if text)


def test_the_document_shows_the_matrix() -> None:
    assert write(expected()) in DOCUMENT.read_text(), "docs/foreign-peers.md is old: python -m tests.foreign prints it"
