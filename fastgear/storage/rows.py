# SPDX-License-Identifier: MIT
"""The rows of a store in SQLite: a batch written in few statements, and jobs read back. Knows no files and no transactions.

Python gives up the GIL for each step of a statement, and in a busy program waits five milliseconds to get it back. With a row to a
step, a batch would take as many times that; so hundreds of rows share a step wherever there may be many.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from fastgear.storage.schema import OWNER
from fastgear.storage.store import Batch, DeadJob, JobRow, ReplayedJob, StoredJob

__all__ = [
    "ALL_DEAD",
    "ALL_JOBS",
    "apply",
    "complaints",
    "dead_jobs",
    "forget",
    "known",
    "largest",
    "move_back",
    "read_jobs",
]

_JOB = 'number, function, "unique", reducer, workload, priority, due_ns, attempts, submitted_ns'
_NO_WORKLOAD = _JOB.replace("workload", "NULL")
ALL_JOBS = f"SELECT {_JOB} FROM jobs WHERE number > ? ORDER BY number"
ALL_DEAD = f"SELECT {_JOB}, reason, died_ns FROM dead WHERE number > ? ORDER BY number"
_CHUNK_ROWS = 5_000
_CHUNK_BYTES = 8 << 20
_SMALL = 2000  # bytes that are copied without a thought
_BLOCKS = (1024, 256, 64, 16, 4, 1) if sqlite3.sqlite_version_info >= (3, 32) else (64, 16, 4, 1)  # rows to a statement
_INSERT = f"INSERT OR REPLACE INTO jobs ({_JOB}, owner) VALUES "
_ROW = f"(?, ?, ?, nullif(?, -1), ?, ?, ?, ?, ?, {OWNER})"
_FIELDS = len(StoredJob._fields)
_STATEMENTS = [(count * _FIELDS, _INSERT + ", ".join([_ROW] * count)) for count in _BLOCKS]
_LISTED = "(SELECT value FROM json_each(?))"


def largest(rows: Iterable[JobRow]) -> int:
    """The largest number among jobs, 0 of none."""
    return max(map(itemgetter(0), rows), default=0)


def apply(db: sqlite3.Connection, batch: Batch, last_number: int, new_last: int) -> None:
    """Write a batch to a store that has had no number above `last_number`: a job that is new and ends here leaves no trace."""
    dead = {number: (reason, at) for number, reason, at in reversed(batch.dead)}  # who is dead cannot die again
    ended = set(batch.ended) - dead.keys()
    attempts = {number: count for count, number in batch.attempts if number not in ended}
    rows: Sequence[JobRow] = batch.submitted
    if rows and ended:
        fresh = {row[0] for row in rows if row[0] > last_number}
        rows = [row for row in rows if row[0] not in ended]
        ended -= fresh
    if rows and attempts:
        rows = [(*row[:7], attempts.get(row[0], row[7]), row[8]) for row in rows]
        attempts = {number: count for number, count in attempts.items() if number <= last_number}
    _insert(db, rows)
    _count_attempts(db, attempts)
    for number, (reason, at) in dead.items():
        _bury(db, number, reason, at)
    _delete(db, [*ended, *dead])
    if new_last > last_number:
        db.execute("UPDATE servers SET last_number = ? WHERE owner = ?", (new_last, OWNER))


def _insert(db: sqlite3.Connection, rows: Iterable[JobRow]) -> None:
    values, at = _values(rows), 0
    for count, statement in _STATEMENTS:
        while len(values) - at >= count:
            db.execute(statement, values[at : at + count])
            at += count


def _values(rows: Iterable[JobRow]) -> list[object]:
    """The fields of all rows, one after the other, as sqlite3 takes them soonest.

    It looks for an adapter for each bytes and None, which takes longer than all the rest; bytearrays and numbers go straight in.
    """
    values: list[object] = []
    functions: dict[bytes, bytearray] = {}
    for number, function, unique, reducer, workload, priority, due_ns, attempts, submitted_ns in rows:
        name = functions.get(function)
        if name is None:
            name = functions[function] = bytearray(function)
        values += (
            number,
            name,
            bytearray(unique),
            -1 if reducer is None else bytearray(reducer),
            bytearray(workload) if len(workload) < _SMALL else workload,
            priority,
            due_ns,
            attempts,
            submitted_ns,
        )
    return values


def _count_attempts(db: sqlite3.Connection, attempts: dict[int, int]) -> None:
    """A statement for each count, of which there are few."""
    by_count: dict[int, list[int]] = {}
    for number, count in attempts.items():
        by_count.setdefault(count, []).append(number)
    for count, numbers in by_count.items():
        db.execute(f"UPDATE jobs SET attempts = ? WHERE number IN {_LISTED}", (count, json.dumps(numbers)))


def _bury(db: sqlite3.Connection, number: int, reason: str, at_ns: int) -> None:
    db.execute(
        f"INSERT OR REPLACE INTO dead ({_JOB}, owner, reason, died_ns) SELECT {_JOB}, owner, ?, ? FROM jobs WHERE number = ?",
        (reason, at_ns, number),
    )


def _delete(db: sqlite3.Connection, numbers: list[int]) -> None:
    if numbers:
        db.execute(f"DELETE FROM jobs WHERE number IN {_LISTED}", (json.dumps(numbers),))


def move_back(db: sqlite3.Connection, number: int) -> StoredJob | None:
    """Make a dead job one that waits, without attempts; None when there is none."""
    db.execute(
        f"INSERT OR REPLACE INTO jobs ({_JOB}, owner) SELECT {_JOB.replace('attempts', '0')}, owner FROM dead WHERE number = ?",
        (number,),
    )
    if db.execute("DELETE FROM dead WHERE number = ?", (number,)).rowcount == 0:
        return None
    return StoredJob._make(db.execute(f"SELECT {_JOB} FROM jobs WHERE number = ?", (number,)).fetchone())


def known(db: sqlite3.Connection, numbers: list[int]) -> list[int]:
    """Those of the numbers that are a job's, waiting or dead, in order."""
    found: set[int] = set()
    for table in ("jobs", "dead"):
        listed = db.execute(f"SELECT number FROM {table} WHERE number IN {_LISTED}", (json.dumps(numbers),))
        found.update(number for (number,) in listed)
    return sorted(found)


