# SPDX-License-Identifier: MIT
"""Engines that are open, and what becomes of them: at the end of the program, and in a fork of it."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any, Protocol

__all__ = ["GONE", "Gone", "check", "open_engines", "process"]


class Gone:
    """In the place of an ended engine's connection to its server, for threads that come by late."""

    taken = 0

    def send(self, data: bytes) -> None:
        raise ConnectionResetError("the pool has ended")

    def receive(self, timeout: float | None = None, help: bool = False) -> bytes:
        raise ConnectionResetError("the pool has ended")

    def interrupt(self) -> None:
        """There is nobody to interrupt."""

    def close(self) -> None:
        """It is."""


GONE = Gone()


class Endable(Protocol):
    finishes: bool

    def finish(self) -> Any: ...
    def close(self, *, kill: bool) -> Any: ...


open_engines: set[Endable] = set()
_exiting = False
_process = os.getpid()


def process() -> int:
    """The pid, without a system call."""
    return _process


def check() -> None:
    """Raises RuntimeError when the program is ending."""
    if _exiting:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")


@atexit.register
def _at_exit() -> None:
    """End those that are left, some after they have finished; but not those after a KeyboardInterrupt that nobody has caught."""
    global _exiting
    _exiting = True
    interrupted = issubclass(getattr(sys, "last_type", None) or object, KeyboardInterrupt)
    try:
        for engine in list(open_engines):
            if engine.finishes and not interrupted:
                engine.finish()
    finally:
        for engine in list(open_engines):
            engine.close(kill=True)


def _after_fork_in_child() -> None:
    global _process
    _process = os.getpid()


os.register_at_fork(after_in_child=_after_fork_in_child)
