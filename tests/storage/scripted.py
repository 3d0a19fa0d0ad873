# SPDX-License-Identifier: MIT
"""A program with the faults of faults.c under it: makes batches durable, and says which ones were acknowledged.

    LD_PRELOAD=faults.so python scripted.py faults.so FOLDER < cases

Each case runs in a child of its own, in FOLDER/NUMBER, and gets a line: how it ended, the number of calls that counted, the
number of batches acknowledged, and of them with the one that was under way.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from fastgear.errors import StoreError, StoreLost, StoreTrouble
from fastgear.storage import sqlite
from fastgear.storage.store import Batch

BATCHES = 10
POWER_WENT, LOST, GAVE_UP = 99, 3, 4
_TRIES = 4
_WAL_LIMIT = 40_000  # a checkpoint every third batch or so


def batch(number: int) -> Batch:
    """The same every time: five new jobs, two that end at once or later, one that is tried, one that dies."""
    first = number * 10 + 1
    rows = [(first + i, b"f", b"%d" % i, None, b"w" * (i * 1000), i % 3, 0, 0, 1) for i in range(5)]
    before = first - 10
    return Batch(rows, [(number, before + 1)], [(before + 2, "why", number)], [first + 4, before])


def run(path: str, durability: str, report: int) -> int:
    """Append all batches, each up to a few times; a byte to `report` before and after each."""
    store = None
    for number in range(BATCHES):
        os.write(report, b"?")
        for _ in range(_TRIES):
            try:
                store = store or sqlite.SqliteStore(path, durability=durability)
                store.append(batch(number))
                break
            except StoreTrouble:
                continue
        else:
            return GAVE_UP
        os.write(report, b"!")
    assert store is not None
    store.close()
    return 0


def make_queue(path: str, rows: int) -> None:
    """As gearmand leaves it."""
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE gearman_queue (unique_key TEXT, function_name TEXT, priority INTEGER, data BLOB)")
    db.executemany("INSERT INTO gearman_queue VALUES (?, 'f', 1, 'w')", [(str(number),) for number in range(rows)])
    db.commit()
    db.close()


def take_over(path: str, report: int) -> int:
    """Open gearmand's queue as a store."""
    for _ in range(_TRIES):
        try:
            sqlite.SqliteStore(path).close()
            os.write(report, b"!")
            return 0
        except StoreTrouble:
            continue
    return GAVE_UP


def child(case: dict[str, Any], shim: ctypes.CDLL, folder: Path, report: int) -> None:
    path = str(folder / "jobs.db")
    names = ("nth", "errno", "stays", "power", "torn")
    code = 1
    try:
        if "queue" in case:
            make_queue(path, case["queue"])
        calls = "".join(f"{name}," for name in case["calls"])
        shim.faults_begin(path.encode(), calls.encode(), *(ctypes.c_long(case.get(name, 0)) for name in names))
        code = take_over(path, report) if "queue" in case else run(path, case.get("durability", "full"), report)
    except StoreLost:
        code = LOST
    except StoreError as error:
        os.write(2, f"{case}: {error!r}\n".encode())
    finally:
        os.write(report, b" %d" % shim.faults_calls())
        os._exit(code)


def main() -> None:
    shim = ctypes.CDLL(sys.argv[1])
    shim.faults_calls.restype = ctypes.c_long
    sqlite._WAL_LIMIT = _WAL_LIMIT
    for number, line in enumerate(sys.stdin):
        folder = Path(sys.argv[2], str(number))
        folder.mkdir()
        reading, report = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            child(json.loads(line), shim, folder, report)
        os.close(report)
        with open(reading, "rb") as file:
            said, _, calls = file.read().partition(b" ")
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(code, int(calls or 0), said.count(b"!"), said.count(b"?"), flush=True)


if __name__ == "__main__":
    main()
