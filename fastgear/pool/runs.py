# SPDX-License-Identifier: MIT
"""A function over many items: what the maps of Executor and Pool make. Results come out in the order of the items, or as
they are there.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from fastgear.pool.calls import Later
from fastgear.pool.chunks import Sizer
from fastgear.pool.describe import describe_call, name_of
from fastgear.pool.frame import MAP, PLAIN, STARMAP, pack_items
from fastgear.pool.futures import late
from fastgear.pool.outcome import rebuild
from fastgear.pool.pieces import Piece
from fastgear.pool.transfer import Packed, sent_of
from fastgear.pool.values import Failure, pack_values

if TYPE_CHECKING:
    from fastgear.pool.engine import Engine

__all__ = ["Run", "all_items"]

_AHEAD = 4  # frames for each worker that a lazy run may have taken from its iterator and not yielded


def all_items(iterable: Iterable[Any]) -> list[Any] | range:
    """As they are now, for `Run`. A range, which cannot change, travels as two numbers. Raises OverflowError for a longer
    one than a list can be."""
    return iterable if type(iterable) is range and len(iterable) >= 0 else list(iterable)


class Watcher(Protocol):
    """Is told of outcomes as they come, under the engine's lock, until it is closed."""

    def __call__(self, count: int) -> None: ...
    def close(self) -> None: ...


