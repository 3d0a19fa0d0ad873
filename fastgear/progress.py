# SPDX-License-Identifier: MIT
"""A line that shows how far something is: tqdm's where it is installed, else a plain one. On standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

__all__ = ["Bar", "make_bar", "progress"]

Item = TypeVar("Item")

_EVERY_S = 0.1  # on a terminal
_EVERY_ELSEWHERE_S = 10.0


class Bar(Protocol):
    def update(self, n: int) -> Any: ...
    def close(self) -> Any: ...


def progress(items: Iterable[Item], total: int, unit: str) -> Iterator[Item]:
    """Pass the items on, and show how many of them have come."""
    bar = make_bar(total, unit)
    try:
        for item in items:
            bar.update(1)
            yield item
    finally:
        bar.close()


def make_bar(total: int | None, unit: str) -> Bar:
    """None: nobody knows. The unit is in the plural."""
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]
    except ImportError:
        return _Line(total, unit)

    class Quiet(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # it would start a thread, so that the next pool's workers could not be forked

    interval = _EVERY_S if _is_terminal() else _EVERY_ELSEWHERE_S
    bar: Bar = Quiet(total=total, unit=f" {unit}", miniters=1, mininterval=interval)
    return bar


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class _Line:
    """Rewritten a few times a second on a terminal; elsewhere only its last state is written."""

    def __init__(self, total: int | None, unit: str) -> None:
        self._total, self._unit = total, unit
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
            print(f"{start}{self._done}{of} {self._unit}{rate}", end=end, file=sys.stderr, flush=True)
