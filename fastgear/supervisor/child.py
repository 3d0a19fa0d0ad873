# SPDX-License-Identifier: MIT
"""The inside of a worker process: from the fork to its end. Knows its record and a socket to the supervisor, nothing else."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from fastgear.errors import FastgearError
from fastgear.supervisor.board import Board, Record
from fastgear.supervisor.channel import MAX_TEXT

__all__ = [
    "FAILED",
    "LIMIT",
    "LOOK",
    "READY",
    "REPORT",
    "Context",
    "die_with_parent",
    "flush_streams",
    "run_worker",
    "standard_streams_taken",
]

REPORT = struct.Struct("=cq")  # what a worker says, and its pid; the rest of the packet is text
READY, FAILED, LIMIT, LOOK = b"r", b"f", b"l", b"t"

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl  # at import, so that no fork waits for it


class Context:
    """What a worker's `main` is called with. `begin` and `end` go around each job; neither is a system call.

    `main` calls `ready` once it can work: what it raises before stops the supervisor unless other workers are ready. It
    works until SIGTERM, which means finish and return; the supervisor sends it no more than once. SIGINT from a terminal
    does not reach it, since it leads a process group of its own.
    """

    def __init__(self, record: Record, board: Board, max_jobs: int, limit_ns: int, fd: int) -> None:
        self.slot = record.slot
        self.generation = record.generation
        self.record = record
        self._board = board
        self._max_jobs = max_jobs
        self._limit_ns = limit_ns
        self._fd = fd
        self._pid = os.getpid()
        self.is_ready = False

    def ready(self) -> None:
        """Say that this worker can work."""
        if not self.is_ready:
            self.is_ready = True
            self.record.set_ready(self._pid)
            self.report(READY)

    def begin(self, function: str, task: int = 0, limit_s: float | None = None) -> None:
        """A job begins. `limit_s` takes the place of the supervisor's time limit; 0 is none."""
        limit_ns = self._limit_ns if limit_s is None else int(limit_s * 1e9)
        if not limit_ns:
            self.record.begin(function, task)
            return
        deadline_ns = time.monotonic_ns() + limit_ns
        self.record.begin(function, task, deadline_ns)
        if deadline_ns < self._board.looks_at_ns:
            self.report(LOOK)

    def end(self) -> None:
        """It is over. The job that reaches the limit asks for a replacement; work goes on until that is ready."""
        if self.record.end() == self._max_jobs:
            self.report(LIMIT)

    def report(self, kind: bytes, text: str = "") -> None:
        """Tell the supervisor; not for a process that the worker has forked."""
        if os.getpid() == self._pid:
            with contextlib.suppress(OSError):
                os.write(self._fd, REPORT.pack(kind, self._pid) + text.encode("utf-8", "replace"))


def run_worker(main: Callable[..., Any], args: tuple[Any, ...], context: Context) -> NoReturn:
    """Call `main` in a process that has just been forked, and end it. Nothing of the parent's is run or flushed."""
    code = 1
    try:
        atexit._clear()
        _read_nothing()
        code = _exit_code(main, args, context)
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons, as Python does at its end
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        flush_streams()
        os._exit(code)


def _exit_code(main: Callable[..., Any], args: tuple[Any, ...], context: Context) -> int:
    try:
        main(context, *args)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        if not context.is_ready:
            context.report(FAILED, f"SystemExit\nit left with {leaving.code!r} before it was ready")
        elif code and not isinstance(leaving.code, int):
            print(leaving.code, file=sys.stderr)
        return code & 0xFF
    except BaseException as error:
        if context.is_ready:
            traceback.print_exc()
        else:
            context.report(FAILED, f"{type(error).__name__}\n{_text(error)}")
        return 1
    if not context.is_ready:
        context.report(FAILED, "SystemExit\nit returned before it was ready")
    return 0


def _text(error: BaseException) -> str:
    """A sentence where one is enough, else the traceback without this module's frame."""
    if isinstance(error, FastgearError):
        return str(error)[:MAX_TEXT]
    frames = error.__traceback__.tb_next if error.__traceback__ is not None else None
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()[-MAX_TEXT:]


# -- what a fork copies, and a worker must not have ---------------------------------------------------------------------


def flush_streams() -> None:
    """Before a fork, so that nothing is written twice; and before os._exit, which would forget it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


@contextlib.contextmanager
def standard_streams_taken() -> Iterator[None]:
    """In a process that has closed some of its descriptors 0 to 2: none that is made meanwhile gets such a number.

    A worker's standard input would take its place.
    """
    taken: list[int] = []
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        taken.append(fd)
    os.close(fd)
    try:
        yield
    finally:
        for fd in taken:
            os.close(fd)


def _read_nothing() -> None:
    """Standard input is the parent's to read."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_RDONLY)
        if null != 0:
            os.dup2(null, 0)
            os.close(null)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115


def die_with_parent(parent: int) -> None:
    """Get SIGKILL when the thread that forked this process ends; at once, if it has already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
