# SPDX-License-Identifier: MIT
"""The conformance suite on the model, and on SQLite with every durability; then what is SQLite's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from storage.conformance import Conformance, Reopen, SharedConformance, check_against_the_model
from storage.memory import MemoryStore

from fastgear.storage.sqlite import DURABILITIES, SqliteStore


class TestMemory(Conformance, SharedConformance):
    @pytest.fixture
    def reopen(self) -> Reopen:
        store = MemoryStore()
        return lambda: store

    @pytest.fixture
    def join(self) -> Reopen:
        shared: list[MemoryStore] = []
        return lambda: MemoryStore(shared)


class Opener:
    """Opens one file again and again."""

    def __init__(self, path: Path, durability: str) -> None:
        self._path, self._durability = path, durability
        self.store: SqliteStore | None = None

    def __call__(self) -> SqliteStore:
        self.close()
        self.store = SqliteStore(self._path, durability=self._durability)
        return self.store

    def close(self) -> None:
        if self.store is not None:
            self.store.close()


@pytest.mark.parametrize("durability", DURABILITIES)
class TestSqlite(Conformance):
    @pytest.fixture
    def reopen(self, tmp_path: Path, durability: str) -> Iterator[Reopen]:
        opener = Opener(tmp_path / "jobs.db", durability)
        yield opener
        opener.close()


@pytest.mark.parametrize("durability", ["off", "on-shutdown"])
def test_random_batches_leave_what_the_model_says(
    durability: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DURABILITIES, "on-shutdown", "OFF")  # what is synced is of no interest here, and takes long
    openers: list[Opener] = []

    def make() -> Reopen:
        folder = tempfile.mkdtemp(dir=tmp_path)
        openers.append(Opener(Path(folder, "jobs.db"), durability))
        return openers[-1]

    try:
        check_against_the_model(make)
    finally:
        for opener in openers:
            opener.close()
