# SPDX-License-Identifier: MIT
"""The jobs in an SQLite queue of gearmand, moved into a store's own tables, once."""

from __future__ import annotations

import sqlite3
import time

from fastgear.errors import StoreError
from fastgear.storage.schema import OWNER, tables

__all__ = ["DEFAULT_TABLE", "import_queue"]

DEFAULT_TABLE = "gearman_queue"
_COLUMNS = {"unique_key", "function_name", "priority", "data"}  # and when_to_run, in later versions of gearmand
_LATEST_S = 2**63 // 10**9 - 1


def import_queue(db: sqlite3.Connection, path: str, table: str, numbers_from: int) -> int:
    """Copy the jobs, in their order, under numbers above `numbers_from`; return how many. Inside a transaction of the caller.

    gearmand's table is not deleted but renamed. So nothing is imported twice, nothing is lost by a mistake here, and a
    gearmand that still runs on the file gets errors instead of running the same jobs.
    """
    if table not in tables(db):
        return 0
    name = _quoted(table)
    columns = {row[1] for row in db.execute(f"PRAGMA table_info({name})")}
    if missing := _COLUMNS - columns:
        raise StoreError(f"{path}: {table} is no queue of gearmand: it has no column {', '.join(sorted(missing))}")
    when = "when_to_run" if "when_to_run" in columns else "0"
    # gearmand stores what it got as text, whatever the bytes; an empty workload becomes NULL
    done = db.execute(
        f"""INSERT INTO jobs (number, owner, function, "unique", priority, due_ns, attempts, submitted_ns, workload)
        SELECT ? + row_number() OVER (ORDER BY rowid), ?, CAST(ifnull(function_name, '') AS BLOB),
            CAST(ifnull(unique_key, '') AS BLOB), CASE WHEN priority IN (0, 1, 2) THEN priority ELSE 1 END,
            max(0, min(CAST(ifnull({when}, 0) AS INTEGER), {_LATEST_S})) * 1000000000, 0, ?,
            CAST(ifnull(data, '') AS BLOB)
        FROM {name} ORDER BY rowid""",
        (numbers_from, OWNER, time.time_ns()),
    )
    db.execute("UPDATE servers SET last_number = ? WHERE owner = ?", (numbers_from + done.rowcount, OWNER))
    db.execute(f"ALTER TABLE {name} RENAME TO {_quoted(_free_name(db, table))}")
    return done.rowcount


def _free_name(db: sqlite3.Connection, table: str) -> str:
    taken, name, number = tables(db), f"{table}_imported_by_fastgear", 1
    while name in taken:
        number += 1
        name = f"{table}_imported_by_fastgear_{number}"
    return name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
