# SPDX-License-Identifier: MIT
"""The pools that are compared, each behind the same few methods, by its own names. Knows nothing of what they are asked to do."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

__all__ = ["NEEDS", "PEERS", "Peer", "installed"]

Function = Callable[..., Any]


class Peer:
    """A pool that is up, or comes up at its first use.

    `slow` divides the number of tasks where the result is a rate. `maps_singly`: its map sends one task a message unless it is
    told otherwise. `has_futures`: `submit`, `take` and `gather` are there.
    """

    slow = 1
    maps_singly = False
    has_futures = True

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None = None) -> Any:
        raise NotImplementedError

    def iterate(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """The laziest map that there is."""
        raise NotImplementedError

    def one(self, function: Function, item: Any) -> Any:
        """One call, waited for."""
        raise NotImplementedError

    def submit(self, function: Function, item: Any) -> Any:
        """One call, in the background."""
        raise NotImplementedError

    def take(self, handle: Any, timeout: float | None = None) -> Any:
        """What came of `submit`."""
        raise NotImplementedError

    def gather(self, function: Function, items: Iterable[Any]) -> tuple[float, list[Any]]:
        """Submit each and take each; seconds, and results."""
        raise NotImplementedError

    def end(self) -> None:
        pass


class Futures(Peer):
    """What has an `executor` with the interface of concurrent.futures."""

    slow = 5
    maps_singly = True
    executor: Any

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None = None) -> Any:
        return list(self.executor.map(function, items, chunksize=chunksize or 1))

    def iterate(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self.executor.map(function, items))

    def one(self, function: Function, item: Any) -> Any:
        return self.executor.submit(function, item).result()

    def submit(self, function: Function, item: Any) -> Any:
        return self.executor.submit(function, item)

    def take(self, handle: Any, timeout: float | None = None) -> Any:
        return handle.result(timeout)

    def gather(self, function: Function, items: Iterable[Any]) -> tuple[float, list[Any]]:
        executor = self.executor
        begun = time.perf_counter()
        futures = [executor.submit(function, item) for item in items]
        results = [future.result() for future in futures]
        return time.perf_counter() - begun, results

    def end(self) -> None:
        self.executor.shutdown()


class Calls(Peer):
    """What has a `pool` with the interface of multiprocessing.Pool."""

    pool: Any

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None = None) -> Any:
        return self.pool.map(function, items, chunksize)

    def iterate(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self.pool.imap(function, items))

    def one(self, function: Function, item: Any) -> Any:
        return self.pool.apply(function, (item,))

    def submit(self, function: Function, item: Any) -> Any:
        return self.pool.apply_async(function, (item,))

    def take(self, handle: Any, timeout: float | None = None) -> Any:
        return handle.get(timeout)

    def gather(self, function: Function, items: Iterable[Any]) -> tuple[float, list[Any]]:
        pool = self.pool
        begun = time.perf_counter()
        calls = [pool.apply_async(function, (item,)) for item in items]
        results = [call.get() for call in calls]
        return time.perf_counter() - begun, results

    def end(self) -> None:
        self.pool.terminate()
        self.pool.join()


# -- each by its name


class Fastgear(Calls):
    """Single calls that are waited for, and maps, are Pool's; futures are Executor's."""

    @cached_property
    def pool(self) -> Any:
        import fastgear

        return fastgear.Pool(self.workers)

    @cached_property
    def executor(self) -> Any:
        import fastgear

        return fastgear.Executor(self.workers)

    submit, take, gather = Futures.submit, Futures.take, Futures.gather  # type: ignore[assignment]

    def end(self) -> None:
        if "pool" in vars(self):
            super().end()
        if "executor" in vars(self):
            self.executor.shutdown()


class Multiprocessing(Calls):
    def __init__(self, workers: int) -> None:
        import multiprocessing

        super().__init__(workers)
        self.pool = multiprocessing.get_context("fork").Pool(workers)


class ProcessPool(Futures):
    def __init__(self, workers: int) -> None:
        import concurrent.futures
        import multiprocessing

        super().__init__(workers)
        context = multiprocessing.get_context("fork")
        self.executor = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)


class Loky(Futures):
    def __init__(self, workers: int) -> None:
        import loky

        super().__init__(workers)
        self.executor = loky.ProcessPoolExecutor(workers)


class Joblib(Peer):
    """It has maps alone, and keeps its workers from one to the next by itself."""

    slow = 5
    has_futures = False

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None = None) -> Any:
        import joblib

        call = joblib.delayed(function)
        return joblib.Parallel(self.workers, batch_size=chunksize or "auto")(call(item) for item in items)

    def iterate(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        import joblib

        call = joblib.delayed(function)
        results = joblib.Parallel(self.workers, return_as="generator")(call(item) for item in items)
        return iter(results)

    def one(self, function: Function, item: Any) -> Any:
        return self.map(function, [item])[0]

    def end(self) -> None:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor(self.workers).shutdown(kill_workers=True)


class Mpire(Calls):
    slow = 5

    def __init__(self, workers: int) -> None:
        import mpire

        super().__init__(workers)
        self.pool = mpire.WorkerPool(workers, keep_alive=True)

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None = None) -> Any:
        return self.pool.map(function, items, chunk_size=chunksize, concatenate_numpy_output=False)

    def end(self) -> None:
        self.pool.terminate()


class Serial(Peer):
    """No pool at all."""

    has_futures = False

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None = None) -> Any:
        return list(map(function, items))


PEERS: dict[str, type[Peer]] = {
    "fastgear": Fastgear,
    "Pool": Multiprocessing,
    "ProcessPool": ProcessPool,
    "loky": Loky,
    "joblib": Joblib,
    "mpire": Mpire,
    "serial": Serial,
}
NEEDS = {"loky": "loky", "joblib": "joblib", "mpire": "mpire"}


def installed(peer: str) -> bool:
    return peer not in NEEDS or importlib.util.find_spec(NEEDS[peer]) is not None
