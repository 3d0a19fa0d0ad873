# SPDX-License-Identifier: MIT
"""The store that needs nothing else: one SQLite file in WAL mode, owned by one process at a time.

A batch is one transaction. Knows what SQLite does to its files, and keeps them small; rows and tables are in rows.py and schema.py.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fastgear.errors import ConfigError, StoreError, StoreFull, StoreLost, StoreTrouble
from fastgear.storage import rows
from fastgear.storage.gearmand import DEFAULT_TABLE, import_queue
from fastgear.storage.lock import OwnerLock
from fastgear.storage.pending import Pending
from fastgear.storage.reserve import Reserve
from fastgear.storage.schema import MIGRATIONS, OWNER, examine, migrate, tables
from fastgear.storage.store import Batch, DeadJob, ReplayedJob, Store, StoredJob
from fastgear.storage.trouble import disk_full
from fastgear.storage.view import SqliteView, connect, refuse_other_than_file

__all__ = ["DURABILITIES", "SqliteStore"]

DURABILITIES = {"full": "FULL", "normal": "NORMAL", "on-shutdown": "FULL", "off": "OFF"}
"""What a store may promise, and SQLite's word for it."""

_WAL_LIMIT = 16 << 20
_CACHE_KIB = 16 << 10
_FREE_PAGES = 4096  # so many, and half of the file, may be unused
_SHRINK_S = 0.02
_SPARE = 2 << 20  # bytes of the log in which a portion of changes finds room on a full disk
_PORTION = 256

_SUFFIXES = ("", "-wal", "-shm")
_LOG_BEGINS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", b"")

Identity = list[tuple[int, int]]


