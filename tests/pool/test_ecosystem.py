# SPDX-License-Identifier: MIT
"""fastgear's executor under other people's libraries, with the libraries themselves."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastgear
from fastgear import Executor, WorkerDied
from fastgear.cpus import usable_cpus
from pool.scripts import all_there, replaced
from pool.work import slow_pid, square

pytestmark = pytest.mark.skipif("config.getoption('--server') != 'fastgear'", reason="gearmand has no pool")


@pytest.fixture(scope="module")
def shared() -> Iterator[Executor]:
    with Executor(2) as executor:
        executor.submit(square, 1).result(20)
        assert all_there(executor)
        yield executor


def run_script(code: str, folder: Path) -> tuple[str, str]:
    (folder / "script.py").write_text(code)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout, done.stderr


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
    with pytest.raises(WorkerDied, match="_exit") as caught:
        asyncio.run(use(os._exit, 3))
    assert replaced(shared, caught.value.pid)


@pytest.mark.alone("a second or two are measured")
def test_a_cancelled_wait_cancels_a_call_that_was_not_sent() -> None:
    ran: list[Any] = []

    async def use(executor: Executor) -> int:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, time.sleep, 0.1) for _ in range(20)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(calls[-1], 0.01)
        for call in calls[5:]:
            call.cancel()
        ran.extend(await asyncio.gather(*calls, return_exceptions=True))
        return sum(isinstance(one, asyncio.CancelledError) for one in ran)

    begun = time.monotonic()
    with Executor(1) as executor:
        assert asyncio.run(use(executor)) == 15
    assert time.monotonic() - begun < 1.8  # two seconds, if all of them had run


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
    assert Executor()._max_workers == usable_cpus() and Executor(3)._max_workers == 3


def test_what_a_main_script_defines_goes_along_in_arguments(tmp_path: Path) -> None:
    """Also to fresh interpreters, whose `__main__` is another one; instances come back as instances of the same class."""
    code = """
import sys, threading, time
import dask, fastgear

class Point:
    def __init__(self, x):
        self.x = x

def make(x):
    return Point(x)

def apply(function, *args):
    return function(*args)

for method in "fork", "spawn":
    with fastgear.Executor(1, start_method=method) as executor:
        print(executor.submit(apply, make, 3).result().__class__ is Point)
        print(list(executor.map(apply, [make], [4]))[0].__class__ is Point)
        print(dask.compute(dask.delayed(make)(5), scheduler=executor)[0].__class__ is Point)
