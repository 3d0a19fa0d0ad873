from collections.abc import Sequence
from typing import Any

from fastgear.pool.pieces import Source
from fastgear.types import PoolFunctionInfo

class Tallies:
    """By name. For one thread at a time."""

    def take_one(self, source: Source, task: Any, ns: int) -> None:
        """A frame of one task."""

    def take(self, source: Source, tasks: Sequence[Any], data: bytes, start: int, laps: int) -> None:
        """A frame's laps, which are in `data` from `start` on, one after the other as its tasks were."""

    def infos(self) -> tuple[PoolFunctionInfo, ...]:
        """Of all functions, that which has taken longest first."""
