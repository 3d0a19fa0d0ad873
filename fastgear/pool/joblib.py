# SPDX-License-Identifier: MIT
"""joblib's backend "fastgear", which importing this registers. joblib itself is the user's to install.

joblib hands over batches of calls, and gets futures. Their workers are kept for the next `Parallel`, since fresh interpreters
would have to import the user's libraries each time; those of one kind only, as with loky.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib import register_parallel_backend  # type: ignore[import-untyped]
from joblib.parallel import (  # type: ignore[import-untyped]
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
)

from fastgear.cpus import usable_cpus
from fastgear.pool.describe import describe_call
from fastgear.pool.executor import Executor
from fastgear.pool.threads import begin_numerical_worker

__all__ = ["FastgearBackend"]


class Batch:
    """Calls that joblib has put together. Their names are shown where something is said of it."""

    def __init__(self, calls: Callable[[], list[Any]]) -> None:
        self.calls = calls

    def __repr__(self) -> str:
        function, args, kwargs = self.calls.items[0]  # type: ignore[attr-defined]
        more = len(self.calls.items) - 1  # type: ignore[attr-defined]
        return describe_call(function, args, kwargs) + (f" and {more} more" if more else "")


def run(batch: Batch) -> list[Any]:
    """In a worker."""
    return batch.calls()


class FastgearBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """What `joblib.parallel_config` and `joblib.Parallel` make of the name "fastgear".

    Further options of theirs are those of Executor: `start_method`, `initializer`, `initargs`, `max_tasks_per_child`, `retries`.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    # Seconds that a batch is to take. joblib has two batches a worker under way, so that frames alone would be too small.
    MIN_IDEAL_BATCH_DURATION = 0.02
    MAX_IDEAL_BATCH_DURATION = 0.2

    _executor: Executor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many workers there will be; below threads of another backend there are none, as with loky."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None or (self.nesting_level and not self.in_main_thread()):
            return 1
        return n_jobs if n_jobs > 0 else max(1, usable_cpus() + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_options: Any) -> int:
        """Get workers. joblib's options for its own memory maps mean nothing here."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._key = (n_jobs, self.inner_max_num_threads, tuple(sorted(self.backend_kwargs.items())))
        self._executor = _shelf.take(self._key) or self._make(n_jobs)
        return n_jobs

    def _make(self, n_jobs: int) -> Executor:
        options = dict(self.backend_kwargs)
        limits = self._prepare_worker_env(n_jobs=n_jobs)
        threads = self.inner_max_num_threads or max(1, usable_cpus() // n_jobs)
        initargs = (limits, threads, options.pop("initializer", None), tuple(options.pop("initargs", ())))
        return Executor(n_jobs, initializer=begin_numerical_worker, initargs=initargs, **options)

    def submit(self, func: Callable[[], list[Any]], callback: Callable[[Any], Any] | None = None) -> Future[Any]:
        """A batch, to be run in a worker."""
        assert self._executor is not None
        future = self._executor.submit(run, Batch(func))
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit  # its name in older versions of joblib

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The results of a batch that is done; raises what it raised."""
        return out.result()

    def terminate(self) -> None:
        """A call of Parallel is over."""
        executor, self._executor = self._executor, None
        if executor is not None:
            _shelf.put(self._key, executor)
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """An error, a timeout or an interrupt: the workers may be in long tasks, and are killed."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.kill_workers()
        self._drop_ready_batches()
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def _drop_ready_batches(self) -> None:
        """Joblib keeps those of an aborted call, and would run them ahead of the next one's."""
        ready = getattr(self.parallel, "_ready_batches", None)
        with contextlib.suppress(queue.Empty):
            while ready is not None:
                ready.get_nowait()


class _Shelf:
    """Where one executor waits for its next use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[Any, Executor] | None = None
        self._not_ours: list[Any] = []

    def take(self, key: Any) -> Executor | None:
        """That of the same kind, if it is the one; another one is ended."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is None:
            return None
        if kept[0] == key and kept[1].is_usable:
            return kept[1]
        kept[1].shutdown()
        return None

    def put(self, key: Any, executor: Executor) -> None:
        with self._lock:
            kept, self._kept = self._kept, (key, executor)
        if kept is not None:
            kept[1].shutdown()

    def after_fork(self) -> None:
        """In a child of this process, whose executor it is not. It is never freed there, since that would end it."""
        self._lock = threading.Lock()
        self._not_ours.append(self._kept)
        self._kept = None


_shelf = _Shelf()
os.register_at_fork(after_in_child=_shelf.after_fork)
register_parallel_backend("fastgear", FastgearBackend)
