# SPDX-License-Identifier: MIT
"""What SQLite's errors mean for a store: whether it may work again later, and a sentence for the log."""

from __future__ import annotations

import sqlite3

from fastgear.errors import StoreError, StoreFull, StoreLost, StoreTrouble

__all__ = ["code_of", "disk_full", "store_error"]

_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _PROTOCOL, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 15, 26

# Python 3.10 has the message only, which tells no kind of I/O error from another.
_MESSAGES = {
    "database is locked": _BUSY,
    "database table is locked": _LOCKED,
    "attempt to write a readonly database": _READONLY,
    "disk I/O error": _IOERR,
    "database disk image is malformed": _CORRUPT,
    "database or disk is full": _FULL,
    "unable to open database file": _CANTOPEN,
    "locking protocol": _PROTOCOL,
    "file is not a database": _NOTADB,
}
_PASSING = {
    _BUSY: "is locked by another process",
    _LOCKED: "is locked by another process",
    _READONLY: "cannot be written: it is read-only",
    _CANTOPEN: "cannot be opened",
    _PROTOCOL: "is locked by another process",
}
_FINAL = {
    _CORRUPT: "is damaged; see `fastgear store check`; `fastgear store export --salvage` saves what can be read",
    _NOTADB: "is no SQLite database, or not any more",
}


def _io(kind: int) -> int:
    return _IOERR | kind << 8


# After a failed fsync the kernel forgets what it could not write, and the next fsync says that all is well.
_FSYNC = {_io(4), _io(5)}
_DAMAGED = {_io(32), _io(33)}  # a checksum of the data, or the file system itself, is wrong
_MOVED = _READONLY | 4 << 8


def code_of(error: sqlite3.Error) -> int:
    """SQLite's extended error code; as much of it as the message tells where Python does not say (3.10)."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code or _MESSAGES.get(str(error), 0)


def disk_full(path: str) -> StoreFull:
    return StoreFull(f"{path} cannot be written: the disk is full")


def store_error(path: str, error: sqlite3.Error) -> StoreError:
    """An I/O error of an unknown kind is taken for the worst: a failed fsync."""
    code = code_of(error)
    kind = code & 0xFF
    if code == _MOVED:
        return StoreLost(f"{path} was deleted or replaced by another file while it was in use")
    if code in _FSYNC:
        return StoreLost(
            f"{path}: fsync failed; nobody knows what is on the disk, and this process must not go on with it"
        )
    if code in _DAMAGED or code == _IOERR:
        return StoreLost(f"{path}: the disk reports an error: {error}")
    if kind == _IOERR:
        return StoreTrouble(f"{path}: the disk reports an error: {getattr(error, 'sqlite_errorname', error)}")
    if kind == _FULL:
        return disk_full(path)
    if kind in _PASSING:
        return StoreTrouble(f"{path} {_PASSING[kind]}")
    return StoreLost(f"{path} {_FINAL[kind]}" if kind in _FINAL else f"{path}: {error}")
