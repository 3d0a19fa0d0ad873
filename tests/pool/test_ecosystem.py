# SPDX-License-Identifier: MIT
"""fastgear's executor under other people's libraries, with the libraries themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pool.work import square

from fastgear import Executor, WorkerDied

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")


@pytest.fixture(scope="module")
def shared() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.submit(square, 1).result(20)
        yield executor


# -- asyncio


def test_an_event_loop_runs_a_thousand_calls_in_it(shared: Executor) -> None:
    async def use() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(shared, square, i) for i in range(1000)))

    assert asyncio.run(use()) == [i * i for i in range(1000)]


def test_an_event_loop_goes_on_while_a_call_runs(shared: Executor) -> None:
    async def use() -> int:
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(shared, time.sleep, 0.3)
        turns = 0
        while not call.done():
            await asyncio.sleep(0.01)
            turns += 1
        return turns

    assert asyncio.run(use()) > 10


def test_what_a_call_raises_is_raised_where_it_is_awaited(shared: Executor) -> None:
    async def use(function: Any, *args: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(shared, function, *args)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(use(divmod, 1, 0))
    with pytest.raises(WorkerDied, match="_exit"):
        import os

        asyncio.run(use(os._exit, 3))


def test_a_cancelled_wait_cancels_a_call_that_was_not_sent() -> None:
    ran: list[Any] = []

    async def use(executor: Executor) -> int:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, time.sleep, 0.05) for _ in range(20)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(calls[-1], 0.01)
        for call in calls[5:]:
            call.cancel()
        ran.extend(await asyncio.gather(*calls, return_exceptions=True))
        return sum(isinstance(one, asyncio.CancelledError) for one in ran)

    begun = time.monotonic()
    with Executor(1) as executor:
        assert asyncio.run(use(executor)) == 15
    assert time.monotonic() - begun < 0.8  # a second, if all of them had run


def test_asyncio_takes_threads_only_as_its_default_executor(shared: Executor) -> None:
    """Its own rule, in set_default_executor; name the executor in run_in_executor instead."""

    async def use() -> None:
        asyncio.get_running_loop().set_default_executor(shared)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="ThreadPoolExecutor"):
        asyncio.run(use())


# -- Dask


def test_dask_delayed_runs_on_it(shared: Executor) -> None:
    import dask

    squares = [dask.delayed(square)(i) for i in range(50)]
    total = dask.delayed(sum)(squares)
    expected = sum(i * i for i in range(50))
    assert dask.compute(total, scheduler=shared) == (expected,) == dask.compute(total, scheduler="sync")
    with dask.config.set(pool=shared, scheduler="processes"):
        assert total.compute() == expected


def test_dask_bags_run_on_it(shared: Executor) -> None:
    import dask.bag

    offset = 3
    bag = dask.bag.from_sequence(range(1000), npartitions=7).map(lambda x: x + offset).filter(lambda x: x % 2)
    expected = sum(x for x in range(3, 1003) if x % 2)
    assert bag.sum().compute(scheduler=shared) == expected
    with dask.config.set(pool=shared):
        assert bag.sum().compute() == expected  # bags want processes by themselves


def test_dask_gets_what_a_task_raises_and_goes_on(shared: Executor) -> None:
    import dask

    with pytest.raises(ZeroDivisionError):
        dask.compute(dask.delayed(divmod)(1, 0), scheduler=shared)
    assert dask.compute(dask.delayed(square)(4), scheduler=shared) == (16,)


def test_dask_asks_how_many_workers_there_are() -> None:
    from fastgear.cpus import usable_cpus

    assert Executor()._max_workers == usable_cpus() and Executor(3)._max_workers == 3