"""
    assert run_script(code, tmp_path) == ("True\n" * 6, "")


# -- joblib


@pytest.fixture
def joblib_backend() -> Iterator[Any]:
    """joblib with the backend; the workers that it keeps end with the test."""
    import joblib

    fastgear.register_joblib_backend()
    with joblib.parallel_config("fastgear", n_jobs=2):
        yield joblib
    from fastgear.pool.joblib import _shelf

    _shelf.take(None)


def test_joblib_gives_the_results_in_order(joblib_backend: Any) -> None:
    Parallel, delayed = joblib_backend.Parallel, joblib_backend.delayed
    offset = 5
    assert Parallel()(delayed(square)(i) for i in range(500)) == [i * i for i in range(500)]
    assert Parallel()(delayed(lambda x: x + offset)(i) for i in range(10)) == list(range(5, 15))
    assert Parallel(batch_size=7, pre_dispatch="all")(delayed(square)(i) for i in range(30)) == [
        i * i for i in range(30)
    ]
    assert list(Parallel(return_as="generator")(delayed(square)(i) for i in range(30))) == [i * i for i in range(30)]
    unordered = Parallel(return_as="generator_unordered")(delayed(square)(i) for i in range(30))
    assert sorted(unordered) == [i * i for i in range(30)]


def test_joblib_really_uses_the_workers_and_keeps_them(joblib_backend: Any) -> None:
    Parallel, delayed = joblib_backend.Parallel, joblib_backend.delayed

    def pids() -> set[int]:
        return set(Parallel()(delayed(slow_pid)() for _ in range(8)))

    first = pids()
    assert len(first) == 2 and os.getpid() not in first
    assert pids() == first
    with Parallel(n_jobs=-1) as parallel:
        assert parallel.n_jobs == -1 and len(set(parallel(delayed(slow_pid)() for _ in range(8)))) == usable_cpus()
    assert Parallel(n_jobs=1)([delayed(os.getpid)()]) == [os.getpid()]


def test_joblib_raises_what_a_call_raises_and_goes_on(joblib_backend: Any) -> None:
    Parallel, delayed = joblib_backend.Parallel, joblib_backend.delayed
    with pytest.raises(ZeroDivisionError):
        Parallel()(delayed(divmod)(1, i - 5) for i in range(10))
    with pytest.raises(WorkerDied, match=r"run\(_exit\(3\)"):
        Parallel()(delayed(os._exit)(3) for _ in range(2))
    assert Parallel()(delayed(square)(i) for i in range(5)) == [0, 1, 4, 9, 16]
    with Parallel() as parallel:  # which has to be ready again after an error
        with pytest.raises(ZeroDivisionError):
            parallel(delayed(divmod)(1, i - 5) for i in range(10))
        assert parallel(delayed(square)(i) for i in range(5)) == [0, 1, 4, 9, 16]


def test_joblib_gives_up_a_call_that_takes_too_long(joblib_backend: Any) -> None:
    Parallel, delayed = joblib_backend.Parallel, joblib_backend.delayed
    begun = time.monotonic()
    with pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.2)(delayed(time.sleep)(30) for _ in range(4))
    assert time.monotonic() - begun < 10
    assert Parallel()(delayed(square)(i) for i in range(5)) == [0, 1, 4, 9, 16]


def test_joblib_may_be_nested(joblib_backend: Any) -> None:
    Parallel, delayed = joblib_backend.Parallel, joblib_backend.delayed

    def inner(n: int, **options: Any) -> list[int]:
        import joblib

        result: list[int] = joblib.Parallel(**options)(joblib.delayed(square)(i) for i in range(n))
        return result

    expected = [[i * i for i in range(n)] for n in range(4)]
    assert Parallel()(delayed(inner)(n) for n in range(4)) == expected
    assert Parallel()(delayed(inner)(n, n_jobs=2) for n in range(4)) == expected
    assert Parallel()(delayed(inner)(n, n_jobs=2, backend="fastgear") for n in range(4)) == expected


def test_joblib_limits_the_threads_of_numerical_libraries(joblib_backend: Any) -> None:
    with joblib_backend.parallel_config("fastgear", n_jobs=2, inner_max_num_threads=3):
        seen = joblib_backend.Parallel()(joblib_backend.delayed(os.getenv)("OPENBLAS_NUM_THREADS") for _ in range(4))
    assert seen == ["3"] * 4


def test_joblib_passes_options_on_to_the_executor(joblib_backend: Any) -> None:
    with joblib_backend.parallel_config("fastgear", n_jobs=2, initializer=os.putenv, initargs=("A", "b"), retries=1):
        assert joblib_backend.Parallel()(joblib_backend.delayed(square)(i) for i in range(3)) == [0, 1, 4]


def test_scikit_learn_gets_the_same_from_it_as_from_loky(tmp_path: Path) -> None:
    code = """
import joblib, numpy
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
import fastgear

def results(backend):
    with joblib.parallel_config(backend):
        scores = cross_val_score(LogisticRegression(), x, y, cv=4, n_jobs=2)
        forest = RandomForestClassifier(20, random_state=2, n_jobs=2).fit(x, y)
        return scores, forest.predict_proba(x)

fastgear.register_joblib_backend()
x, y = make_classification(300, random_state=1)
print([numpy.array_equal(*pair) for pair in zip(results("fastgear"), results("loky"))])
"""
    assert run_script(code, tmp_path) == ("[True, True]\n", "")


# -- the readme


def test_the_readmes_example_of_a_pool_works(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    (example,) = (text for text in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "fastgear.Pool(" in text)
    printed, errors = run_script(example, tmp_path)
    assert errors == ""
    assert printed.splitlines() == [
        "[0, 1, 4, 9, 16]",
        "5000050000",
        "1024",
        "[('<lambda>', 100000), ('pow', 1)]",
        *"012",
        "fragile(3) 9",
        *"45",
    ]
