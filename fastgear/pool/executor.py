# SPDX-License-Identifier: MIT
"""`Executor`: worker processes behind the interface of concurrent.futures."""

from __future__ import annotations

import concurrent.futures
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, TypeVar

from fastgear.config import SupervisorConfig
from fastgear.cpus import usable_cpus
from fastgear.errors import ConfigError
from fastgear.pool.calls import submit
from fastgear.pool.engine import SHUT_DOWN, Engine
from fastgear.pool.futures import HelpingFuture
from fastgear.pool.progress import Watched
from fastgear.pool.runs import Run, all_items
from fastgear.types import PoolStats

__all__ = ["Executor"]

T = TypeVar("T")


class Executor(concurrent.futures.Executor):
    """Runs calls in worker processes, as concurrent.futures.ProcessPoolExecutor does.

    `max_workers` is by default the number of CPUs that this process may use. `initializer` is called with `initargs` in each
    worker; what it raises ends all. Workers are forked where this process has a single thread, and fresh interpreters
    otherwise (`start_method` "auto", "fork" or "spawn"), which do not run the main script again. `max_tasks_per_child` replaces
    a worker after so many calls, or frames of a map.

    A worker that dies costs the task that it ran: its future raises WorkerDied, unless `retries` lets it be tried again
    elsewhere so many times. Small tasks travel together, so that each costs little. Large buffers, such as arrays of numpy's,
    go through shared memory of at most `shared_memory` bytes (by default a quarter of what this process may use), and results
    stay there until they are dropped; what has no room there is sent.

    >>> with Executor(2) as executor:
    ...     executor.submit(pow, 2, 10).result()
    ...     list(executor.map(abs, [-1, -2, -3]))
    1024
    [1, 2, 3]
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        start_method: str = "auto",
        max_tasks_per_child: int | None = None,
        retries: int = 0,
        shared_memory: int | None = None,
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise ConfigError(f"max_workers must be greater than 0, not {max_workers}")
        if max_tasks_per_child is not None and max_tasks_per_child < 1:
            raise ConfigError(f"max_tasks_per_child: {max_tasks_per_child} is too few; it is at least 1")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if retries < 0:
            raise ConfigError(f"retries: {retries} is too few; it is at least 0")
        if shared_memory is not None and shared_memory < 0:
            raise ConfigError(f"shared_memory: {shared_memory} bytes are too few; 0 is none")
        self._max_workers = max_workers or usable_cpus()  # by this name, since Dask asks executors for it
        config = SupervisorConfig(workers=self._max_workers)
        self._make: Callable[[], Engine] = lambda: Engine(
            config,
            start=start_method,
            initializer=initializer,
            initargs=initargs,
            max_tasks=max_tasks_per_child or 0,
            retries=retries,
            shared_memory=shared_memory,
            finishes=True,
        )
        self._lock = threading.Lock()
        self._started: Engine | None = None
        self._shut_down = False

    @property
    def _engine(self) -> Engine:
        """Started at the first use."""
        if self._started is not None:
            self._started.check_process()
        with self._lock:
            if self._shut_down or (self._started is not None and not self._started.running):
                raise RuntimeError(SHUT_DOWN)
            if self._started is None:
                engine = self._make()
                engine.start()
                self._started = engine
                weakref.finalize(self, engine.abandon).atexit = False
            return self._started

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        """Call it in a worker; the future gets what it returns or raises. Raises RuntimeError after `shutdown`."""
        return submit(HelpingFuture(self._started or self._engine), fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool = False,
    ) -> Iterator[T]:
        """The results of `fn` over the items, in their order.

        Without `buffersize` all items are taken now; with it, never more than so many that are not yielded yet. `timeout`
        counts from now. `chunksize` is the least number of tasks that travel together; by itself it is chosen by their duration.
        With `progress` a line shows how far it is, as in Pool.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        engine = self._engine
        star = len(iterables) != 1
        items: Iterable[Any] = zip(*iterables, strict=False) if star else iterables[0]
        if buffersize is None:
            items = all_items(items)
        run = Run(engine, fn, items, star=star, chunksize=chunksize, window=buffersize)
        shown = Watched(run, len(items) if isinstance(items, Sized) else None) if progress else run
        engine.collect()
        run.begin()
        keep = self if buffersize is not None else None  # which has something to send as long as this goes on
        return _results(shown, None if timeout is None else time.monotonic() + timeout, keep)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end the workers when all that were taken are done.

        With `cancel_futures` those that were not sent to a worker are cancelled. Without `wait` it is done in the background.
        """
        engine = self._take_no_more()
        if engine is None:
            return
        if cancel_futures:
            engine.cancel_waiting()
        if wait:
            engine.finish()
        else:
            threading.Thread(target=engine.finish, name="fastgear-pool-shutdown", daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Shut down, and wait; but a KeyboardInterrupt ends all at once, tasks that run included."""
        if isinstance(error, KeyboardInterrupt):
            self.kill_workers()
        self.shutdown()

    def stats(self) -> PoolStats:
        """What the workers are doing and have done. Empty before the first call."""
        return self._started.stats() if self._started is not None else PoolStats()

    def kill_workers(self) -> None:
        """End at once, whatever is under way: its futures get CancelledError."""
        engine = self._take_no_more()
        if engine is not None:
            engine.close(kill=True)

    def _take_no_more(self) -> Engine | None:
        """What was started, which refuses calls from now on."""
        with self._lock:
            self._shut_down = True
            engine = self._started
        if engine is not None:
            engine.refuse(SHUT_DOWN)
        return engine

    @property
    def is_usable(self) -> bool:
        """Whether it takes calls, and its workers have not failed to start."""
        return not self._shut_down and (self._started is None or self._started.failure is None)


def _results(run: Run | Watched, deadline: float | None, keep: Executor | None) -> Generator[Any, None, None]:
    try:
        while True:
            try:
                value = [run.next(None if deadline is None else max(0.0, deadline - time.monotonic()))]
            except StopIteration:
                return
            yield value.pop()  # and keep it no longer
    finally:
        run.cancel()
