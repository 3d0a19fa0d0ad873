# SPDX-License-Identifier: MIT
"""Real futures, whose waiting threads help; and the way of a single call to a worker."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any, TypeVar

from fastgear.pool.calls import Call
from fastgear.pool.engine import Engine

__all__ = ["HelpingFuture", "late", "submit"]

T = TypeVar("T")


class HelpingFuture(concurrent.futures.Future[T]):
    """A future of concurrent.futures; who waits for its result does the receiving meanwhile."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def result(self, timeout: float | None = None) -> T:
        return super().result(self._help(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return super().exception(self._help(timeout))

    def cancel(self) -> bool:
        cancelled = super().cancel()
        if cancelled:
            self.engine.wake()  # who waits for it
        return cancelled

    def _help(self, timeout: float | None) -> float | None:
        """The time that is left to wait after helping: none."""
        if self.done() or not self.engine.running:
            return timeout
        return None if self.engine.wait(self.done, timeout) else 0


def late(text: str) -> TimeoutError:
    """What to raise for a time that is over: everybody's TimeoutError, multiprocessing's and concurrent.futures' too."""
    import multiprocessing

    bases = dict.fromkeys((multiprocessing.TimeoutError, concurrent.futures.TimeoutError, TimeoutError))
    made: TimeoutError = type("TimeoutError", tuple(bases), {"__module__": "fastgear"})(text)
    return made


def submit(
    future: HelpingFuture[T],
    function: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    collect: bool = True,
) -> HelpingFuture[T]:
    """Call it in a worker of the future's engine. What cannot be pickled is the future's exception.

    Without `collect` the outcome comes only while somebody waits for it.
    """
    engine = future.engine
    try:
        call = Call(function, engine.packer.pack(function), engine.packer.pack_arguments((args, kwargs)), future)
    except Exception as error:
        future.set_running_or_notify_cancel()
        future.set_exception(error)
        return future
    if collect:
        engine.collect()
    with engine.lock:
        engine.calls.add(call)
        engine.offer(engine.calls)
    if engine.failure is not None:
        engine.settle()
    return future
