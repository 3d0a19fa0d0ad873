# SPDX-License-Identifier: MIT
"""The jobs of a store as lines of JSON, and back: one line about the store, one for each job, the waiting ones first, and one
with their number, without which it is not whole.

Bytes are in base64. What the lines are read from and written to is not known here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

from fastgear.errors import StoreError
from fastgear.storage.sqlite import SqliteStore
from fastgear.storage.store import LARGEST_NUMBER, Batch, JobRow, StoredJob
from fastgear.storage.view import SqliteView

__all__ = ["dump", "load"]

_VERSION = 1
_BYTES = ("function", "unique", "reducer", "workload")
_NUMBERS = ("number", "priority", "due_ns", "attempts", "submitted_ns")
_BATCH_ROWS = 1000
_BATCH_BYTES = 8 << 20
_LARGEST = 2**63 - 1
_LONGEST_PREFIX = 42


def dump(store: SqliteView) -> Iterator[str]:
    """Everything that there is at one moment, as lines without their ends."""
    with store.snapshot():
        count = 0
        yield json.dumps({"fastgear_store": _VERSION, "prefix": store.prefix, "last_number": store.last_number})
        for jobs in store.replay():
            for job in jobs:
                yield json.dumps(_plain(StoredJob(*job[:4], job.workload or b"", *job[5:9])))
            count += len(jobs)
        for dead in store.dead():
            count += 1
            yield json.dumps({**_plain(dead.job), "reason": dead.reason, "died_ns": dead.died_ns})
        yield json.dumps({"jobs": count})


def _plain(job: StoredJob) -> dict[str, Any]:
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in job._asdict().items()
    }


def load(store: SqliteStore, lines: Iterable[str | bytes], *, replace: bool = False) -> int:
    """Put what `dump` wrote into a store: everything, or nothing when an exception comes out. Returns the number of jobs.

    Raises StoreError, with the line, for what is no such dump, and for a number that is there already, unless that job is
    to be replaced. A new store takes the prefix over.
    """
    count = 0
    with store.whole():
        numbered = _objects(lines)
        _head(store, next(numbered, (1, {}))[1])
        for batch in _batches(numbered):
            numbers = [row[0] for row in batch.submitted]
            if len(set(numbers)) < len(numbers):
                raise StoreError("two jobs have the same number; nothing was imported")
            taken = store.known(numbers)
            if taken and not replace:
                raise StoreError(f"job {taken[0]} is in {store.path} already; nothing was imported")
            if taken:
                store.forget(taken)
            store.append(batch)
            count += len(numbers)
    return count


def _head(store: SqliteStore, head: dict[str, Any]) -> None:
    prefix, last = head.get("prefix"), head.get("last_number")
    if head.get("fastgear_store") != _VERSION or not _is_prefix(prefix) or not _is_number(last, LARGEST_NUMBER):
        raise StoreError("line 1 is not the beginning of an export of this version of fastgear")
    if not store.prefix and prefix:
        store.remember_prefix(prefix)
    assert last is not None
    store.pass_over(last)


def _is_prefix(value: object) -> bool:
    """As a server has them: they go into packets and lines of text."""
    return isinstance(value, str) and value.isprintable() and len(value.encode()) <= _LONGEST_PREFIX


def _batches(numbered: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[Batch]:
    batch, size = Batch(), 0
    for count, (number, plain) in enumerate(numbered):
        if set(plain) == {"jobs"}:
            if plain["jobs"] != count:
                raise StoreError(
                    f"line {number} speaks of {plain['jobs']} jobs, but there are {count}; nothing was imported"
                )
            break
        size += _add(batch, plain, number)
        if len(batch.submitted) >= _BATCH_ROWS or size > _BATCH_BYTES:
            yield batch
            batch, size = Batch(), 0
    else:
        raise StoreError(
            "the last line, with the number of jobs, is missing: the export is not whole; nothing was imported"
        )
    if batch:
        yield batch


def _add(batch: Batch, plain: dict[str, Any], line: int) -> int:
    """Add a job to the batch; returns the size of its workload."""
    row = _row(plain, line)
    batch.submitted.append(row)
    if "reason" in plain:
        if not _is_text(plain["reason"]) or not _is_number(plain.get("died_ns")):
            raise StoreError(f"line {line} does not say why and when its job died")
        batch.dead.append((row[0], plain["reason"], plain["died_ns"]))
    return len(row[4])


def _row(plain: dict[str, Any], line: int) -> JobRow:
    values = dict(plain)
    for name in _NUMBERS:
        if not _is_number(values.get(name)):
            raise StoreError(f"line {line}: {name} is no number from 0 to 2^63 - 1")
    for name in _BYTES:
        if name == "reducer" and values.get(name) is None:
            continue
        try:
            values[name] = base64.b64decode(values[name], validate=True)
        except (KeyError, TypeError, ValueError):
            raise StoreError(f"line {line}: {name} is missing, or not in base64") from None
    if values["number"] < 1 or values["priority"] > 2:
        raise StoreError(f"line {line}: a number is above 0, and a priority is 0, 1 or 2")
    if values["number"] > LARGEST_NUMBER:
        raise StoreError(f"line {line}: a number is at most 2^62")
    return StoredJob(*(values.get(name) for name in StoredJob._fields))  # type: ignore[arg-type]


def _is_text(value: object) -> bool:
    """Such as can be stored: JSON has halves of characters, too."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_number(value: object, most: int = _LARGEST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _objects(lines: Iterable[str | bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """With the numbers of their lines; empty lines are passed over."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, _object(line, number)


def _object(line: str | bytes, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise StoreError(f"line {number} is no JSON object")
    return found
