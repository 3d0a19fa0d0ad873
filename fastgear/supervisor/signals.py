# SPDX-License-Identifier: MIT
"""Signals: as input of a loop, and out of the way of a fork."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from types import FrameType

__all__ = ["HANDLED", "SignalPipe", "block_signals", "handled_signals", "reset_signals", "signals_blocked"]

# What the supervising loop handles, and a worker does not.
HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
_ALL = tuple(signal.valid_signals())
# Those that somebody may handle. A short list: sets of all signals take long to make.
_USUAL = frozenset(
    getattr(signal, f"SIG{name}")
    for name in ("TERM", "INT", "HUP", "QUIT", "CHLD", "TTIN", "TTOU", "TSTP", "CONT", "ALRM", "USR1", "USR2", "WINCH")
)


class SignalPipe:
    """Once it is `open`, signals are written into it as they come, and do nothing else. For the main thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self) -> None:
        """Begin, and let signals come."""
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, _ignore) for number in HANDLED}
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def fileno(self) -> int:
        return self._read

    def take(self) -> list[int]:
        """Those that have come since."""
        with contextlib.suppress(BlockingIOError):
            return [number for number in os.read(self._read, 65536) if number in HANDLED]
        return []

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def close(self) -> None:
        """Close this process's copies; handlers stay as they are. Doing so twice is fine."""
        if self._read >= 0:
            os.close(self._read)
            os.close(self._write)
            self._read = self._write = -1


def _ignore(number: int, frame: FrameType | None) -> None:
    """A signal that is ignored by the system would not reach the pipe."""


def handled_signals() -> tuple[int, ...]:
    """Those that have a Python handler in this process, and Ctrl-C."""
    return (signal.SIGINT, *(number for number in _ALL if callable(signal.getsignal(number))))


def reset_signals(numbers: Iterable[int]) -> None:
    """Their handlers are Python's own again."""
    signal.set_wakeup_fd(-1)
    for number in numbers:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def block_signals() -> None:
    """All that a loop may handle, until SignalPipe.open."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _USUAL)


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Around a fork: a child must not write its parent's signals into the pipe that both still share."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _USUAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
