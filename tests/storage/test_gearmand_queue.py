# SPDX-License-Identifier: MIT
"""gearmand's SQLite queue becomes a store: once, with everything that it kept, and without losing the old table."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from servers import need, run_server
from storage.conformance import jobs

from fastgear.errors import StoreError, StoreTrouble
from fastgear.storage.sqlite import SqliteStore
from fastgear.storage.store import Batch
from fastgear.storage.view import SqliteView

# As gearmand makes it.
TABLE = """CREATE TABLE {name} ( unique_key TEXT, function_name TEXT, priority INTEGER, data BLOB, when_to_run INTEGER,
PRIMARY KEY (unique_key, function_name))"""
LATEST_S = 2**63 // 10**9 - 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gearmand.sqlite"


def fill(path: Path, rows: list[tuple[object, ...]], name: str = "gearman_queue", table: str = TABLE) -> None:
    """Text is bound as whatever bytes there were, which gearmand does."""
    db = sqlite3.connect(path)
    quoted = '"' + name.replace('"', '""') + '"'
    db.execute(table.format(name=quoted))
    for row in rows:
        marks = ", ".join(
            "CAST(? AS TEXT)" if isinstance(value, bytes) and i < 2 else "?" for i, value in enumerate(row)
        )
        db.execute(f"INSERT OR REPLACE INTO {quoted} VALUES ({marks})", row)
    db.commit()
    db.close()


def names(path: Path) -> set[str]:
    db = sqlite3.connect(path)
    found = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    db.close()
    return found


def test_every_row_becomes_a_job_in_its_order(path: Path) -> None:
    odd = b"\xff\x00\xfe'\" \n"
    rows: list[tuple[object, ...]] = [
        (b"zzz", b"reverse", 1, b"first", 0),
        (b"aaa", b"reverse", 0, b"\x00\xff", 1_900_000_000),
        (b"", b"reverse", 2, b"no unique", 0),
        (odd, odd, 1, b"odd", 0),
        (b"u", b"empty", 1, None, 0),
        (None, None, None, None, None),
        (b"text", b"f", 9, "text", -5),
        (b"late", b"f", -1, b"", 2**62),
    ]
    fill(path, rows)
    before = time.time_ns()
    with SqliteStore(path, numbers_from=1000) as store:
        found = jobs(store)
        assert store.imported == len(rows) and store.last_number == 1008 and store.check() == []
    assert [one.number for one in found] == list(range(1001, 1009))
    assert [one.unique for one in found] == [b"zzz", b"aaa", b"", odd, b"u", b"", b"text", b"late"]
    assert [one.function for one in found] == [b"reverse"] * 3 + [odd, b"empty", b"", b"f", b"f"]
    assert [one.priority for one in found] == [1, 0, 2, 1, 1, 1, 1, 1]
    assert [one.workload for one in found] == [b"first", b"\x00\xff", b"no unique", b"odd", b"", b"", b"text", b""]
    assert [one.due_ns // 10**9 for one in found] == [0, 1_900_000_000, 0, 0, 0, 0, 0, LATEST_S]
    assert {(one.attempts, one.reducer) for one in found} == {(0, None)}
    assert all(before <= one.submitted_ns <= time.time_ns() for one in found)


def test_it_happens_once_and_the_old_table_stays_under_another_name(path: Path) -> None:
    fill(path, [(b"u", b"f", 1, b"w", 0)])
    with SqliteStore(path) as store:
        assert (store.imported, store.last_number) == (1, 1)
        store.append(Batch(ended=[1]))
    with SqliteStore(path) as store:
        assert (store.imported, jobs(store), store.last_number) == (0, [], 1)
    assert names(path) == {"servers", "jobs", "dead", "gearman_queue_imported_by_fastgear"}


def test_a_queue_that_gearmand_made_again_in_the_same_file_is_imported_too(path: Path) -> None:
    for turn in range(1, 4):
        fill(path, [(b"u", b"f", 1, b"%d" % turn, 0), (b"v", b"f", 1, b"", 0)])
        with SqliteStore(path) as store:
            assert (store.imported, store.last_number) == (2, 2 * turn)
    with SqliteStore(path) as store:
        assert [one.workload for one in jobs(store)] == [b"1", b"", b"2", b"", b"3", b""]
    assert {f"gearman_queue_imported_by_fastgear{end}" for end in ("", "_2", "_3")} < names(path)


def test_the_table_may_have_another_name_and_be_of_an_older_gearmand(path: Path) -> None:
    older = "CREATE TABLE {name} (unique_key TEXT PRIMARY KEY, function_name TEXT, priority INTEGER, data BLOB)"
    fill(path, [(b"u", b"f", 1, b"w")], 'my "queue"', older)
    with pytest.raises(StoreError, match='gearmand\'s with gearman_queue: its tables are my "queue"'):
        SqliteStore(path)
    with SqliteStore(path, gearmand_table='my "queue"') as store:
        assert [(one.unique, one.due_ns) for one in jobs(store)] == [(b"u", 0)]


def test_a_table_that_is_empty_is_no_trouble(path: Path) -> None:
    fill(path, [])
    with SqliteStore(path) as store:
        assert (store.imported, store.last_number) == (0, 0)


def test_an_import_that_cannot_be_done_leaves_gearmands_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastgear.storage.view._WAIT_S", 0.01)
    fill(path, [(b"u", b"f", 1, b"w", 0)])
    with pytest.raises(StoreError, match="no jobs of fastgear yet"):
        SqliteView(path)
    blocking = sqlite3.connect(path, isolation_level=None, timeout=0)
    blocking.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreTrouble, match="locked"):
        SqliteStore(path)
    blocking.close()
    assert names(path) == {"gearman_queue"}
    with SqliteStore(path) as store:
        assert store.imported == 1


def test_a_queue_of_gearmand_itself(path: Path, tmp_path: Path) -> None:
    submit = shutil.which("gearman")
    if submit is None:
        need("gearman", "gearman-tools")
    sent = {b"one": b"first\n", b"two": b"\x00\xff", b"three": b""}
    with run_server("gearmand", tmp_path, "-q", "libsqlite3", "--libsqlite3-db", str(path)) as server:
        for unique, workload in sent.items():
            words = [str(submit), "-h", server.host, "-p", str(server.port), "-b", "-f", "mail", "-u", unique.decode()]
            subprocess.run(words, input=workload, check=True, timeout=20, stdout=subprocess.DEVNULL)
    with SqliteStore(path) as store:
        assert store.imported == 3 and store.check() == []
        assert {one.unique: one.workload for one in jobs(store)} == sent
        assert [one.function for one in jobs(store)] == [b"mail"] * 3