def forget(db: sqlite3.Connection, numbers: list[int]) -> None:
    """Remove jobs, whether they wait or are dead."""
    for table in ("jobs", "dead"):
        db.execute(f"DELETE FROM {table} WHERE number IN {_LISTED}", (json.dumps(numbers),))


def read_jobs(db: sqlite3.Connection, after: int, last: int, budget: float) -> tuple[list[ReplayedJob], float]:
    """Some jobs in order, with the numbers after one and up to the last, and what is left of a budget for workloads.

    A budget below 0 is used up for good: jobs come without workloads.
    """
    columns = _JOB if budget >= 0 else _NO_WORKLOAD
    cursor = db.execute(
        f"SELECT {columns}, length(workload) FROM jobs WHERE number > ? AND number <= ? ORDER BY number LIMIT {_CHUNK_ROWS}",
        (after, last),
    )
    if budget < 0:
        return list(map(ReplayedJob._make, cursor)), budget
    rows, size = [], 0
    for row in map(ReplayedJob._make, cursor):
        size += row[9]
        if size > budget:
            rows.append(row._replace(workload=None))
            break
        rows.append(row)
        if size >= _CHUNK_BYTES:
            break
    cursor.close()
    return rows, (budget - size if size <= budget else -1)


def dead_jobs(db: sqlite3.Connection, after: int, limit: int) -> list[DeadJob]:
    """Some dead jobs in order, with the numbers after one; few, because their workloads come along."""
    found = db.execute(f"{ALL_DEAD} LIMIT ?", (after, limit))
    return [DeadJob(StoredJob._make(row[:9]), row[9], row[10]) for row in found]


def complaints(db: sqlite3.Connection) -> Iterator[str]:
    """What SQLite says of its file, then what is wrong with the rows."""
    try:
        for (line,) in db.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield f"SQLite: {line}"
        yield from _odd_rows(db)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        yield f"SQLite: {error}"


def _odd_rows(db: sqlite3.Connection) -> Iterator[str]:
    (last,) = db.execute("SELECT last_number FROM servers WHERE owner = ?", (OWNER,)).fetchone() or (None,)
    if not isinstance(last, int):
        yield "the row of the server, with the last number, is missing or makes no sense"
    for table in ("jobs", "dead"):
        for (number,) in db.execute(
            f"""SELECT number FROM {table} WHERE number < 1 OR number > ? OR priority NOT IN (0, 1, 2) OR attempts < 0
            OR due_ns < 0 OR typeof(function) <> 'blob' OR typeof("unique") <> 'blob' OR typeof(workload) <> 'blob'
            OR typeof(reducer) NOT IN ('blob', 'null') OR owner NOT IN (SELECT owner FROM servers)""",
            (last if isinstance(last, int) else 0,),
        ):
            yield f"{table}: the row of number {number} makes no sense"
    for (number,) in db.execute("SELECT number FROM jobs WHERE number IN (SELECT number FROM dead)"):
        yield f"number {number} is both waiting and dead"
