# SPDX-License-Identifier: MIT
"""Threads of the system's, also where gevent has `threading` make greenlets, of which one that waits in C holds up all others;
and what free-threaded Python says of the GIL.
"""

from __future__ import annotations

import _thread
import math
import sys
import threading
import time
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any

__all__ = ["Signal", "SystemThread", "check_threads", "expect_the_gil"]

_LOOK_S = 0.005  # how often a greenlet looks whether a thread has got there


class Signal:
    """Is set once; whoever waits for it, or comes later, goes on then."""

    def __init__(self) -> None:
        self._lock = _original("allocate_lock")()
        self._lock.acquire()
        self._is_set = False

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            self._lock.release()

    def wait(self, seconds: float = -1.0) -> bool:
        """Whether it is set, after so many seconds at the most (-1: however long that takes). Nobody else gets on meanwhile
        but threads."""
        if not self._is_set and self._lock.acquire(timeout=seconds):
            self._lock.release()
        return self._is_set


class SystemThread:
    """Runs `target` once. As with a daemon, the interpreter does not wait for it."""

    def __init__(self, target: Callable[[], object], name: str) -> None:
        self._target, self._name = target, name
        self._ended = Signal()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises RuntimeError when there can be no more threads."""
        if _is_patched():
            _original("start_new_thread")(self._run, ())
            return
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        thread.start()
        self._thread = thread  # not before: one that does not start would hold this one, and be held by it

    def join(self, seconds: float = -1.0) -> bool:
        """Whether it has ended, after so many seconds at the most (-1: however long that takes). Greenlets go on meanwhile.

        An exception of a signal handler comes out of it, and it can be called again: `threading`'s takes a thread for ended then.
        """
        if _is_patched():
            return self._look_for_the_end(seconds)
        ended = self._ended.wait(seconds)
        if ended and self._thread is not None:
            self._thread.join()
        return ended

    def _look_for_the_end(self, seconds: float) -> bool:
        until = time.monotonic() + seconds if seconds >= 0 else math.inf
        while not self._ended.wait(0):
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_S)  # theirs, in which other greenlets run
        return True

    def _run(self) -> None:
        try:
            self._target()
        finally:
            self._ended.set()


def check_threads(who: str) -> None:
    """Raises RuntimeError where `threading` makes greenlets."""
    if _is_patched():
        raise RuntimeError(
            f"{who} needs threads, of which gevent has made greenlets here; use it in a program that is not patched"
        )


def expect_the_gil() -> None:
    """For processes that are ours: free-threaded Python warns where our extensions switch the GIL on, which tells nobody
    anything there, and with `-W error` would end them. What a program imports itself, it is warned of."""
    is_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    if not is_enabled():
        import warnings

        message = r"The global interpreter lock \(GIL\) has been enabled to load module 'fastgear\."
        warnings.filterwarnings("ignore", message, RuntimeWarning)


def _is_patched() -> bool:
    return not isinstance(_thread.start_new_thread, BuiltinFunctionType)


def _original(name: str) -> Callable[..., Any]:
    """Of _thread, as Python has it."""
    found: Callable[..., Any] = getattr(_thread, name)
    if isinstance(found, BuiltinFunctionType):
        return found
    monkey = sys.modules.get("gevent.monkey")
    return found if monkey is None else monkey.get_original("_thread", name)