class Run:
    """The source of its tasks, and the iterator over their results. For one consumer at a time.

    `items` that are a list or a range are taken as workers need them; others lazily, by the consumer, so that never more than
    `window` of them are taken and not yielded yet (None: a few frames' worth for each worker).
    """

    def __init__(
        self,
        engine: Engine,
        function: Callable[..., Any],
        items: Iterable[Any],
        *,
        star: bool = False,
        chunksize: int = 1,
        window: int | None = None,
        ordered: bool = True,
        future: Future[list[Any]] | None = None,
    ) -> None:
        self.sizer = Sizer(engine.workers, chunksize)
        self.offered = False
        self._engine = engine
        self._function = function
        self.name: str | None = name_of(function)
        self._packed = engine.packer.pack(function)
        self._star = star
        self._window = window
        self._ordered = ordered
        self._future = future  # gets the list of results when all have come
        self.keep: object = None  # what must not go before this
        self.on_values: Watcher | None = None
        self._list = items if isinstance(items, (list, range)) else None
        self._iterator = None if self._list is not None else iter(items)
        self._at = 0  # in the list
        self._taken = 0
        self._yielded = 0
        self._first: Piece | None = None  # in the order of the items
        self._last: Piece | None = None
        self._read = 0  # values of _first that were yielded
        self._prepared: deque[Piece] = deque()
        self._again: deque[Piece] = deque()
        self._fresh: deque[Any] = deque()  # values that came, where the order does not matter
        self._error: BaseException | None = None  # of the iterator
        self.cancelled = False

    # -- as a source

    def next_piece(self, hand: list[Piece]) -> bool:
        ready = self._again or self._prepared
        if ready:
            hand.append(ready[0])
            ready.popleft()
            return True
        if self.cancelled or self._list is None or self._at >= len(self._list):
            return False
        size = self.sizer.next(len(self._list) - self._at)
        tasks = self._list[self._at : self._at + size]
        hand.append(self._append(tasks))
        self._at += len(tasks)
        return True

    def _append(self, tasks: Sequence[Any]) -> Piece:
        piece = Piece(self, tasks)
        self._taken += len(tasks)
        if self._last is None:
            self._first = piece
        else:
            self._last.following = piece
        self._last = piece
        return piece

    def push_back(self, piece: Piece) -> None:
        """What was split off the last piece is the last one now."""
        while self._last is not None and self._last.following is not None:
            self._last = self._last.following
        self._again.append(piece)

    def pack(self, piece: Piece) -> bytes:
        plain = None if self._star or type(piece.tasks) is not list else pack_values(piece.tasks)
        if plain is not None:
            return pack_items(piece.number, PLAIN, sent_of(self._packed), plain)
        packed = self._engine.packer.pack_arguments(piece.tasks)
        if type(packed) is Packed:
            piece.leases = packed.leases
            self.sizer.weighed(len(piece.tasks), packed.nbytes)
        return pack_items(piece.number, STARMAP if self._star else MAP, sent_of(self._packed), sent_of(packed))

    def advance(self, piece: Piece, start: int) -> None:
        if not self._ordered:
            self._fresh.extend(piece.values[start:])
        watcher = self.on_values
        if watcher is not None:
            watcher(len(piece.values) - start)
        if self._future is not None and self._all_came():
            self._finish(self._future)

    def _finish(self, future: Future[list[Any]]) -> None:
        self._engine.calls.done.append((future, Later(self._outcome)))
        self._future = None

    def describe(self, task: Any, *, begun: bool = False) -> str:
        return describe_call(self._function, tuple(task) if self._star else (task,), {})

    describe_shortly = describe

    def begin(self) -> None:
        """Let what is there be sent."""
        if self._list is None:
            self._fill()
        elif self._list:
            self._engine.offer(self)
        elif self._future is not None:  # nothing will come
            self._finish(self._future)
            self._engine.settle()

    def cancel(self) -> None:
        """Send no more of it."""
        with self._engine.lock:
            self.cancelled = True
            self._prepared.clear()
            self._again.clear()
            self._iterator = None

    # -- as an iterator

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        value = self._next()
        if type(value) is Failure:
            raise rebuild(value.pickled)
        return value

    def next(self, timeout: float | None = None) -> Any:
        """As in multiprocessing: the next result, or TimeoutError."""
        value = self._next(timeout)
        if type(value) is Failure:
            raise rebuild(value.pickled)
        return value

    def _next(self, timeout: float | None = None) -> Any:
        if not self._has_value():
            self._fill()
            if not self._has_value():
                if self._is_over():
                    error, self._error = self._error, None
                    raise error or StopIteration
                if not self._engine.wait(self._has_value, timeout):
                    raise self._engine.failure or late(f"no result came within {timeout} s")
        self._yielded += 1
        if not self._ordered:
            return self._fresh.popleft()
        piece = self._first
        assert piece is not None
        value = piece.values[self._read]
        piece.values[self._read] = None
        self._read += 1
        return value

    def _has_value(self) -> bool:
        if not self._ordered:
            return bool(self._fresh)
        while self._first is not None and self._read == len(self._first.tasks):
            if self._first.following is not None:
                self._first, self._read = self._first.following, 0
            else:
                self._leave_last()
        return self._first is not None and self._read < len(self._first.values)

    def _leave_last(self) -> None:
        """All of it was read, so it is kept no longer; unless somebody has just appended to it, or is about to."""
        with self._engine.lock:
            if self._first is not None and self._first.following is None:
                self._first = self._last = None
                self._read = 0

    def _is_over(self) -> bool:
        """Asked in this order, since others may append a piece meanwhile: they count its tasks before they move on in the list."""
        return (
            (self._list is None or self._at >= len(self._list))
            and self._iterator is None
            and self._yielded == self._taken
        )

    def _fill(self) -> None:
        """Take from the iterator what may be taken, in the consumer's thread, and let it be sent."""
        while self._iterator is not None:
            size = self.sizer.next(None)
            room = self._window or _AHEAD * self._engine.workers * max(size, 64)
            size = min(size, room - (self._taken - self._yielded))
            if size <= 0:
                break
            tasks = self._take(size)
            if tasks:
                with self._engine.lock:
                    self._prepared.append(self._append(tasks))
                    self._engine.offer(self)
            if len(self._prepared) >= self._engine.workers:
                break

    def _take(self, size: int) -> list[Any]:
        """So many items of the iterator; what it raises is kept until the results before it have been yielded."""
        tasks: list[Any] = []
        try:
            tasks.extend(itertools.islice(self._iterator or (), size))
        except Exception as error:
            self._error = error
        except BaseException:
            self._iterator = None
            raise
        if len(tasks) < size or self._error is not None:
            self._iterator = None
        return tasks

    # -- all at once

    def collect(self, timeout: float | None = None) -> list[Any]:
        """All results in a list; the first failure is raised, as soon as all have come."""
        try:
            if not self._engine.wait(self._all_came, timeout):
                raise self._engine.failure or late(f"not all results came within {timeout} s")
        finally:
            if self.on_values is not None:
                self.on_values.close()
        return self.results()

    def results(self) -> list[Any]:
        """All of them, when all have come."""
        outcome = self._outcome()
        if isinstance(outcome, Failure):
            raise rebuild(outcome.pickled)
        return outcome

    def _outcome(self) -> list[Any] | Failure:
        results: list[Any] = []
        failed = False
        piece = self._first
        while piece is not None:
            results += piece.values
            failed = failed or piece.has_failure
            piece = piece.following
        return next(value for value in results if type(value) is Failure) if failed else results

    _waits_for: Piece | None = None

    def _all_came(self) -> bool:
        if self._list is None or self._at < len(self._list) or self._again:
            return False
        piece = self._waits_for or self._first
        while piece is not None and piece.is_whole:
            self._waits_for = piece
            piece = piece.following
        return piece is None
