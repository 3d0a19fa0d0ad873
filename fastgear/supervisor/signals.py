# SPDX-License-Identifier: MIT
"""Signals as input of a loop: they are written into a pipe as they come, and read from it in their turn."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from types import FrameType

__all__ = ["SignalPipe"]


class SignalPipe:
    """While it is open, the given signals do nothing but make `fileno()` readable. For the main thread."""

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, _ignore) for number in numbers}

    def fileno(self) -> int:
        return self._read

    def take(self) -> list[int]:
        """Those that have come since."""
        with contextlib.suppress(BlockingIOError):
            return [number for number in os.read(self._read, 65536) if number in self._previous]
        return []

    def restore(self) -> None:
        """Put back the handlers that were there before, and close."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self.close()

    def close(self) -> None:
        """Close this process's copies only: for a fork."""
        os.close(self._read)
        os.close(self._write)


def _ignore(number: int, frame: FrameType | None) -> None:
    """A signal that is ignored by the system would not reach the pipe."""
