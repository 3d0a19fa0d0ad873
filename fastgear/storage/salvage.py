# SPDX-License-Identifier: MIT
"""A look into a damaged store: all that can be read, with the places counted that cannot."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastgear.storage import rows
from fastgear.storage.store import DeadJob, ReplayedJob, StoredJob
from fastgear.storage.view import SqliteView

__all__ = ["SalvageView"]

_END = 2**63 - 1


class SalvageView(SqliteView):
    """Passes over what is damaged. What makes the file a store has to be whole: its first page, and the row of its server."""

    gaps = 0

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """There is none: SQLite does not end a transaction well in which it met damage."""
        yield

    def replay(self, with_workloads_up_to: int | None = None) -> Iterator[list[ReplayedJob]]:
        for row in self._readable(rows.ALL_JOBS):
            yield [ReplayedJob._make((*row, len(row[4])))]

    def dead(self, limit: int | None = None) -> Iterator[DeadJob]:
        for row in self._readable(rows.ALL_DEAD):
            yield DeadJob(StoredJob._make(row[:9]), row[9], row[10])

    def _readable(self, select: str) -> Iterator[tuple[Any, ...]]:
        """`select` yields rows above a number in their order, and the number first."""
        after: int | None = 0
        while after is not None:
            with self._using() as db:
                try:
                    for row in db.execute(select, (after,)):
                        yield row
                        after = row[0]
                    return
                except sqlite3.DatabaseError as error:
                    if isinstance(error, sqlite3.OperationalError):
                        raise
                    self.gaps += 1
                    after = _behind_damage(db, select, after)


def _behind_damage(db: sqlite3.Connection, select: str, bad: int) -> int | None:
    """The least number, as far as can be told, above which rows can be read again; None: there is none."""
    step = 1
    while not _can_be_read(db, select, bad + step):
        bad += step
        step *= 2
        if bad + step >= _END:
            return None
    good = bad + step
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (bad, middle) if _can_be_read(db, select, middle) else (middle, good)
    return good


def _can_be_read(db: sqlite3.Connection, select: str, after: int) -> bool:
    try:
        db.execute(f"{select} LIMIT 1", (after,)).fetchone()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False
    return True
