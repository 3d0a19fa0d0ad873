# SPDX-License-Identifier: MIT
"""A progress bar on standard error: tqdm's where it is installed, a plain one otherwise, lines where it is no terminal."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["progress"]

Item = TypeVar("Item")

_WIDTH = 40
_REDRAW_S = 0.1
_LINE_S = 5.0


def progress(items: Iterable[Item], total: int, unit: str) -> Iterator[Item]:
    """Pass the items on, and show how many of them have come."""
    if not sys.stderr.isatty():
        return _lines(items, total, unit)
    try:
        tqdm = importlib.import_module("tqdm").tqdm
    except ImportError:
        return _bar(items, total, unit)
    bar: Iterator[Item] = iter(tqdm(items, total=total, unit=" " + unit))
    return bar


def _bar(items: Iterable[Item], total: int, unit: str) -> Iterator[Item]:
    count, drawn = 0, 0.0
    try:
        for count, item in enumerate(items, 1):
            if time.monotonic() - drawn > _REDRAW_S or count == total:
                drawn = time.monotonic()
                filled = "#" * (_WIDTH * count // max(total, 1))
                sys.stderr.write(f"\r[{filled:<{_WIDTH}}] {count}/{total} {unit}")
                sys.stderr.flush()
            yield item
    finally:
        if count:
            sys.stderr.write("\n")


def _lines(items: Iterable[Item], total: int, unit: str) -> Iterator[Item]:
    shown = time.monotonic()
    for count, item in enumerate(items, 1):
        if time.monotonic() - shown > _LINE_S:
            shown = time.monotonic()
            print(f"{count}/{total} {unit}", file=sys.stderr, flush=True)
        yield item
