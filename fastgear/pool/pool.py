# SPDX-License-Identifier: MIT
"""`Pool`: worker processes behind the interface of multiprocessing.Pool; and `map`, which makes one for a single use."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, TypeVar

from fastgear.config import SupervisorConfig
from fastgear.errors import ConfigError
from fastgear.pool.calls import submit
from fastgear.pool.engine import Engine
from fastgear.pool.futures import HelpingFuture, late
from fastgear.pool.progress import Watched, watch
from fastgear.pool.runs import Run, all_items
from fastgear.types import PoolStats

__all__ = ["AsyncResult", "Pool", "map"]

T = TypeVar("T")
log = logging.getLogger(__name__)


class AsyncResult:
    """What `Pool.apply_async` and the like return: multiprocessing's interface to a future."""

    def __init__(self, future: concurrent.futures.Future[Any], pool: Pool) -> None:
        self._future = future
        self._pool = pool  # which is not to be taken for forgotten

    def get(self, timeout: float | None = None) -> Any:
        """The result, waiting for it; raises what the call raised, and TimeoutError."""
        try:
            return self._future.result(timeout)
        except concurrent.futures.TimeoutError:
            if self._future.done():
                raise
            raise late(f"there was no result within {timeout} s") from None

    def wait(self, timeout: float | None = None) -> None:
        """Until it is there, or the time is over."""
        with contextlib.suppress(concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            self._future.exception(timeout)

    def ready(self) -> bool:
        """Whether it is there."""
        return self._future.done()

    def successful(self) -> bool:
        """Whether the call raised nothing. Raises ValueError before it is there."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._future.exception() is None


class _Reporting(HelpingFuture[Any]):
    """Calls back before anybody can see that the outcome is there, as multiprocessing does."""

    def __init__(
        self,
        engine: Engine,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        super().__init__(engine)
        self._callback, self._error_callback = callback, error_callback

    def set_result(self, result: Any) -> None:
        try:
            self._report(self._callback, result)
        finally:
            super().set_result(result)

    def set_exception(self, exception: BaseException | None) -> None:
        try:
            self._report(self._error_callback, exception)
        finally:
            super().set_exception(exception)

    def _report(self, callback: Callable[[Any], object] | None, value: Any) -> None:
        if callback is not None:
            try:
                callback(value)
            except Exception:
                log.exception("a pool's callback raised")


class Pool:
    """Worker processes that apply functions to items, with the methods and the meaning of multiprocessing.Pool.

    `chunksize`, everywhere, is the least number of items that travel together; by itself it is chosen by their duration.
    With `progress` the maps show how far they are: by tqdm where it is installed, else by a plain line.

    A worker that dies costs the item that it was at, for which WorkerDied is raised (unless `retries` lets it be tried again);
    the pool goes on. Large buffers, such as arrays of numpy's, go through shared memory of at most `shared_memory` bytes (by
    default a quarter of what this process may use). Leaving a `with` block ends the pool at once, as in multiprocessing.

    >>> with Pool(2) as pool:
    ...     pool.map(abs, [-1, -2, -3])
    [1, 2, 3]
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        *,
        start_method: str = "auto",
        retries: int = 0,
        progress: bool = False,
        shared_memory: int | None = None,
    ) -> None:
        if processes is not None and processes < 1:
            raise ConfigError(f"processes: {processes} is too few; it is at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild < 1):
            raise ConfigError(f"maxtasksperchild: {maxtasksperchild!r} is none; it is a whole number from 1")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if retries < 0:
            raise ConfigError(f"retries: {retries} is too few; it is at least 0")
        if shared_memory is not None and shared_memory < 0:
            raise ConfigError(f"shared_memory: {shared_memory} bytes are too few; 0 is none")
        config = SupervisorConfig(workers=processes or 0)
        self._progress = progress
        self._state = "running"
        self._engine = Engine(
            config,
            start=start_method,
            initializer=initializer,
            initargs=tuple(initargs),
            max_tasks=maxtasksperchild or 0,
            retries=retries,
            shared_memory=shared_memory,
        )
        self._engine.start()

    # -- one call

    def apply(self, func: Callable[..., T], args: Iterable[Any] = (), kwds: dict[str, Any] | None = None) -> T:
        """Call it in a worker, and wait for the result."""
        return submit(HelpingFuture(self._running()), func, tuple(args), kwds or {}, collect=False).result()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """Call it in a worker. The callbacks are run by whichever thread receives, and had better be quick."""
        future = _Reporting(self._running(), callback, error_callback)
        return AsyncResult(submit(future, func, tuple(args), kwds or {}), self)

    # -- many, all at once

    def map(self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int | None = None) -> list[T]:
        """The results for all items, in their order. The first error among them is raised, once all have come."""
        return self._run(func, iterable, chunksize).collect()

    def starmap(
        self, func: Callable[..., T], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[T]:
        """The same, with each item as the arguments."""
        return self._run(func, iterable, chunksize, star=True).collect()

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """`map` in the background."""
        return self._run_async(func, iterable, chunksize, callback, error_callback, star=False)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """`starmap` in the background."""
        return self._run_async(func, iterable, chunksize, callback, error_callback, star=True)

    # -- many, one by one

    def imap(self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[T]:
        """The results in the order of the items, as they come. Items are taken from `iterable` a bounded way ahead."""
        return self._iterate(func, iterable, chunksize, ordered=True)

    def imap_unordered(self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[T]:
        """The results in any order."""
        return self._iterate(func, iterable, chunksize, ordered=False)

    def stats(self) -> PoolStats:
        """What the workers are doing and have done."""
        return self._engine.stats()

    # -- the end

    def close(self) -> None:
        """Take no more work; `join` waits for what is there."""
        if self._state == "running":
            self._state = "closed"

    def terminate(self) -> None:
        """End at once; what is not done gets CancelledError."""
        if self._state != "ended":
            self._state = "ended"
            self._engine.close(kill=True)

    def join(self) -> None:
        """Wait until all is done and the workers have left. Raises ValueError while the pool is open."""
        if self._state == "running":
            raise ValueError("Pool is still running")
        if self._state == "closed":
            self._engine.finish()
            self._state = "ended"

    def __enter__(self) -> Pool:
        self._running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.terminate()

    def __del__(
        self, warn: Callable[..., None] = warnings.warn, is_finalizing: Callable[[], bool] = sys.is_finalizing
    ) -> None:
        """After the end of all engines modules may be empty already, on free-threaded Python."""
        engine: Engine | None = getattr(self, "_engine", None)
        if engine is not None and not is_finalizing() and engine.running and engine.is_ours:
            if self._state == "running":
                warn(f"nobody has closed {self!r}", ResourceWarning, source=self)
            engine.abandon()

    def __repr__(self) -> str:
        return f"<fastgear.Pool {self._state}, {self._engine.workers} workers>"

    # -- inside

    def _running(self) -> Engine:
        if self._state != "running":
            raise ValueError("Pool not running")
        return self._engine

    def _run(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None, *, star: bool = False
    ) -> Run:
        items = all_items(iterable)
        run = Run(self._running(), func, items, star=star, chunksize=_least(chunksize))
        if self._progress:
            watch(run, len(items))
        run.begin()
        return run

    def _run_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        callback: Callable[[list[Any]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
        *,
        star: bool,
    ) -> AsyncResult:
        engine = self._running()
        future = _Reporting(engine, callback, error_callback)
        future.set_running_or_notify_cancel()
        items = all_items(iterable)
        run = Run(engine, func, items, star=star, chunksize=_least(chunksize), future=future)
        if self._progress:
            watch(run, len(items))
        engine.collect()
        run.begin()
        return AsyncResult(future, self)

    def _iterate(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int, *, ordered: bool
    ) -> Iterator[Any]:
        engine = self._running()
        run = Run(engine, func, iter(iterable), chunksize=_least(chunksize), ordered=ordered)
        run.keep = self
        shown: Iterator[Any] = run
        if self._progress:
            shown = Watched(run, len(iterable) if isinstance(iterable, Sized) else None)
        engine.collect()
        run.begin()
        return shown


def _least(chunksize: int | None) -> int:
    if chunksize is not None and chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize}")
    return chunksize or 1


def map(
    func: Callable[..., T],
    *iterables: Iterable[Any],
    workers: int | None = None,
    chunksize: int | None = None,
    progress: bool = False,
    initializer: Callable[..., Any] | None = None,
    initargs: Iterable[Any] = (),
    retries: int = 0,
) -> list[T]:
    """The results of `func` over the items, by worker processes that are there for this one call.

    With several iterables it is called with an item of each. `workers` is by default the number of CPUs that may be used.

    >>> import fastgear
    >>> fastgear.map(pow, [2, 3, 4], [5, 6, 7])
    [32, 729, 16384]
    """
    with Pool(workers, initializer, initargs, retries=retries, progress=progress) as pool:
        if len(iterables) == 1:
            return pool.map(func, iterables[0], chunksize)
        return pool.starmap(func, zip(*iterables, strict=False), chunksize)
