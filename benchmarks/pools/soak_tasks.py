# SPDX-License-Identifier: MIT
"""The tasks of the soak. Each counts its run in a memory that all processes share, so that none runs twice unseen."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import time

from pools.memory_limit import exhaust

__all__ = ["CELLS", "FUNCTIONS", "begin", "large_value"]

CELLS = 1 << 24  # a byte for each number; used again after so many

_runs: mmap.mmap | None = None
_group: tuple[str | None, int] = (None, 0)


def begin(fd: int, folder: str | None, version: int) -> None:
    """In each worker."""
    global _runs, _group
    import faulthandler

    faulthandler.disable()
    _runs, _group = mmap.mmap(fd, CELLS), (folder, version)


def _mark(number: int) -> None:
    assert _runs is not None
    cell = number % CELLS
    _runs[cell] = min(_runs[cell] + 1, 255)


def quick(number: int) -> int:
    _mark(number)
    return number


def slow(number: int) -> int:
    _mark(number)
    time.sleep(0.001 * (number % 20))
    return number


def large_value(number: int) -> bytes:
    return number.to_bytes(8, "little") * 20_000


def large(number: int) -> bytes:
    _mark(number)
    return large_value(number)


def raising(number: int) -> int:
    _mark(number)
    raise ValueError(number)


def kill(number: int) -> None:
    _mark(number)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def segfault(number: int) -> None:
    _mark(number)
    ctypes.string_at(0)


def leave(number: int) -> None:
    _mark(number)
    os._exit(3)


def abort(number: int) -> None:
    _mark(number)
    os.abort()


def out_of_memory(number: int) -> None:
    _mark(number)
    exhaust(*_group)


# by name, with the share of the tasks that are called one by one
FUNCTIONS = {
    "quick": (quick, 600),
    "slow": (slow, 200),
    "large": (large, 50),
    "raising": (raising, 100),
    "kill": (kill, 5),
    "segfault": (segfault, 5),
    "leave": (leave, 5),
    "abort": (abort, 5),
    "out_of_memory": (out_of_memory, 2),
}
