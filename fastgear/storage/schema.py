# SPDX-License-Identifier: MIT
"""The tables of a store in SQLite, their version, and the way from each version to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from fastgear.errors import StoreError

__all__ = ["APPLICATION_ID", "MIGRATIONS", "OWNER", "examine", "migrate", "tables"]

APPLICATION_ID = 0x46474A42  # "FGJB", where `file` and others look for it
OWNER = 1  # the server to whom the rows belong; in SQLite there is but one


def _version_1(db: sqlite3.Connection) -> None:
    """The workload comes last, so that the rest can be read without it."""
    job = """
        owner INTEGER NOT NULL, function BLOB NOT NULL, "unique" BLOB NOT NULL, reducer BLOB, priority INTEGER NOT NULL,
        due_ns INTEGER NOT NULL, attempts INTEGER NOT NULL, submitted_ns INTEGER NOT NULL"""
    db.execute("CREATE TABLE servers (owner INTEGER PRIMARY KEY, prefix TEXT NOT NULL, last_number INTEGER NOT NULL)")
    db.execute(f"CREATE TABLE jobs (number INTEGER PRIMARY KEY, {job}, workload BLOB NOT NULL)")
    db.execute(
        f"CREATE TABLE dead (number INTEGER PRIMARY KEY, {job}, reason TEXT NOT NULL, died_ns INTEGER NOT NULL, "
        "workload BLOB NOT NULL)"
    )
    db.execute("INSERT INTO servers VALUES (?, '', 0)", (OWNER,))


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [_version_1]
"""The n-th makes version n out of the one before."""


def tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def examine(db: sqlite3.Connection, path: str, gearmand_table: str) -> int:
    """Return the version of the store, 0 when there is none yet. Raises StoreError for what is not ours; writes nothing."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    names = {name for name in tables(db) if not name.startswith("sqlite_")}
    if application == APPLICATION_ID:
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{path} was written by a newer fastgear (version {version} of the store, this one knows "
                f"{len(MIGRATIONS)}); use that one, or export and import the jobs"
            )
        return int(version)
    if application or version or (names and gearmand_table not in names) or names & {"servers", "jobs", "dead"}:
        has = f"its tables are {', '.join(sorted(names))}" if names else "another program has marked it as its own"
        raise StoreError(
            f"{path} is an SQLite file, but no store of fastgear, nor gearmand's with {gearmand_table}: {has}"
        )
    return 0


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring the tables from a version to ours. Inside a transaction of the caller."""
    for step in MIGRATIONS[version:]:
        step(db)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
