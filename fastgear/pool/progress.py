# SPDX-License-Identifier: MIT
"""A line that shows how far a map is: tqdm's where it is installed, else a plain one."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from fastgear.pool.runs import Run

__all__ = ["watched"]

_EVERY_S = 0.1


class _Bar(Protocol):
    def update(self, n: int) -> Any: ...
    def close(self) -> Any: ...


def watched(run: Run, total: int | None) -> None:
    """Show the run's progress on standard error, until it is over."""
    run.on_values = _Progress(_bar(total), total)


def _bar(total: int | None) -> _Bar:
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]
    except ImportError:
        return _Line(total)
    bar: _Bar = tqdm(total=total)
    return bar


class _Progress:
    def __init__(self, bar: _Bar, total: int | None) -> None:
        self._bar, self._total = bar, total
        self._done = 0

    def __call__(self, count: int) -> None:
        """So many more outcomes have come."""
        self._done += count
        self._bar.update(count)
        if self._done == self._total:
            self._bar.close()

    def close(self) -> None:
        self._bar.close()


class _Line:
    """Rewritten a few times a second on a terminal; elsewhere only its last state is written."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = 0
        self._begun = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._closed = False

    def update(self, n: int) -> None:
        self._done += n
        now = time.monotonic()
        if self._terminal and now - self._shown >= _EVERY_S:
            self._shown = now
            self._write("\r")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._write("\r" if self._terminal else "")
            print(file=sys.stderr, flush=True)

    def _write(self, start: str) -> None:
        seconds = time.monotonic() - self._begun
        of = f" of {self._total}" if self._total is not None else ""
        rate = f", {self._done / seconds:.0f}/s" if seconds > 0 else ""
        print(f"{start}{self._done}{of} tasks{rate}", end="", file=sys.stderr, flush=True)