class SqliteStore(SqliteView, Store):
    """A store in the file at `path`, which is made if it is not there. `imported` counts jobs taken over from gearmand's table.

    `durability`: "full" survives loss of power, "normal" the death of this process, "off" the same if the file system does;
    "on-shutdown" keeps all in memory until `close`, or until somebody asks for what only the file can tell.
    Imported jobs get numbers above `numbers_from`. Raises StoreInUse, and StoreError for a file that is no store.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: str = "full",
        gearmand_table: str = DEFAULT_TABLE,
        numbers_from: int = 0,
    ) -> None:
        if durability not in DURABILITIES:
            raise ConfigError(f"durability: {durability!r} is none of {', '.join(DURABILITIES)}")
        self._path = os.path.realpath(path)
        self._synchronous = DURABILITIES[durability]
        self._gearmand = (gearmand_table, numbers_from)
        self._db: sqlite3.Connection | None = None
        self._lost = ""
        self._closed = False
        self._page_size = 4096
        self._was_full = False
        self._files: Identity = []
        self._prefix, self._last, self.imported = "", 0, 0
        self._checkpoint_at = _WAL_LIMIT
        self._reserve = Reserve(self._path)
        refuse_other_than_file(self._path)  # before anything is made beside it
        _refuse_second_name(self._path)
        self._lock = _lock(self._path)
        try:
            _make(self._path)
            _refuse_what_cannot_be_written(self._path)
            with self._using():
                pass
        except BaseException:
            self._let_go()
            raise
        self._pending = Pending(self._last) if durability == "on-shutdown" else None

    # -- opening, and opening again after trouble

    def _open(self) -> sqlite3.Connection:
        """Also after trouble: then the file must be the one that we had."""
        if self._closed or self._lost:
            raise StoreLost(self._lost) if self._lost else StoreError(f"{self._path} is closed")
        if self._files and _identity([self._look_at("")]) != self._files[:1]:
            raise self._lose(f"{self._path} was deleted or replaced by another file while it was in use")
        db = connect(self._path, "rw")
        try:
            self._prepare(db)
            self._prefix, self._last = self._about("prefix, last_number", db)
            (self._page_size,) = db.execute("PRAGMA page_size").fetchone()
            self._files = _identity([self._look_at(suffix) for suffix in _SUFFIXES])
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        version = examine(db, self._path, self._gearmand[0])
        if version == 0 and not tables(db):
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{self._path} lies where SQLite cannot have a write-ahead log; choose a local disk")
        for setting in (
            f"synchronous = {self._synchronous}",
            "wal_autocheckpoint = 0",  # it would pass over errors, of fsync too
            f"journal_size_limit = {_WAL_LIMIT}",
            f"cache_size = -{_CACHE_KIB}",
            "secure_delete = OFF",
        ):
            db.execute(f"PRAGMA {setting}").fetchall()
        if version < len(MIGRATIONS) or self._gearmand[0] in tables(db):
            self._bring_up_to_date(db, version)

    def _bring_up_to_date(self, db: sqlite3.Connection, version: int) -> None:
        table, numbers_from = self._gearmand
        db.execute("BEGIN IMMEDIATE")
        migrate(db, version)
        (last,) = db.execute("SELECT last_number FROM servers WHERE owner = ?", (OWNER,)).fetchone()
        self.imported += import_queue(db, self._path, table, max(last, numbers_from))
        db.execute("COMMIT")

    def _failed(self, error: sqlite3.Error) -> Exception:
        failure = super()._failed(error)
        self._disconnect()  # the next call opens the file again
        return self._lose(str(failure)) if isinstance(failure, StoreLost) else failure

    def _lose(self, message: str) -> StoreLost:
        self._lost = message
        self._disconnect()
        return StoreLost(message)

    # -- the files

    def _look_at(self, suffix: str) -> os.stat_result | None:
        """None: it was deleted."""
        try:
            return os.stat(self._path + suffix)
        except FileNotFoundError:
            return None
        except OSError as error:  # a folder that was closed, or a file system that is away, may come back
            raise StoreTrouble(f"{self._path}{suffix} cannot be looked at: {error.strerror}") from error

    def _check_files(self) -> None:
        found = [self._look_at(suffix) for suffix in _SUFFIXES]
        if _identity(found) != self._files:
            raise self._lose(f"{self._path}, or its -wal or -shm, was deleted or replaced while it was in use")
        if not self._lock.is_ours():
            raise self._lose(f"{self._path}-lock was deleted, and another server may use the store by now")
        if found[0] is None or found[0].st_size < self._page_size or self._log_was_emptied():
            raise self._lose(f"{self._path}, or its -wal, was emptied while it was in use")

    def _log_was_emptied(self) -> bool:
        """SQLite goes on behind what it has written, and leaves a hole then. Closing this file costs no lock of its."""
        try:
            with open(f"{self._path}-wal", "rb", buffering=0) as log:
                return log.read(4) not in _LOG_BEGINS
        except OSError as error:
            raise StoreTrouble(f"{self._path}-wal cannot be looked at: {error.strerror}") from error

    def _tidy(self) -> None:
        """Move what is in the log into the file, so that the log can begin anew.

        Trouble is passed over here: the batch is safe in the log, which may go on for a while.
        """
        size = os.stat(f"{self._path}-wal").st_size
        if size <= _WAL_LIMIT:
            self._checkpoint_at = _WAL_LIMIT
        if size <= self._checkpoint_at:
            return
        self._checkpoint_at = size + _WAL_LIMIT // 2  # unless the next batch finds the log empty
        with suppress(StoreTrouble), self._using() as db:
            self._empty_log()
            self._give_back(db)

    def _give_back(self, db: sqlite3.Connection) -> None:
        """Some of what a flood has left; its other pages are used again."""
        free, pages = _pages(db)
        self._free(db, min(free - _FREE_PAGES, free - pages // 2))

    def _free(self, db: sqlite3.Connection, count: int) -> None:
        """Make the file shorter by so many pages, or as many as there is time for.

        Python makes one step of a statement that yields no rows, and this pragma frees a page in each.
        """
        enough = time.monotonic() + _SHRINK_S
        with self._transaction():
            while count > 0 and time.monotonic() < enough:
                db.execute("PRAGMA incremental_vacuum(1)")
                count -= 1

    # -- a full disk

    def _keeps_room(self, db: sqlite3.Connection, spare: int = _SPARE) -> bool:
        """Whether there will be room, come what may, to move the log into the file, and for a portion of changes after that."""
        status = self._look_at("")
        growth = _pages(db)[1] * self._page_size - (status.st_size if status is not None else 0)
        return self._reserve.hold(max(growth, 0) + spare)

    def _squeeze(self, batch: Batch, last_number: int) -> None:
        """Write what adds no jobs on a full disk: in portions, each into a log that is empty, with the reserve given up."""
        self._reserve.release()
        for portion in batch.portions(_PORTION):
            self._empty_log()
            self._apply(portion, self._last)
        self._empty_log()
        self._apply(Batch(), last_number)

    def _empty_log(self, how: str = "PASSIVE") -> None:
        """As far as nobody reads in it."""
        with self._using() as db:
            (patience_ms,) = db.execute("PRAGMA busy_timeout").fetchone()
            db.execute("PRAGMA busy_timeout = 0").fetchall()
            db.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
            db.execute(f"PRAGMA busy_timeout = {patience_ms}").fetchall()

    def health(self) -> str:
        if not self._was_full:
            return ""
        try:
            self._reserve.release()
            self._empty_log()
            with self._using() as db:
                self._free(db, min(_pages(db)[0], 2 * _SPARE // self._page_size))
                self._empty_log("TRUNCATE")
                self._was_full = not self._keeps_room(db, 2 * _SPARE)
        except StoreTrouble as error:
            return str(error)
        return str(disk_full(self._path)) if self._was_full else ""

    # -- the store

    @property
    def prefix(self) -> str:
        return self._prefix

    def remember_prefix(self, prefix: str) -> None:
        with self._transaction() as db:
            db.execute("UPDATE servers SET prefix = ? WHERE owner = ?", (prefix, OWNER))
        self._prefix = prefix

    @property
    def last_number(self) -> int:
        return self._last if self._pending is None else self._pending.last_number

    def append(self, batch: Batch) -> None:
        if self._pending is None:
            self._write(batch, rows.largest(batch.submitted))
            return
        if not self._pending.takes(batch):
            self._flush()
        self._pending.add(batch)

    def _write(self, batch: Batch, last_number: int) -> None:
        try:
            self._apply(batch, last_number)
        except StoreFull:
            if not batch.submitted:
                self._squeeze(batch, last_number)
            elif self.health():
                raise
            else:
                self._apply(batch, last_number)
        self._last = max(self._last, last_number)

    def _apply(self, batch: Batch, last_number: int) -> None:
        try:
            with self._using() as db:
                with self._transaction():
                    rows.apply(db, batch, self._last, last_number)
                    if batch.submitted and not self._keeps_room(db):
                        raise disk_full(self._path)
                self._committed(db)
        except BaseException as error:
            self._was_full |= isinstance(error, StoreFull)
            self._disconnect()  # whether it was committed is not known; the next call reads the last number again
            raise

    def _committed(self, db: sqlite3.Connection) -> None:
        """What is to be done after each commit, and not within a larger transaction."""
        if not db.in_transaction:
            self._check_files()
            self._tidy()

    def _flush(self) -> None:
        """Write what waits in memory."""
        if self._pending is not None and self._pending.has_changed:
            self._write(self._pending.batch(), self._pending.last_number)
            self._pending = Pending(self._last)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """All that is done within becomes durable together, or, after an exception, not at all."""
        self._flush()
        try:
            with self._using() as db:
                with self._transaction():
                    yield
                    self._flush()
                self._committed(db)
        except BaseException:
            self._disconnect()
            raise

    def pass_over(self, last_number: int) -> None:
        """Let no number up to this one be given out."""
        self._flush()
        self._write(Batch(), max(self._last, last_number))

    def replay(self, with_workloads_up_to: int | None = None) -> Iterator[list[ReplayedJob]]:
        self._flush()
        for jobs in super().replay(with_workloads_up_to):
            yield jobs
            self._flush()  # what ended meanwhile must not come any more

    def workload(self, number: int) -> bytes:
        waiting = None if self._pending is None else self._pending.workload(number)
        return super().workload(number) if waiting is None else waiting

    def count(self) -> tuple[int, int]:
        self._flush()
        return super().count()

    def dead(self, limit: int | None = None) -> Iterator[DeadJob]:
        self._flush()
        yield from super().dead(limit)

    def retry_dead(self, number: int) -> StoredJob:
        self._flush()
        with self._transaction() as db:
            job = rows.move_back(db, number)
        if job is None:
            raise KeyError(number)
        return job

    def drop_dead(self, number: int) -> None:
        self._flush()
        super().drop_dead(number)

    def known(self, numbers: list[int]) -> list[int]:
        self._flush()
        return super().known(numbers)

    def forget(self, numbers: list[int]) -> None:
        """Remove jobs, whether they wait or are dead."""
        self._flush()
        with self._transaction() as db:
            rows.forget(db, numbers)

    def check(self) -> list[str]:
        self._flush()
        return super().check()

    def close(self) -> None:
        if self._closed:
            return
        try:
            if not self._lost:
                self._flush()
        except StoreTrouble:
            raise
        except BaseException:
            self._let_go()
            raise
        self._let_go()

    def _let_go(self) -> None:
        self._closed = True
        self._disconnect()
        self._reserve.release()
        self._lock.release()

    def __enter__(self) -> SqliteStore:
        return self


def _identity(files: list[os.stat_result | None]) -> Identity:
    """Which files our names mean now; SQLite itself would go on writing to files that were deleted."""
    return [(0, 0) if status is None else (status.st_dev, status.st_ino) for status in files]


def _pages(db: sqlite3.Connection) -> tuple[int, int]:
    """How many are free, and how many there are."""
    (free,), (count,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count"))
    return free, count


def _refuse_second_name(path: str) -> None:
    """By each of its names a file would have a log and a lock of its own."""
    with suppress(OSError):
        if os.stat(path).st_nlink > 1:
            raise StoreError(
                f"{path} is known by a second name (a hard link), by which it would be damaged; copy the file instead"
            )


def _refuse_what_cannot_be_written(path: str) -> None:
    """SQLite does not say why it cannot open a file, and opens one that it may only read."""
    for name in (path, os.path.dirname(path)):
        if not os.access(name, os.R_OK | os.W_OK):
            raise StoreTrouble(f"{name} cannot be read and written by user {os.geteuid()}")


def _lock(path: str) -> OwnerLock:
    try:
        return OwnerLock(path)
    except OSError as error:
        raise StoreTrouble(f"{path}-lock cannot be opened: {error.strerror}") from error


def _make(path: str) -> None:
    """An empty file for nobody else to read, and its name on the disk, unless there is one."""
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise StoreTrouble(f"{path} cannot be made: {error.strerror}") from error
