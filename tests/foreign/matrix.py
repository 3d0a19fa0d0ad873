# SPDX-License-Identifier: MIT
"""The pairs one by one, and what came of them as a Markdown table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from foreign.driver import Trouble
from foreign.features import FEATURES
from foreign.peers import AS_FAILURE, CANNOT, CLIENT, PEERS, can
from foreign.stage import Stage
from servers import run_server

__all__ = ["expected", "on_stage", "try_pair", "write"]

Cells = dict[str, str]  # feature: "" where it worked, else what went wrong


@contextmanager
def on_stage(kind: str = "fastgear") -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder, run_server(kind, Path(folder)) as server:
        stage = Stage(server, Path(folder))
        try:
            stage.start()
            yield stage
        finally:
            stage.close()


def try_pair(stage: Stage, client: str, worker: str) -> Cells:
    """Every feature that both have. After a failure both start afresh, so that the next one is on its own."""
    cells = {}
    for feature, attempt in FEATURES.items():
        if not can(client, worker, feature):
            continue
        cells[feature] = ""
        try:
            attempt(stage, client, worker)
        except (Trouble, OSError) as trouble:
            cells[feature] = f"{trouble}\n{stage.log(client)}\n{stage.log(worker)}"
            stage.restart(*dict.fromkeys((client, worker)))
    return cells


def expected() -> dict[tuple[str, str], Cells]:
    """Of every pair, if all that both can do works."""
    return {
        (client, worker): {feature: "" for feature in FEATURES if can(client, worker, feature)}
        for client in PEERS
        for worker in PEERS
    }


def write(results: Mapping[tuple[str, str], Cells]) -> str:
    lines = ["| client | worker | " + " | ".join(FEATURES) + " |", "|---|---|" + "---|" * len(FEATURES)]
    for (client, worker), cells in results.items():
        lines.append(f"| {client} | {worker} | " + " | ".join(_cell(client, cells, name) for name in FEATURES) + " |")
    return "\n".join(lines) + "\n\n" + _reasons()


def _cell(client: str, cells: Cells, feature: str) -> str:
    if feature not in cells:
        return "-"
    if cells[feature]:
        return "**no**"
    return "as failure" if feature == "exception" and client in AS_FAILURE else "yes"


def _reasons() -> str:
    lines = ["A dash is what a client or a worker cannot do:", ""]
    for (name, role), features in CANNOT.items():
        lines += [f"- {name} as {role}, {feature}: {reason}." for feature, reason in features.items()]
    lines += [f"- {name} as {CLIENT}, exception: {reason}." for name, reason in AS_FAILURE.items()]
    return "\n".join(lines)
