# SPDX-License-Identifier: MIT
"""A look into a store in SQLite, beside the server that has it if one has."""

from __future__ import annotations

import os
import sqlite3
import stat
import urllib.parse  # noqa: F401 - as_uri needs it since Python 3.13, when `--user` may no longer read the library
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from fastgear.errors import StoreError
from fastgear.storage import rows
from fastgear.storage.gearmand import DEFAULT_TABLE
from fastgear.storage.schema import MIGRATIONS, OWNER, examine
from fastgear.storage.store import DeadJob, ReplayedJob, StoredJob
from fastgear.storage.trouble import store_error

__all__ = ["SqliteView", "connect", "refuse_other_than_file"]

_WAIT_S = 5.0  # for another process that writes


def connect(path: str, mode: str) -> sqlite3.Connection:
    """A connection whose transactions begin and end where the code says so. `mode` is ro or rw: the file is never made."""
    uri = f"{Path(path).absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)


def refuse_other_than_file(path: str) -> None:
    """SQLite takes a directory for a disk with errors. What cannot be looked at shows later."""
    with suppress(OSError):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise StoreError(f"{path} is {what}; a store is a file, which is made if it is not there")


class SqliteView:
    """Reads jobs and dead ones, and can drop the latter; takes no lock for longer than that, and changes nothing else.

    Where no server has the file, -wal and -shm may stay beside it afterwards. Raises StoreError, and FileNotFoundError when
    there is no such file.
    """

    def __init__(self, path: str | os.PathLike[str], *, writable: bool = False) -> None:
        self._path = os.path.realpath(path)
        self._mode = "rw" if writable else "ro"
        self._db: sqlite3.Connection | None = None
        os.stat(self._path)
        refuse_other_than_file(self._path)
        try:
            with self._using() as db:
                self._must_be_current(db)
        except BaseException:
            self._disconnect()
            raise

    def _must_be_current(self, db: sqlite3.Connection) -> None:
        version = examine(db, self._path, DEFAULT_TABLE)
        if version == 0:
            raise StoreError(
                f"{self._path} has no jobs of fastgear yet; a server that is started on it will import gearmand's, if there are any"
            )
        if version < len(MIGRATIONS):
            raise StoreError(
                f"{self._path} was written by an older fastgear; a server of this version brings it up to date"
            )

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The connection; what SQLite raises there comes out in our words."""
        try:
            if self._db is None:
                self._db = self._open()
            yield self._db
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _open(self) -> sqlite3.Connection:
        return connect(self._path, self._mode)

    def _failed(self, error: sqlite3.Error) -> Exception:
        """Rows of wrong types are a mistake of the caller, and stay what they are."""
        if isinstance(error, sqlite3.DataError):
            return StoreError(f"{self._path}: a job is larger than SQLite can store: {error}")
        ours = isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError))
        return error if ours else store_error(self._path, error)

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """Everything within, or nothing. Within another one it is a part of that."""
        with self._using() as db:
            if db.in_transaction:
                yield db
                return
            db.execute(begin)
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within, everything is as it was at the first look."""
        with self._transaction("BEGIN"):
            yield

    @property
    def path(self) -> str:
        return self._path

    @property
    def prefix(self) -> str:
        with self._using() as db:
            return str(self._about("prefix", db)[0])

    @property
    def last_number(self) -> int:
        with self._using() as db:
            return int(self._about("last_number", db)[0])

    def _about(self, columns: str, db: sqlite3.Connection) -> tuple[Any, ...]:
        found: tuple[Any, ...] | None = db.execute(
            f"SELECT {columns} FROM servers WHERE owner = ?", (OWNER,)
        ).fetchone()
        if found is None:
            raise StoreError(f"{self._path} has no row about its server; run `fastgear store check` on it")
        return found

    def replay(self, with_workloads_up_to: int | None = None) -> Iterator[list[ReplayedJob]]:
        last, after = self.last_number, 0
        budget = float("inf") if with_workloads_up_to is None else with_workloads_up_to
        while True:
            with self._using() as db:
                jobs, budget = rows.read_jobs(db, after, last, budget)
            if not jobs:
                return
            after = jobs[-1].number
            yield jobs

    def workload(self, number: int) -> bytes:
        with self._using() as db:
            found = db.execute("SELECT workload FROM jobs WHERE number = ?", (number,)).fetchone()
        if found is None:
            raise KeyError(number)
        workload: bytes = found[0]
        return workload

    def count(self) -> tuple[int, int]:
        """How many jobs wait, and how many are dead."""
        with self._using() as db:
            (jobs,) = db.execute("SELECT count(*) FROM jobs").fetchone()
            (dead,) = db.execute("SELECT count(*) FROM dead").fetchone()
        return jobs, dead

    def known(self, numbers: list[int]) -> list[int]:
        """Those of the numbers that are a job's, waiting or dead."""
        with self._using() as db:
            return rows.known(db, numbers)

    def dead(self, limit: int | None = None) -> Iterator[DeadJob]:
        after, left = 0, limit
        while left is None or left > 0:
            with self._using() as db:
                found = rows.dead_jobs(db, after, 100 if left is None else min(left, 100))
            if not found:
                return
            yield from found
            after = found[-1].job.number
            left = None if left is None else left - len(found)

    def dead_job(self, number: int) -> StoredJob:
        """Return a dead job. Raises KeyError."""
        with self._using() as db:
            found = rows.dead_jobs(db, number - 1, 1)
        if not found or found[0].job.number != number:
            raise KeyError(number)
        return found[0].job

    def drop_dead(self, number: int) -> None:
        with self._transaction() as db:
            dropped = db.execute("DELETE FROM dead WHERE number = ?", (number,)).rowcount
        if not dropped:
            raise KeyError(number)

    def check(self) -> list[str]:
        with self._using() as db:
            return list(rows.complaints(db))

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    def close(self) -> None:
        self._disconnect()

    def __enter__(self) -> SqliteView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
