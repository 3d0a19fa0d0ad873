# SPDX-License-Identifier: MIT
"""Frames that turn out longer than they were taken for: what is finished is fetched early, what is not begun is taken back.

A frame holds many tasks because those before it were quick. When one of them is slow all the same, the results before it
need not wait for it, nor the tasks behind it: both are in the worker's area (see area.pxd).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastgear.pool.area import PoolArea
from fastgear.pool.pieces import Piece

__all__ = ["WORTH_NS", "area_of", "fetch_finished", "take_back"]

WORTH_NS = 2_000_000  # of tasks not begun; less is sooner done than moved


def area_of(areas: Iterable[PoolArea], piece: Piece) -> PoolArea | None:
    """Where it is worked at; None when it is still in line, or done."""
    return next((area for area in areas if area.frame == piece.number), None)


def fetch_finished(area: PoolArea, piece: Piece, deliver: Callable[[Piece, bytes, int], None]) -> None:
    """Deliver the records that are in the area, from where they are new."""
    found = area.look(piece.number)
    if found is None:
        return
    base, records = found
    if base == piece.flushed and len(records) > piece.seen_bytes:
        piece.seen_bytes, start = len(records), piece.seen_bytes
        deliver(piece, records, start)


def take_back(area: PoolArea, piece: Piece, parts: int) -> list[Piece]:
    """Close the frame, and return its tasks that were not begun in so many pieces, if they are worth it."""
    left = len(piece.tasks) - area.claimed
    if left < 2 or (left * piece.source.sizer.mean_ns < WORTH_NS and not piece.is_late):
        return []
    begun = area.close(piece.number)
    if begun < 0 or begun >= len(piece.tasks):
        return []
    rest = piece.split(begun)
    pieces = [rest]
    while parts > 1 and len(rest.tasks) > 1:
        rest = rest.split(-(-len(rest.tasks) // parts))
        pieces.append(rest)
        parts -= 1
    return pieces
