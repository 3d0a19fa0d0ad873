# SPDX-License-Identifier: MIT
"""Tasks on their way: pieces of a source's tasks that travel as one frame, and come back whole, in part, or not at all.

A source knows what its tasks mean: `calls.py` has futures, `runs.py` the items of a map. The engine sends pieces of any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from fastgear.pool.chunks import Sizer

__all__ = ["Piece", "Source"]


class Piece:
    """Some tasks of one source, in order. `values` are their outcomes as far as they have come, from the first on."""

    __slots__ = (
        "attempts",
        "deaths",
        "flushed",
        "following",
        "has_failure",
        "is_late",
        "leases",
        "number",
        "seen_bytes",
        "source",
        "tasks",
        "values",
    )

    def __init__(self, source: Source, tasks: Sequence[Any]) -> None:
        self.source = source
        self.tasks = tasks
        self.values: list[Any] = []
        self.number = 0  # of the frame that it travels as
        self.attempts = 0  # how often its first task was given to a worker that died of it
        self.deaths = 0.0  # of workers that had it in hand and had begun none of its tasks
        self.flushed = 0  # values that came ahead of the result, as records that the worker's area has no more
        self.seen_bytes = 0  # of the records in the area that were fetched ahead
        self.is_late = False  # it has taken much longer than it was to
        self.has_failure = False  # among the values
        self.leases: list[Any] | None = None  # of what its frame has in shared memory
        self.following: Piece | None = None  # the tasks that come after these

    @property
    def is_whole(self) -> bool:
        return len(self.values) == len(self.tasks)

    def split(self, at: int) -> Piece:
        """Keep the tasks before `at`, and return a piece of the others, which follows this one.

        In this order, since a consumer may read on meanwhile, and must not go past the others.
        """
        rest = Piece(self.source, self.tasks[at:])
        rest.following, self.following = self.following, rest
        self.tasks = self.tasks[:at]
        return rest


class Source(Protocol):
    """What the engine asks of where tasks come from. It is asked under the engine's lock."""

    sizer: Sizer
    offered: bool  # it is in line to be asked; the engine's note
    name: str | None  # of the function of all its tasks; None where each task has its own

    def next_piece(self, hand: list[Piece]) -> bool:
        """Put the next tasks to be sent into `hand`, in a size that fits; False when there are none now.

        They are never only on their way there, so that a KeyboardInterrupt does not lose them.
        """

    def push_back(self, piece: Piece) -> None:
        """A piece that has to be sent again, before others."""

    def pack(self, piece: Piece) -> bytes:
        """Its frame. Raises what its tasks cannot be pickled for."""

    def advance(self, piece: Piece, start: int) -> None:
        """Its values from `start` on are new."""

    def describe(self, task: Any, *, begun: bool = False) -> str:
        """What somebody would have written to call it. With `begun`, a worker has unpickled all of it and lived."""

    def describe_shortly(self, task: Any) -> str:
        """The same, where it costs little."""
