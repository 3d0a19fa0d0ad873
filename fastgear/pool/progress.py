# SPDX-License-Identifier: MIT
"""A line that shows how far a map is: tqdm's where it is installed, else a plain one. On standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from fastgear.pool.runs import Run

__all__ = ["Watched", "watch"]

_EVERY_S = 0.1  # on a terminal
_EVERY_ELSEWHERE_S = 10.0


class _Bar(Protocol):
    def update(self, n: int) -> Any: ...
    def close(self) -> Any: ...


def watch(run: Run, total: int | None) -> None:
    """Show the run's progress, until all outcomes have come, or `run.on_values` is closed."""
    run.on_values = _Progress(_bar(total), total)


def _bar(total: int | None) -> _Bar:
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]
    except ImportError:
        return _Line(total)

    class Quiet(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # it would start a thread, so that the next pool's workers could not be forked

    interval = _EVERY_S if _is_terminal() else _EVERY_ELSEWHERE_S
    bar: _Bar = Quiet(total=total, miniters=1, mininterval=interval)
    return bar


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class _Progress:
    def __init__(self, bar: _Bar, total: int | None) -> None:
        self._bar, self._total = bar, total
        self._done = 0

    def __call__(self, count: int) -> None:
        """So many more outcomes have come."""
        self._done += count
        self._bar.update(count)
        if self._done == self._total:
            self.close()

    def close(self) -> None:
        """Leave the line as it is. Outcomes that come later are not shown."""
        self._bar.close()


class Watched:
    """A run's iterator with its line, which ends with the last result, with an error, and when nobody has the iterator."""

    def __init__(self, run: Run, total: int | None) -> None:
        self._run = run
        watch(run, total)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next result, or TimeoutError, with which the line goes on."""
        try:
            return self._run.next(timeout)
        except TimeoutError:
            raise
        except BaseException:
            self.close()
            raise

    def cancel(self) -> None:
        self.close()
        self._run.cancel()

    def close(self) -> None:
        progress, self._run.on_values = self._run.on_values, None
        if progress is not None:
            progress.close()

    def __del__(self) -> None:
        if hasattr(self, "_run"):
            self.close()


class _Line:
    """Rewritten a few times a second on a terminal; elsewhere only its last state is written."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = 0
        self._begun = self._shown = time.monotonic()
        self._terminal = _is_terminal()
        self._closed = False

    def update(self, n: int) -> None:
        self._done += n
        now = time.monotonic()
        if self._terminal and not self._closed and now - self._shown >= _EVERY_S:
            self._shown = now
            self._write("")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._write("\n")

    def _write(self, end: str) -> None:
        seconds = time.monotonic() - self._begun
        of = f" of {self._total}" if self._total is not None else ""
        rate = f", {self._done / seconds:.0f}/s" if seconds > 0 else ""
        start = "\r\x1b[K" if self._terminal else ""
        if sys.stderr is not None:
            print(f"{start}{self._done}{of} tasks{rate}", end=end, file=sys.stderr, flush=True)
