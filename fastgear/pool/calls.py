# SPDX-License-Identifier: MIT
"""Single calls with a future each: what `Executor.submit` and `Pool.apply_async` make."""

from __future__ import annotations

import functools
import io
import pickle
import reprlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any

from fastgear.pool.chunks import MOST_BYTES, Sizer
from fastgear.pool.frame import pack_calls
from fastgear.pool.outcome import rebuild
from fastgear.pool.pieces import Piece
from fastgear.pool.transfer import Packed, Transfer, sent_of
from fastgear.pool.values import Failure

__all__ = ["Call", "Calls"]

_MUCH = 10_000  # bytes of arguments


class Call:
    """A pickled call, and the future of its outcome. The function itself is there to be named."""

    __slots__ = ("arguments", "function", "future", "packed")

    def __init__(
        self, function: Callable[..., Any], packed: bytes | Packed, arguments: bytes | Packed, future: Future[Any]
    ) -> None:
        self.function = function
        self.packed = packed
        self.arguments = arguments
        self.future = future

    @property
    def name(self) -> str:
        return name_of(self.function)


class Calls:
    """The source of them: first come, first sent. A future that was cancelled before is left out."""

    name: str | None = None

    def __init__(self, workers: int, transfer: Transfer, most: int = 0) -> None:
        self._transfer = transfer
        self._most = most or 1 << 30  # in a frame
        self.sizer = Sizer(workers)
        self._waiting: deque[Call] = deque()
        self._again: deque[Piece] = deque()
        self._done: deque[tuple[Future[Any], Any]] = deque()

    def add(self, call: Call) -> None:
        self._waiting.append(call)

    def __len__(self) -> int:
        return len(self._waiting)

    def next_piece(self) -> Piece | None:
        if self._again:
            return self._again.popleft()
        calls: list[Any] = []
        size = min(self._most, self.sizer.next(len(self._waiting)))
        room = MOST_BYTES
        while self._waiting and len(calls) < size and room > 0:
            call = self._waiting.popleft()
            if type(call.arguments) is Packed:
                room -= call.arguments.nbytes
            if call.future.set_running_or_notify_cancel():
                calls.append(call)
        return Piece(self, calls) if calls else None

    def push_back(self, piece: Piece) -> None:
        self._again.append(piece)

    def pack(self, piece: Piece) -> bytes:
        return pack_calls(piece.number, [(sent_of(call.packed), sent_of(call.arguments)) for call in piece.tasks])

    def advance(self, piece: Piece, start: int) -> None:
        for call, value in zip(piece.tasks[start:], piece.values[start:], strict=False):
            self._done.append((call.future, value))

    def describe(self, task: Call, *, begun: bool = False) -> str:
        try:
            if begun:
                args, kwargs = self._transfer.unpack(sent_of(task.arguments), private=True)
            elif isinstance(task.arguments, bytes):
                args, kwargs = _PlainUnpickler(io.BytesIO(task.arguments)).load()
            else:
                return f"{task.name}(...)"
        except (Exception, SystemExit):
            return f"{task.name}(...)"
        return describe_call(task.function, args, kwargs)

    def describe_shortly(self, task: Call) -> str:
        """Unpickling large arguments for it would take long."""
        if isinstance(task.arguments, bytes) and len(task.arguments) < _MUCH:
            return self.describe(task)
        return f"{task.name}(...)"

    @property
    def unsettled(self) -> bool:
        """Whether there are outcomes that their futures have not got."""
        return bool(self._done)

    def settle(self) -> None:
        """Give futures their outcomes, and run their callbacks: not under the engine's lock."""
        while True:
            try:
                future, value = self._done.popleft()
            except IndexError:
                return
            try:
                if type(value) is Failure:
                    future.set_exception(rebuild(value.pickled))
                else:
                    future.set_result(value)
            except InvalidStateError:
                continue  # somebody else has set it

    def cancel_waiting(self) -> list[Future[Any]]:
        """Take those that were not sent, for the caller to cancel."""
        futures = [call.future for call in self._waiting]
        self._waiting.clear()
        return futures


class _PlainUnpickler(pickle.Unpickler):
    """Takes numbers, text and the like only: the rest may be what a worker has died of."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not plain")


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60


def name_of(function: Any) -> str:
    """Of a partial, that of its function."""
    name = getattr(function, "__qualname__", None)
    if name is None and isinstance(function, functools.partial):
        return name_of(function.func)
    return name or type(function).__name__


def describe_call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """As somebody would write it, shortened."""
    words = [_safe(argument) for argument in args] + [f"{key}={_safe(value)}" for key, value in kwargs.items()]
    return f"{name_of(function)}({', '.join(words)})"


def _safe(value: Any) -> str:
    try:
        return _repr.repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
