from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from fastgear.pool.chunks import Sizer
from fastgear.pool.futures import HelpingFuture
from fastgear.pool.pieces import Piece
from fastgear.pool.transfer import Transfer

__all__ = ["Calls", "Later", "submit"]

_T = TypeVar("_T")

def submit(
    future: HelpingFuture[_T],
    function: Callable[..., _T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    collect: bool = True,
) -> HelpingFuture[_T]:
    """Call it in a worker of the future's engine, and return the future. What cannot be pickled is its exception.

    Without `collect` the outcome comes only while somebody waits for it.
    """

class Later:
    """In the place of a value that takes long to make: its future's, by who gives it that. `make` may return a Failure."""

    def __init__(self, make: Callable[[], Any]) -> None: ...

class Calls:
    """The source of them: first come, first sent. A future that was cancelled before is left out. `most` travel together."""

    sizer: Sizer
    name: str | None
    done: deque[tuple[Future[Any], Any]]
    giving: int
    offered: bool

    def __init__(self, workers: int, transfer: Transfer, most: int = 0) -> None: ...
    def __len__(self) -> int: ...
    def next_piece(self, hand: list[Piece]) -> bool: ...
    def push_back(self, piece: Piece) -> None: ...
    def pack(self, piece: Piece) -> bytes: ...
    def cancel_waiting(self) -> list[Future[Any]]:
        """Take the futures of those that were not sent, for the caller to cancel."""

    def advance(self, piece: Piece, start: int) -> None: ...
    def settle(self) -> None:
        """Give the other futures their outcomes: not under the engine's lock, since that may call what users wrote."""

    def describe(self, task: Any, *, begun: bool = False) -> str: ...
    def describe_shortly(self, task: Any) -> str: ...
