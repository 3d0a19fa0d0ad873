from collections.abc import Callable
from typing import Any

class Area:
    """A part of shared memory: `size` bytes of `memory` from `offset` on, which is a multiple of 8."""

    def __init__(self, memory: Any, offset: int, size: int) -> None: ...
    @property
    def owner(self) -> int: ...

class WorkerArea(Area):
    """The worker's side. `pack` turns a value that is not plain into letter and bytes; `send` takes records that have no room."""

    def __init__(
        self,
        memory: Any,
        offset: int,
        size: int,
        pack: Callable[[bytes, Any], tuple[bytes, bytes]],
        send: Callable[[bytes], None],
    ) -> None: ...
    def own(self, pid: int) -> bool:
        """Take a free area; False when another worker was faster."""

    def begin(self, frame: int) -> None:
        """A frame is in hand."""

    def result(self) -> bytes:
        """Of the frame: the records that are still here, laps, and trailer, see frame.py."""

    def end(self) -> None:
        """The frame has left, with all its records; none is in hand."""

    def lose(self) -> None:
        """In a fork, which must neither begin tasks nor record any: its parent does."""

    def leave(self) -> None:
        """Give the area back."""

    def call_each(self, function: Callable[..., Any], items: list[Any], star: bool) -> None:
        """Call it with each of the items in turn, and record what comes of it; the pool may call a halt in between."""

    def call_all(
        self,
        function: Callable[..., Any],
        count: int,
        arguments: bytes,
        others: list[Any],
        unpack: Callable[[Any], Any],
    ) -> bool:
        """Call it with the arguments of each of so many calls; False when the pool has called a halt. `unpack` is given one of
        `others` for those that are not here, and returns arguments and keywords."""

    def fail(self, error: BaseException) -> bool:
        """A task that could not even be begun; False when the pool has called a halt."""

class PoolArea(Area):
    """The pool's side. A frame is asked for by its number, since the worker may be at another one by now."""

    def clear(self) -> None:
        """For the next worker, once this one is dead and its frame settled."""

    @property
    def frame(self) -> int:
        """The number of the frame in hand; 0 for none."""

    @property
    def claimed(self) -> int:
        """How many of its tasks were begun."""

    @property
    def tasks(self) -> int:
        """How many the worker has begun, of all frames."""

    def close(self, frame: int) -> int:
        """Let no more tasks of it be begun, and return how many were; -1 when the worker is at another frame."""

    def look(self, frame: int) -> tuple[int, bytes] | None:
        """How many tasks' records have left, and the records that are here; None when the worker is at another frame."""
