# SPDX-License-Identifier: MIT
"""The line that shows how far a map is, and what ends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastgear.pool.runs import Run
from fastgear.progress import Bar, make_bar

__all__ = ["Watched", "watch"]


def watch(run: Run, total: int | None) -> None:
    """Show the run's progress, until all outcomes have come, or `run.on_values` is closed."""
    run.on_values = _Progress(make_bar(total, "tasks"), total)


class _Progress:
    def __init__(self, bar: Bar, total: int | None) -> None:
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
